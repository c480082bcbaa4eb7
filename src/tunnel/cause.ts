/** Why there is no tunnel. `text` is one sentence for people; it never holds a secret. */
export interface Cause {
  readonly code: CauseCode;
  readonly text: string;
}

export type CauseCode = keyof typeof hints;

/** What to do about it, one clause for each cause; where nothing has to be done, what happens by itself. */
const hints = {
  starting: 'wait a moment',
  'resolve-failed': 'see whether the resolvers of /etc/resolv.conf answer, or use a profile with addresses',
  'server-silent':
    'see whether the server is up and no firewall drops the packets; then download the profile again, for its port and its tls-auth or tls-crypt key',
  'server-refuses': 'see whether the server runs, and whether port and protocol of the profile are right',
  unreachable: "see whether the uplink's network has a way out (UPLINK_GATEWAY), and whether the address is right",
  'handshake-timeout': 'a lossy link or a small MTU may swallow large packets: try tun-mtu or another remote',
  'tls-mismatch': 'download the profile again: its TLS versions, ciphers or keys are not those of the server',
  'wrong-ca': 'download the profile again: its <ca> is of another provider, or an old one',
  'certificate-expired': 'tell the provider, and see whether the clock of this machine is right',
  'certificate-refused': 'see whether remote and verify-x509-name of the profile are of the same server',
  'auth-failed': 'check user name and password, and whether the account is paid and free',
  'code-missing': 'put the secret of your authenticator app into a file, and name it in TOTP_SECRET_FILE',
  'code-refused': 'check the TOTP secret, the password, and whether the clock of this machine is right',
  'login-deferred': 'the server is busy; it is tried again',
  'key-passphrase': 'put the right passphrase into the file that askpass names',
  'proxy-refused': 'check user name and password of the proxy, and whether it lets this server through',
  'option-error': 'correct or remove the line of the profile',
  'openvpn-exited': 'see the log at LOG_LEVEL=debug',
  'openvpn-killed': 'a new one is started; see whether the machine is out of memory',
  'openvpn-restarted': 'see the log at LOG_LEVEL=debug',
  'server-closed':
    'the next attempt begins at once; the server may be restarting, or, over TCP, have another tls-auth or tls-crypt key',
  'tunnel-dead': 'a new tunnel is made; if it happens again and again, try another server or HEALTH_PROBE',
  'tun-gone': 'a new device is made; see who deletes it',
  'address-conflict': 'give the isolated network or the uplink another subnet',
  'apply-failed': 'see whether another program changes firewall or routes of this container',
  /** Not a failure: a profile that stands before the one in use is tried again. */
  failback: 'nothing has to be done; FAILBACK says when it happens',
} as const;

/**
 * Nothing comes back from `server`, as `address:port/transport`. A server does not answer what it cannot read, so a wrong
 * key of tls-auth or tls-crypt is like no server at all.
 */
export function silenceOf(server: string): Cause {
  const reasons = 'it is down, something blocks the way, or the profile has a wrong port or tls-auth or tls-crypt key';
  return { code: 'server-silent', text: `${server} does not answer: ${reasons}` };
}

/** What to do about a cause, one clause without a full stop. */
export function hintOf(code: CauseCode): string {
  return hints[code];
}

/**
 * Wait before the next attempt, in milliseconds: the first, and the most. What heals by itself is tried again quickly;
 * what a person has to mend is not worth hammering a server for, and providers lock accounts that do.
 */
function backoffRange(code: CauseCode): { readonly firstMs: number; readonly mostMs: number } {
  switch (code) {
    case 'auth-failed':
    case 'code-missing':
    case 'code-refused':
    case 'proxy-refused':
    case 'key-passphrase':
    case 'option-error':
    case 'address-conflict':
    case 'wrong-ca':
    case 'certificate-expired':
    case 'certificate-refused':
    case 'tls-mismatch':
      return { firstMs: 5_000, mostMs: 60_000 };
    case 'apply-failed':
      return { firstMs: 250, mostMs: 5_000 };
    case 'login-deferred':
      return { firstMs: 3_000, mostMs: 60_000 };
    case 'server-silent':
    case 'server-refuses':
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
  return isRefusedLogin(code) || code === 'key-passphrase' || code === 'option-error';
}

/** True for a login that a server did not take: providers lock accounts after some of them. */
export function isRefusedLogin(code: CauseCode): boolean {
  return code === 'auth-failed' || code === 'code-missing' || code === 'code-refused';
}
