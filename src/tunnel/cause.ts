/** Why there is no tunnel. `text` is one sentence for people; it never holds a secret. */
export interface Cause {
  readonly code: CauseCode;
  readonly text: string;
}

export type CauseCode =
  | 'starting'
  | 'resolve-failed'
  | 'server-silent'
  | 'handshake-timeout'
  | 'auth-failed'
  | 'option-error'
  | 'openvpn-exited'
  | 'openvpn-restarted'
  | 'server-closed'
  | 'tunnel-dead'
  | 'tun-gone'
  | 'address-conflict'
  | 'apply-failed';

/**
 * How long to wait at the most before the next attempt, in milliseconds. What heals by itself is tried again quickly;
 * what a person has to mend is not worth hammering a server for.
 */
export function backoffCapMs(code: CauseCode): number {
  switch (code) {
    case 'auth-failed':
    case 'option-error':
    case 'address-conflict':
      return 60_000;
    case 'apply-failed':
      return 5_000;
    default:
      return 2_000;
  }
}

/** Doubling wait before attempt number `failures + 1`, in milliseconds: 250, 500, 1000 … up to the cause's cap. */
export function backoffMs({ code, failures }: { code: CauseCode; failures: number }): number {
  return Math.min(backoffCapMs(code), 250 * 2 ** Math.min(failures - 1, 20));
}
