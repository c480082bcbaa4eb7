/** Asks for credentials: answer with `client.answer()`, at once, because OpenVPN does nothing else meanwhile. */
export interface PasswordNeedEvent {
  readonly kind: 'password-need';
  /** What the credentials are for: `Auth`, `Private Key`, `HTTP Proxy`, … */
  readonly realm: string;
  /** `username` alone comes only to a client that announced management version 4 or later. */
  readonly wants: 'username/password' | 'password' | 'username';
  readonly staticChallenge?: StaticChallenge;
  /** The question by which the server refused the last login for this realm on this connection. */
  readonly dynamicChallenge?: DynamicChallenge;
}

/** A question of `--static-challenge`, to be answered with the password, as `response`. */
export interface StaticChallenge {
  readonly text: string;
  /** Whether the response may be shown while it is typed. */
  readonly echo: boolean;
  /** How the response is sent: after the password as it is, or encoded as SCRV1. */
  readonly format: 'concatenated' | 'scrv1';
}

/** The server or the private key did not take the credentials. (A proxy that did not: RECONNECTING, `HTTP proxy error`.) */
export interface VerificationFailedEvent {
  readonly kind: 'verification-failed';
  readonly realm: string;
  /** The server's text, also `TEMP[backoff 3,…]:text`. Absent when there is none and with `crv1`. */
  readonly reason?: string;
  readonly crv1?: DynamicChallenge;
}

/** A question of the server, to be answered at the next prompt, which holds it again, as `response`. */
export interface DynamicChallenge {
  /** `R`: a response is wanted; `E`: it may be shown while it is typed. */
  readonly flags: readonly string[];
  readonly stateId: string;
  readonly username: string;
  readonly text: string;
}

/** OpenVPN got a token that replaces the password from now on. It keeps the token itself; the token is not passed on. */
export interface AuthTokenEvent {
  readonly kind: 'auth-token';
}

/** Parses what follows `>PASSWORD:`; undefined when it is something else. */
export function parsePassword(text: string): PasswordNeedEvent | VerificationFailedEvent | AuthTokenEvent | undefined {
  if (text.startsWith('Auth-Token:')) return { kind: 'auth-token' };

  const need = /^Need '(.*?)' (username\/password|password|username)(?: SC:(\d+),(.*))?$/s.exec(text);
  if (need !== null) {
    const [, realm = '', wants, flags, challenge] = need;
    return {
      kind: 'password-need',
      realm,
      wants: wants as PasswordNeedEvent['wants'],
      ...(flags === undefined ? {} : { staticChallenge: parseStaticChallenge(Number(flags), challenge ?? '') }),
    };
  }

  // The reason may itself hold quotes and brackets: only the outer pair is OpenVPN's.
  const failure = /^Verification Failed: '(.*?)'(?: \['(.*)'\])?$/s.exec(text);
  if (failure === null) return undefined;
  const [, realm = '', reason] = failure;
  if (reason === undefined) return { kind: 'verification-failed', realm };
  const crv1 = parseDynamicChallenge(reason);
  return crv1 === undefined
    ? { kind: 'verification-failed', realm, reason }
    : { kind: 'verification-failed', realm, crv1 };
}

function parseStaticChallenge(flags: number, text: string): StaticChallenge {
  return { text, echo: (flags & 1) !== 0, format: (flags & 2) !== 0 ? 'concatenated' : 'scrv1' };
}

function parseDynamicChallenge(reason: string): DynamicChallenge | undefined {
  const match = /^CRV1:([^:]*):([^:]*):([^:]*):(.*)$/s.exec(reason);
  if (match === null) return undefined;
  const [, flags = '', stateId = '', encodedUsername = '', text = ''] = match;
  return {
    flags: flags.split(',').filter((flag) => flag !== ''),
    stateId,
    username: Buffer.from(encodedUsername, 'base64').toString('utf8'),
    text,
  };
}
