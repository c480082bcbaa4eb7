import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseProfile } from '../../../src/openvpn/profile.ts';
import { faultsOf, parseText, understood, withLines } from './corpus.ts';

const nothing = { readFile: () => ({ kind: 'missing' }) as const };
const optionNames = (text: string, files = {}): readonly string[] =>
  understood(parseText(text, files)).options.map((option) => [option.name, ...option.parameters].join(' '));
const faults = (...lines: readonly string[]): readonly string[] => faultsOf(parseText(withLines(...lines)));
const reasons = (text: string): readonly string[] =>
  understood(parseText(text)).ignored.map(({ line, option, reason }) => `${line} ${option}: ${reason}`);

test('keeps options, in order, with the quotes undone', () => {
  const text = withLines('verify-x509-name "C=SE, O=x" subject', 'auth SHA512', '--tls-version-min 1.2');
  assert.deepEqual(optionNames(text), [
    'client',
    'ca',
    'verify-x509-name C=SE, O=x subject',
    'auth SHA512',
    'tls-version-min 1.2',
  ]);
});

test('reports every fault of a profile at once, by line', () => {
  assert.deepEqual(faults('up /bin/sh', 'proto sctp', 'no-such-option 1', '"open', 'dev tap'), [
    'test.ovpn:7 | up /bin/sh | would run a program',
    'test.ovpn:8 | proto sctp | names no transport that OpenVPN knows',
    'test.ovpn:9 | no-such-option | is no option of OpenVPN 2.6 or 2.7',
    'test.ovpn:10 | opens a quote that is not closed on the same line',
    'test.ovpn:11 | dev tap | asks for Ethernet frames, which cannot be routed',
  ]);
});

const faulty: readonly (readonly [line: string, problem: string])[] = [
  ['tls-server', 'makes OpenVPN a server'],
  ['proto tcp-server', 'makes OpenVPN wait for a connection'],
  ['tls-remote name', 'checks the name of the server in a way that OpenVPN 2.4 removed'],
  ['http-proxy 127.0.0.1 8080', 'has an address that no server can have'],
  ['http-proxy 192.0.2.1 80a', 'has no port from 1 to 65535'],
  ['http-proxy 192.0.2.1 8080 auto kerberos', 'names a way to log in that OpenVPN does not know'],
  ['cipher AES-257-GCM', 'names a cipher that OpenVPN does not know'],
  ['data-ciphers AES-256-GCM:?NEW-1:NEW-2', 'names a cipher that OpenVPN does not know'],
  ['setenv GENERIC_CONFIG', 'says that this profile cannot be used as it is'],
  ['cipher AES-256-CBCauth SHA512', 'has too many parameters'],
  ['verb 3cipher AES-256-GCM', 'has the option cipher run into it'],
  ['key-direction 2', 'has a value that OpenVPN does not know'],
  ['comp-lzo maybe', 'has a value that OpenVPN does not know'],
  ['dev null', 'asks for no tunnel device'],
  ['dev-type tap', 'asks for Ethernet frames, which cannot be routed'],
];

for (const [line, problem] of faulty) {
  test(`refuses ${line.trim()}`, () => {
    const [fault = '', ...others] = faults(line);
    assert.deepEqual(others, []);
    assert.ok(fault.startsWith('test.ovpn:7 | ') && fault.endsWith(` | ${problem}`), fault);
  });
}

test('refuses a row that is too long only under the name that OpenVPN gets', () => {
  const longest = 254 - 'data-ciphers ?'.length;
  understood(parseText(withLines(`ncp-ciphers ?${'A'.repeat(longest)}`)));
  const [fault = ''] = faults(`ncp-ciphers ?${'A'.repeat(longest + 1)}`);
  assert.match(fault, /^test\.ovpn:7 \| .* \| is longer than the 254 bytes that OpenVPN reads$/);
});

test('drops what the router owns, with a reason', () => {
  const lines = [
    'script-security 2',
    'user nobody',
    'verb 11',
    'redirect-gateway def1',
    'block-outside-dns',
    'ncp-disable',
  ];
  assert.deepEqual(reasons(withLines(...lines)), [
    '7 script-security: no script runs here',
    '8 user: the router runs OpenVPN as a user of its own, in the foreground',
    '9 verb: the router logs, see LOG_LEVEL',
    '10 redirect-gateway: the router routes everything of its clients into the tunnel',
    '11 block-outside-dns: it is for Windows only',
    '12 ncp-disable: OpenVPN 2.6 or 2.7 no longer knows it, and works without it',
  ]);
});

test('skips an unknown option only where the profile allows it before', () => {
  const skipped = '8 later: OpenVPN does not know it, and the profile allows that';
  assert.deepEqual(reasons(withLines('ignore-unknown-option later --other', 'later 1')), [skipped]);
  assert.equal(faults('later 1', 'ignore-unknown-option later').length, 1);
  assert.equal(reasons(withLines('setenv opt later 1')).length, 1);
  assert.equal(reasons(withLines('setenv FORWARD_COMPATIBLE 1', 'later 1')).length, 2);
});

test('takes `setenv opt` for the option behind it', () => {
  assert.ok(optionNames(withLines('setenv opt tls-cert-profile legacy')).includes('tls-cert-profile legacy'));
  assert.ok(optionNames(withLines('setenv UV_PLATFORM "a b"')).includes('setenv UV_PLATFORM a b'));
});

test('tells options that run together from ones that do not exist', () => {
  const parsed = parseText(withLines('nobindpersist-key', 'Client'));
  const hints = parsed.kind === 'faults' ? parsed.faults.map(({ hint }) => hint) : [];
  assert.deepEqual(hints, ['put nobind and persist-key on a line each', 'write client']);
});

test('does not take free text for an option that ran into it', () => {
  const lines = ['verify-x509-name fr1server name', 'setenv UV_X 1key', 'remote us1server 443'];
  understood(parseText(withLines(...lines)));
});

test('demands what OpenVPN demands of a profile', () => {
  assert.deepEqual(faultsOf(parseText('')), [
    'test.ovpn | names no server',
    'test.ovpn | is not the profile of a client',
    'test.ovpn | names no certificate authority, so any server would be believed',
    'test.ovpn | has nothing that the server would know its client by',
  ]);
  assert.deepEqual(faults('<cert>', 'C', '</cert>'), ['test.ovpn | has cert without key']);
  assert.deepEqual(faults('<tls-auth>', 'T', '</tls-auth>', '<tls-crypt>', 'T', '</tls-crypt>'), [
    'test.ovpn | has more than one of tls-auth, tls-crypt and tls-crypt-v2',
  ]);
  assert.deepEqual(faults('tun-mtu 1500', 'link-mtu 1500'), ['test.ovpn | has both tun-mtu and link-mtu']);
});

test('offers a CBC cipher of the profile, as OpenVPN did before 2.6', () => {
  assert.deepEqual(optionNames(withLines('cipher aes-256-cbc')).slice(2), [
    'cipher aes-256-cbc',
    'data-ciphers AES-256-GCM:AES-128-GCM:?CHACHA20-POLY1305:aes-256-cbc',
    'data-ciphers-fallback aes-256-cbc',
  ]);
  for (const lines of [['cipher AES-256-GCM'], ['cipher BF-CBC'], ['cipher AES-256-CBC', 'ncp-ciphers AES-128-GCM']]) {
    assert.ok(!optionNames(withLines(...lines)).some((name) => name.startsWith('data-ciphers-fallback')));
  }
});

test('takes pull filters that take away, up to the first that lets in', () => {
  const text = withLines('pull-filter ignore auth-token', 'pull-filter accept route', 'pull-filter ignore ""');
  assert.deepEqual(optionNames(text).slice(2), ['pull-filter ignore auth-token']);
  assert.deepEqual(
    reasons(text).map((reason) => reason.split(':')[0]),
    ['8 pull-filter', '9 pull-filter'],
  );
});

test('reports a key without its tags once, not once a line', () => {
  const key = Array.from({ length: 16 }, (_, index) => `${index}acef03f62675b4b1bbd03e53b18772`);
  assert.deepEqual(faults(...key, 'pull', ...key), [
    'test.ovpn:7 | is no option of OpenVPN',
    'test.ovpn:24 | is no option of OpenVPN',
  ]);
});

test('refuses what is no text, or too much of it', () => {
  const parse = (bytes: Uint8Array) => faultsOf(parseProfile({ name: 'x.ovpn', bytes, ...nothing }));
  assert.deepEqual(parse(Buffer.from('client\n', 'utf16le')), ['x.ovpn | is not UTF-8 text']);
  assert.deepEqual(parse(Buffer.from([0x63, 0xff, 0x0a])), ['x.ovpn | is not UTF-8 text']);
  assert.deepEqual(parse(Buffer.alloc(1024 * 1024 + 1, '#')), ['x.ovpn | is larger than 1 MiB']);
  const many = parse(Buffer.from('up x\n'.repeat(100_000)));
  assert.equal(many.length, 51);
  assert.match(many.at(-1) ?? '', /more faults/);
});

test('refuses control characters and rows that OpenVPN would not read', () => {
  assert.deepEqual(faults('auth "A\u0007"'), ['test.ovpn:7 | auth | holds a control character']);
  assert.equal(faults(`tls-cipher ${'A'.repeat(300)}`).length, 1);
  understood(parseText(withLines(`# ${'A'.repeat(300)}`)));
});
