import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { explainLine, explainRefusal, explainRestart, explainUnanswered } from '../../../src/openvpn/failure.ts';
import { parseText, understood, withLines } from './corpus.ts';

const profile = understood(parseText(withLines('auth SHA512', 'tls-cipher DEFAULT', 'data-ciphers AES-256-GCM')));
const [remote] = profile.remotes;
const context = { profile, remote, server: '203.0.113.10:1194/udp' };

/** Lines of OpenVPN 2.6.14, as it wrote them in the kernel tier, and what they mean. */
const lines: Readonly<Record<string, string | undefined>> = {
  'VERIFY ERROR: depth=1, error=self-signed certificate in certificate chain: CN=test-ca, serial=4842':
    'wrong-ca: no authority of the profile has signed the certificate of test-ca (self-signed certificate in certificate chain)',
  'VERIFY ERROR: depth=0, error=unable to get local issuer certificate: C=XX, CN=a.example, serial=1':
    'wrong-ca: no authority of the profile has signed the certificate of a.example (unable to get local issuer certificate)',
  'VERIFY ERROR: depth=0, error=certificate has expired: CN=server, serial=56':
    'certificate-expired: the certificate of server has expired',
  'VERIFY ERROR: depth=0, error=certificate is not yet valid: CN=server, serial=56':
    'certificate-expired: the certificate of server is not valid yet',
  'VERIFY ERROR: depth=0, error=certificate revoked: CN=server, serial=56':
    'certificate-refused: the certificate of server is not accepted: certificate revoked',
  'VERIFY X509NAME ERROR: CN=server, must be other':
    "certificate-refused: the server's certificate is not the one that the profile asks for: CN=server, must be other",
  'VERIFY EKU ERROR':
    "certificate-refused: the server's certificate is not the one that the profile asks for: it is no certificate of a server",
  'read UDPv4 [ECONNREFUSED]: Connection refused (fd=4,code=111)':
    'server-refuses: nothing listens at 203.0.113.10:1194/udp',
  'TCP: connect to [AF_INET]203.0.113.10:1194 failed: Connection refused':
    'server-refuses: nothing listens at 203.0.113.10:1194/udp',
  'read UDPv4 [EHOSTUNREACH]: No route to host (fd=4,code=113)':
    'unreachable: there is no way to 203.0.113.10:1194/udp: the network says that it cannot be reached',
  'tls-crypt unwrap error: packet too short':
    'tls-mismatch: 203.0.113.10:1194/udp and test.ovpn do not agree on TLS: the key of tls-auth or tls-crypt is not the one of the server',
  'OpenSSL: error:0A00042E:SSL routines::tlsv1 alert protocol version:SSL alert number 70':
    'tls-mismatch: 203.0.113.10:1194/udp and test.ovpn do not agree on TLS: tlsv1 alert protocol version',
  "Message hash algorithm 'NONSENSE' not found":
    "option-error: test.ovpn:7: OpenVPN does not take auth (Message hash algorithm 'NONSENSE' not found)",
  'Failed to set restricted TLS cipher list: NONSENSE':
    'option-error: test.ovpn:8: OpenVPN does not take tls-cipher (Failed to set restricted TLS cipher list: NONSENSE)',
  'Options error: --data-ciphers list contains unsupported ciphers or is too long.':
    'option-error: test.ovpn:9: OpenVPN does not take data-ciphers (--data-ciphers list contains unsupported ciphers or is too long.)',
  'OPTIONS ERROR: server pushed compression settings that are not allowed':
    'option-error: OpenVPN does not take what the server pushed: server pushed compression settings that are not allowed',
  // What follows from the lines before it, or means nothing.
  'OPTIONS ERROR: failed to import crypto options': undefined,
  'OpenSSL: error:0A000086:SSL routines::certificate verify failed:': undefined,
  'OpenSSL: error:0A0000B9:SSL routines::no cipher match:': undefined,
  'TLS_ERROR: BIO read tls_read_plaintext error': undefined,
  'TLS Error: TLS handshake failed': undefined,
  'event_wait : Interrupted system call (fd=-1,code=4)': undefined,
  'read from TUN/TAP : File descriptor in bad state (fd=-1,code=77)': undefined,
  'WARNING: this configuration may cache passwords in memory': undefined,
  'Initialization Sequence Completed': undefined,
};

describe('a line of OpenVPN', () => {
  for (const [line, expected] of Object.entries(lines)) {
    it(`"${line}" means ${expected ?? 'nothing'}`, () => {
      const cause = explainLine(line, context);
      assert.equal(cause === undefined ? undefined : `${cause.code}: ${cause.text}`, expected);
    });
  }
});

describe('the reason of a restart', () => {
  for (const [detail, code] of [
    ['SIGTERM', 'openvpn-killed'],
    ['SIGUSR1', 'openvpn-killed'],
    ['connection-reset', 'server-closed'],
    ['server-pushed-connection-reset', 'server-closed'],
    ['ping-restart', 'tunnel-dead'],
    ['server_poll', 'server-silent'],
    ['init_instance', 'openvpn-restarted'],
  ] as const) {
    it(`${detail} is ${code}`, () => assert.equal(explainRestart(detail, context).code, code));
  }
});

describe('a refused login', () => {
  const refusal = (realm: string, reason?: string) => {
    const { code, text } = explainRefusal({ realm, reason }, context);
    return `${code}: ${text}`;
  };

  it('tells the reason of the server', () => {
    const text = 'auth-failed: 203.0.113.10:1194/udp did not take the user name and password';
    assert.equal(refusal('Auth'), text);
    assert.equal(refusal('Auth', "it's over"), `${text}: it's over`);
  });

  it('is no refusal when the server is busy, has no cipher in common, or when it is the key or the proxy', () => {
    const busy = 'login-deferred: 203.0.113.10:1194/udp puts the login off: too many';
    assert.equal(refusal('Auth', 'TEMP[backoff 3,x]:too many'), busy);
    assert.equal(refusal('Auth', 'TEMP:too many'), busy);
    const ciphers = 'tls-mismatch: 203.0.113.10:1194/udp takes none of the ciphers of test.ovpn:9';
    assert.equal(refusal('Auth', 'Data channel cipher negotiation failed (no shared cipher)'), ciphers);
    assert.match(refusal('Private Key'), /^key-passphrase: /);
    assert.match(refusal('HTTP Proxy'), /^proxy-refused: /);
    assert.equal(explainUnanswered('Private Key', context).code, 'key-passphrase');
    assert.equal(explainUnanswered('Auth', context).code, 'auth-failed');
  });
});
