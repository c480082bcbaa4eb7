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
  | 'proxy-refused'
  | 'option-error'
  | 'openvpn-exited'
  | 'openvpn-restarted'
  | 'server-closed'
  | 'tunnel-dead'
  | 'tun-gone'
  | 'address-conflict'
  | 'apply-failed'
  /** Not a failure: a profile that stands before the one in use is tried again. */
  | 'failback';

/**
 * Wait before the next attempt, in milliseconds: the first, and the most. What heals by itself is tried again quickly;
 * what a person has to mend is not worth hammering a server for, and providers lock accounts that do.
 */
function backoffRange(code: CauseCode): { readonly firstMs: number; readonly mostMs: number } {
  switch (code) {
    case 'auth-failed':
    case 'proxy-refused':
    case 'option-error':
    case 'address-conflict':
      return { firstMs: 5_000, mostMs: 60_000 };
    case 'apply-failed':
      return { firstMs: 250, mostMs: 5_000 };
    case 'server-silent':
      // The attempt itself took seconds; a short wait uses a returning server soon.
      return { firstMs: 250, mostMs: 1_000 };
    default:
      return { firstMs: 250, mostMs: 2_000 };
  }
}

/** Doubling wait after `failures` failed attempts in a row, in milliseconds, up to the cause's most. */
export function backoffMs({ code, failures }: { code: CauseCode; failures: number }): number {
  const { firstMs, mostMs } = backoffRange(code);
  return Math.min(mostMs, firstMs * 2 ** Math.min(failures - 1, 20));
}

/** True for what every server of a profile would say again: the next profile is worth more than the next remote. */
export function isOfWholeProfile(code: CauseCode): boolean {
  return code === 'auth-failed' || code === 'option-error';
}
