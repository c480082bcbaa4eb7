import { type Cause, type CauseCode, silenceOf } from '../tunnel/cause.ts';
import type { Profile, ProfileRemote } from './profile-model.ts';

/** Whom the words of OpenVPN are about. */
export interface FailureContext {
  readonly profile: Profile;
  readonly remote: ProfileRemote;
  /** `address:port/transport` of the server or proxy. */
  readonly server: string;
}

/**
 * What a line of OpenVPN's log says of a failure, whether or not it is the last one; undefined for all others. The
 * wording is that of 2.6.14 (ssl_verify.c, ssl.c, ssl_openssl.c, socket.c, proxy.c, socks.c, options.c).
 */
export function explainLine(message: string, { server, profile, remote }: FailureContext): Cause | undefined {
  const certificate = explainCertificate(message);
  if (certificate !== undefined) return certificate;
  const tls = tlsProblem(message);
  if (tls !== undefined) return cause('tls-mismatch', `${server} and ${profile.name} do not agree on TLS: ${tls}`);
  if (/Connection refused/.test(message)) return cause('server-refuses', `nothing listens at ${server}`);
  if (/No route to host|Network is unreachable|EHOSTUNREACH|ENETUNREACH/.test(message)) {
    return cause('unreachable', `there is no way to ${server}: the network says that it cannot be reached`);
  }
  const [, refusal] = /^(?:OPTIONS ERROR: (?!failed to import)|Error: (?=negotiated cipher))(.*)$/.exec(message) ?? [];
  if (refusal !== undefined) return cause('option-error', `OpenVPN does not take what the server pushed: ${refusal}`);
  const option = findOption(message, { profile, remote });
  if (option === undefined) return undefined;
  const problem = message.replace(/^Options error: /, '').replace(/\s*\[\[INLINE\]\]/, '');
  return cause('option-error', `${profile.name}:${option.line}: OpenVPN does not take ${option.name} (${problem})`);
}

function explainCertificate(message: string): Cause | undefined {
  const [, error = '', subject = ''] = /^VERIFY ERROR: depth=\d+, error=(.*?): (.*)$/.exec(message) ?? [];
  const owner = /CN=([^,]+)/.exec(subject)?.[1] ?? 'the server';
  if (/expired/.test(error)) return cause('certificate-expired', `the certificate of ${owner} has expired`);
  if (/not yet valid/.test(error)) return cause('certificate-expired', `the certificate of ${owner} is not valid yet`);
  if (/self.signed|issuer|unable to verify/.test(error)) {
    return cause('wrong-ca', `no authority of the profile has signed the certificate of ${owner} (${error})`);
  }
  if (error !== '') return cause('certificate-refused', `the certificate of ${owner} is not accepted: ${error}`);
  const [, what] = /^VERIFY (?:X509NAME|EKU|KU|nsCertType|HASH) ERROR:?\s*(.*)$/i.exec(message) ?? [];
  if (what === undefined) return undefined;
  const detail = what === '' ? 'it is no certificate of a server' : what;
  return cause('certificate-refused', `the server's certificate is not the one that the profile asks for: ${detail}`);
}

function tlsProblem(message: string): string | undefined {
  if (/tls-crypt unwrap|packet HMAC authentication failed|cannot locate HMAC/.test(message)) {
    return 'the key of tls-auth or tls-crypt is not the one of the server';
  }
  const [, reason] = /^OpenSSL: error:\w+:SSL routines::([^:]+)/.exec(message) ?? [];
  // The line before says more of a certificate; what is left are options, told by the line after.
  if (reason === undefined || /certificate verify failed|no cipher match|passed invalid argument/.test(reason)) {
    return undefined;
  }
  return reason;
}

/** Words of fatal errors that do not name their option. */
const optionsByWords: readonly (readonly [RegExp, string])[] = [
  [/TLS cipher list/, 'tls-cipher'],
  [/TLS 1\.3 cipher list|ciphersuites/, 'tls-ciphersuites'],
  [/TLS group list/, 'tls-groups'],
  [/Message hash algorithm/, 'auth'],
  [/^Cipher \S+ not supported/, 'cipher'],
  [/^MTU is too small/, 'tun-mtu'],
  [/CA certificate file/, 'ca'],
  [/^Cannot load certificate file/, 'cert'],
  [/^Cannot load private key file/, 'key'],
  [/PKCS#?12/, 'pkcs12'],
  [/CRL/, 'crl-verify'],
];

function findOption(message: string, { profile, remote }: Omit<FailureContext, 'server'>) {
  const [, named] = /--([a-z0-9-]+)/.exec(message) ?? [];
  const isOptionsError = message.startsWith('Options error');
  const name =
    isOptionsError && named !== undefined ? named : optionsByWords.find(([words]) => words.test(message))?.[1];
  return [...remote.options, ...profile.options].findLast((option) => option.name === name);
}

/** Why OpenVPN starts over or ends, by the word that its state carries, where no line has said it better. */
export function explainRestart(detail: string, { server }: FailureContext): Cause {
  switch (detail) {
    case 'SIGTERM':
    case 'SIGINT':
    case 'SIGHUP':
    case 'SIGUSR1':
      return killedBy(detail);
    case 'connection-reset':
      return cause('server-closed', `${server} closed the connection`);
    case 'server-pushed-connection-reset':
    case 'exit-with-notification':
      return cause('server-closed', `${server} told us to go (${detail})`);
    case 'ping-restart':
      return cause('tunnel-dead', `nothing came from ${server} for as long as it said itself that it would be silent`);
    case 'server_poll':
      return silenceOf(server);
    default:
      return cause('openvpn-restarted', `OpenVPN gave up the connection to ${server} (${detail})`);
  }
}

/** OpenVPN was ended by a signal that the router did not send. */
export function killedBy(signal: string): Cause {
  return cause('openvpn-killed', `something outside of the router ended OpenVPN (${signal})`);
}

/** A login that was not accepted: by the server, by the key, by a proxy. */
export function explainRefusal(
  { realm, reason }: { readonly realm: string; readonly reason?: string | undefined },
  { server, profile, remote }: FailureContext,
): Cause {
  const said = reason === undefined || reason === '' ? '' : `: ${reason.replace(/^TEMP(\[[^\]]*\])?:?/, '')}`;
  if (realm === 'Private Key') {
    return cause('key-passphrase', `the passphrase does not open the private key of ${profile.name}`);
  }
  if (realm.endsWith(' Proxy')) return cause('proxy-refused', `the proxy ${server} did not take the login`);
  if (/cipher negotiation failed/i.test(reason ?? '')) {
    const option = [...remote.options, ...profile.options].find(({ name }) => /^(data-)?ciphers?$/.test(name));
    const line = option === undefined ? '' : `:${option.line}`;
    return cause('tls-mismatch', `${server} takes none of the ciphers of ${profile.name}${line}`);
  }
  if (reason?.startsWith('TEMP') === true) return cause('login-deferred', `${server} puts the login off${said}`);
  return cause('auth-failed', `${server} did not take the user name and password${said}`);
}

/** A question that nobody gave the answer to. */
export function explainUnanswered(realm: string, { profile }: FailureContext): Cause {
  return realm === 'Private Key'
    ? cause('key-passphrase', `the private key of ${profile.name} has a passphrase, and none was given`)
    : cause('auth-failed', `OpenVPN asks for a password (${realm}) that was not given`);
}

/** The server asks for a one-time code, and there is no secret to make it of. */
export function explainMissingCode(question: string, { server }: FailureContext): Cause {
  return cause('code-missing', `${server} asks for a one-time code ("${question}"), and no TOTP secret was given`);
}

/** The server got a one-time code and did not take the login. */
export function explainRefusedCode(said: string | undefined, { server }: FailureContext): Cause {
  const reason = said === undefined || said === '' ? '' : `: ${said}`;
  return cause('code-refused', `${server} did not take the password with its one-time code${reason}`);
}

function cause(code: CauseCode, text: string): Cause {
  return { code, text };
}
