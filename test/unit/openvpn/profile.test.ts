import assert from 'node:assert/strict';
import { test } from 'node:test';
import { knownOptions, ruleOf } from '../../../src/openvpn/option-rules.ts';
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

const malicious: readonly (readonly [line: string, problem: string])[] = [
  ['plugin /tmp/evil.so', 'would load code into OpenVPN'],
  ['providers /tmp/evil default', 'would load code into OpenVPN'],
  ['engine /tmp/evil.so', 'would load code into OpenVPN'],
  ['pkcs11-providers /tmp/evil.so', 'would load the driver of a security token'],
  ['up "/bin/sh -c id"', 'would run a program'],
  ['--up /bin/sh', 'would run a program'],
  ['"up" /bin/sh', 'would run a program'],
  ["'up' /bin/sh", 'would run a program'],
  ['\tup\t/bin/sh', 'would run a program'],
  ['setenv opt up /bin/sh', 'would run a program'],
  ['setenv opt setenv opt plugin /tmp/evil.so', 'would load code into OpenVPN'],
  ['tls-verify /bin/sh', 'would run a program'],
  ['iproute /tmp/evil', 'would run a program'],
  ['dns-updown /tmp/evil', 'would run a program'],
  ['dev-node unix:/tmp/evil', 'would run a program'],
  ['config /etc/shadow', 'would read a file outside of the profile'],
  ['log-append /etc/cron.d/evil', 'would write to a file'],
  ['status /etc/passwd 1', 'would write to a file'],
  ['writepid /etc/passwd', 'would write to a file'],
  ['replay-persist /etc/passwd', 'would write to a file'],
  ['tmp-dir /etc', 'would write to a file'],
  ['cd /', 'would move OpenVPN to another directory'],
  ['chroot /', 'would move OpenVPN to another directory'],
  ['capath /etc', 'would read a directory outside of the profile'],
  ['crl-verify /etc dir', 'would read a directory'],
  ['management 0.0.0.0 7505', 'would set up a way to control OpenVPN that is not the router'],
  ['management-hold', 'would set up a way to control OpenVPN that is not the router'],
  ['mode server', 'makes OpenVPN a server'],
  ['server 10.0.0.0 255.0.0.0', 'makes OpenVPN a server'],
  ['tls-server', 'makes OpenVPN a server'],
  ['proto tcp-server', 'makes OpenVPN wait for a connection'],
  ['secret static.key', 'is a static key without TLS, which OpenVPN is giving up'],
  ['tls-remote name', 'checks the name of the server in a way that OpenVPN 2.4 removed'],
  ['http-proxy 127.0.0.1 8080', 'has an address that no server can have'],
  ['http-proxy 192.0.2.1 80a', 'has no port from 1 to 65535'],
  ['http-proxy 192.0.2.1 8080 auto kerberos', 'names a way to log in that OpenVPN does not know'],
  ['setenv GENERIC_CONFIG', 'says that this profile cannot be used as it is'],
  ['remote vpn.example.net 0', 'has no port from 1 to 65535'],
  ['cipher AES-257-GCM', 'names a cipher that OpenVPN does not know'],
  ['data-ciphers AES-256-GCM:?NEW-1:NEW-2', 'names a cipher that OpenVPN does not know'],
  ['remote vpn.example.net 443proto udp', 'has the option proto run into it'],
  ['remote vpn.example.net 443 sctp', 'names no transport that OpenVPN knows'],
  ['remote $(id) 443', 'names no host'],
  ['remote 192.0.2 443', 'names no host'],
  ['remote 0x7f.1 443', 'names no host'],
  ['remote fe80::1%eth0 443', 'names no host'],
  [`remote ${'0'.repeat(60)}::1 443`, 'names no host'],
  ...[
    ...['0.0.0.0', '0.255.255.255', '127.0.0.1', '127.255.255.255', '224.0.0.1', '239.255.255.255', '240.0.0.0'],
    ...['255.255.255.255', '::', '::1', 'ff02::1', '::ffff:127.0.0.1', '[::1]'],
  ].map((address) => [`remote ${address} 443`, 'has an address that no server can have'] as const),
  ['cipher AES-256-CBCauth SHA512', 'has too many parameters'],
  ['verb 3cipher AES-256-GCM', 'has the option cipher run into it'],
  ['key-direction 2', 'has a value that OpenVPN does not know'],
  ['comp-lzo maybe', 'has a value that OpenVPN does not know'],
  ['dev null', 'asks for no tunnel device'],
  ['dev-type tap', 'asks for Ethernet frames, which cannot be routed'],
];

for (const [line, problem] of malicious) {
  test(`refuses ${line.trim()}`, () => {
    const [fault = '', ...others] = faults(line);
    assert.deepEqual(others, []);
    assert.ok(fault.startsWith('test.ovpn:7 | ') && fault.endsWith(` | ${problem}`), fault);
  });
}

test('refuses an inline block for an option that takes none', () => {
  assert.deepEqual(faults('<auth>', 'SHA1', '</auth>'), ['test.ovpn:7 | <auth> | takes no inline block']);
  assert.deepEqual(faults('<up>', '/bin/sh', '</up>'), ['test.ovpn:7 | <up> | would run a program']);
});

/** Every option whose body is rendered between tags. */
const blocks = knownOptions().filter((name) => {
  const rule = ruleOf(name);
  return rule?.kind === 'material' || (rule?.kind === 'pass' && rule.block === true);
});

test('refuses a body that could break out of its tags, for every option that has one', () => {
  assert.ok(blocks.includes('peer-fingerprint') && blocks.includes('verify-hash') && blocks.length >= 11);
  for (const name of blocks) {
    // OpenVPN reads 255 bytes at a time: what follows the tag would be options.
    const breakout = [`${'#'.repeat(255)}</${name}>`, 'plugin /tmp/evil.so'];
    const inline = faults(`<${name}>`, 'K', ...breakout, `</${name}>`);
    assert.ok(
      inline.includes(
        `test.ovpn:9 | <${name}> | has a body that holds in this line </, which could end the block early`,
      ),
      inline.join(),
    );
    const block = ['<connection>', 'remote a', `<${name}>`, ...breakout, `</${name}>`, '</connection>'];
    assert.ok(faults(...block).some((fault) => fault.startsWith('test.ovpn:')));
    if (ruleOf(name)?.kind !== 'material' || name === 'pkcs12') continue;
    const file = faultsOf(parseText(withLines(`${name} f`), { f: `K\n </${name}>\nup /bin/sh\n` }));
    const problem = 'names a file that holds in line 2 </, which could end the block early';
    assert.ok(file.includes(`test.ovpn:7 | ${name} f | ${problem}`), file.join());
  }
});

test('refuses a body with a line that OpenVPN would read in two pieces', () => {
  for (const name of blocks) {
    const found = (line: string) =>
      faults('no-such-option', `<${name}>`, line, `</${name}>`).filter((fault) =>
        fault.includes('more than 254 bytes'),
      );
    // The hyphen is in no base64, which is wrapped.
    assert.deepEqual(found(`-${'A'.repeat(253)}`), []);
    assert.deepEqual(found(`-${'A'.repeat(251)}é`).length, 0);
    const fault = `test.ovpn:9 | <${name}> | has a body that holds in this line more than 254 bytes, which OpenVPN would cut`;
    assert.deepEqual(found(`-${'A'.repeat(254)}`), [fault]);
    assert.deepEqual(found(`-${'A'.repeat(252)}é`), [fault]);
  }
  const file = parseText(withLines('ca f'), { f: `K\n${'A'.repeat(255)}\n` });
  assert.deepEqual(faultsOf(file), [
    'test.ovpn:7 | ca f | names a file that holds in line 2 more than 254 bytes, which OpenVPN would cut',
  ]);
});

test('refuses a body of nothing', () => {
  for (const name of blocks) {
    assert.ok(faults(`<${name}>`, ' ', `</${name}>`).includes(`test.ovpn:7 | <${name}> | is empty`), name);
  }
});

test('wraps a PKCS#12 block that is one long line of base64', () => {
  const bytes = Buffer.alloc(3000, 0xa5);
  const text = `client\nremote a\n<pkcs12>\n${bytes.toString('base64')}\n</pkcs12>\n<ca>\nCA\n</ca>\n`;
  const inline = understood(parseText(text)).options.find(({ name }) => name === 'pkcs12')?.inline ?? '';
  assert.deepEqual(Buffer.from(inline, 'base64'), bytes);
  assert.ok(inline.split('\n').every((row) => row.length <= 76));
});

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

test('takes the last proto and port for every remote without its own, wherever they stand', () => {
  const text = withLines('remote b.example.net', 'remote c.example.net 80 udp6', 'port 53', 'proto tcp4-client');
  const remotes = understood(parseText(text)).remotes.map(
    ({ host, port, transport }) => `${host} ${port} ${transport}`,
  );
  assert.deepEqual(remotes, ['vpn.example.net 1194 tcp', 'b.example.net 53 tcp', 'c.example.net 80 udp']);
});

test('takes the transport of proto-force only, and each remote once', () => {
  const text = withLines('remote vpn.example.net 1194', 'remote vpn.example.net 443 tcp', 'proto-force tcp');
  assert.deepEqual(
    understood(parseText(text)).remotes.map(({ port }) => port),
    [443],
  );
  const twice = withLines('remote vpn.example.net 1194 udp');
  assert.equal(understood(parseText(twice)).remotes.length, 1);
});

test('takes remotes as IPv4, IPv6 or names', () => {
  const text = withLines('remote 2001:db8::1 1194 udp6', 'remote [2001:db8::2] 1194', 'remote 192.0.2.7');
  const hosts = understood(parseText(text)).remotes.map(({ host }) => host);
  assert.deepEqual(hosts, ['vpn.example.net', '2001:db8::1', '2001:db8::2', '192.0.2.7']);
});

test('gives a connection block what stands before it, and its own', () => {
  const block = (...lines: readonly string[]) => ['<connection>', ...lines, '</connection>'];
  const text = [
    ...['client', 'auth-user-pass', '<ca>', 'CA', '</ca>', '<tls-auth>', 'T', '</tls-auth>', 'key-direction 1'],
    ...['tun-mtu 1400', 'fragment 1300', 'proto udp', 'rport 53'],
    ...block('remote a.example.net', 'connect-retry 1'),
    ...block('remote b.example.net 443 tcp', 'mssfix 1200', '<tls-crypt>', 'K', '</tls-crypt>'),
    ...block('remote c.example.net', 'key-direction 0'),
    ...['mssfix 1000', 'remote d.example.net'],
  ].join('\n');
  const profile = understood(parseText(text));
  const remotes = profile.remotes.map(({ host, port, transport, line, options }) => [
    `${line} ${host} ${port} ${transport}`,
    options.map(({ name, parameters }) => [name, ...parameters].join(' ')),
  ]);
  assert.deepEqual(remotes, [
    ['15 a.example.net 53 udp', ['tun-mtu 1400', 'fragment 1300']],
    ['19 b.example.net 443 tcp', ['tun-mtu 1400', 'mssfix 1200', 'tls-crypt']],
    ['26 c.example.net 53 udp', ['tun-mtu 1400', 'fragment 1300']],
  ]);
  const dropped = profile.ignored.map(({ line, option }) => `${line} ${option}`);
  assert.deepEqual(dropped, ['16 connect-retry', '11 fragment', '30 remote', '29 mssfix']);
});

test('refuses a connection block without a remote, with two, or with an option of the profile', () => {
  assert.deepEqual(faults('<connection>', 'proto udp', '</connection>'), [
    'test.ovpn:7 | <connection> | has no remote',
  ]);
  const two = ['<connection>', 'remote a', 'remote b', 'ca x', 'up /bin/sh', '</connection>'];
  assert.deepEqual(faults(...two), [
    'test.ovpn:9 | remote b | is the second remote of its <connection> block',
    'test.ovpn:10 | ca x | cannot stand in a <connection> block',
    'test.ovpn:11 | up /bin/sh | would run a program',
  ]);
});

test('embeds files, whole and as text', () => {
  const text = 'client\nremote a\nca ca.crt\ncert c\nkey k\ntls-auth ta.key 1\ncrl-verify crl.pem\nextra-certs e\n';
  const files = { 'ca.crt': 'CA\r\nCA2', c: 'C\n', k: 'K\n\n', 'ta.key': 'T', 'crl.pem': 'R', e: 'E' };
  const { options } = understood(parseText(text, files));
  assert.deepEqual(options, [
    { name: 'client', parameters: [], line: 1 },
    { name: 'ca', parameters: [], line: 3, inline: 'CA\nCA2\n' },
    { name: 'cert', parameters: [], line: 4, inline: 'C\n' },
    { name: 'key', parameters: [], line: 5, inline: 'K\n' },
    { name: 'tls-auth', parameters: [], line: 6, inline: 'T\n' },
    { name: 'key-direction', parameters: ['1'], line: 6 },
    { name: 'crl-verify', parameters: [], line: 7, inline: 'R\n' },
    { name: 'extra-certs', parameters: [], line: 8, inline: 'E\n' },
  ]);
});

test('embeds a PKCS#12 file as base64 in short rows', () => {
  const bytes = Buffer.alloc(100, 0xfe);
  const { options } = understood(parseText('client\nremote a\npkcs12 id.p12\n', { 'id.p12': bytes }));
  const inline = options.find(({ name }) => name === 'pkcs12')?.inline ?? '';
  assert.deepEqual(Buffer.from(inline, 'base64'), bytes);
  assert.ok(inline.split('\n').every((row) => row.length <= 76));
});

test('takes the direction of a key that is announced inline', () => {
  const text = withLines('tls-auth [inline] 1', '<tls-auth>', 'T', '</tls-auth>');
  assert.deepEqual(optionNames(text).slice(2), ['key-direction 1', 'tls-auth']);
});

test('reports files that are missing, foreign, unreadable, binary or empty', () => {
  const files = {
    b: { kind: 'outside' },
    c: { kind: 'unreadable', reason: 'permission denied' },
    d: Buffer.from([0x30, 0x82, 0x00]),
    e: ' \n',
  } as const;
  const text = withLines('ca a', 'extra-certs b', 'tls-crypt c', 'crl-verify d', 'extra-certs e', 'askpass a');
  assert.deepEqual(faultsOf(parseText(text, files)), [
    'test.ovpn:7 | ca a | names a file that does not exist',
    'test.ovpn:8 | extra-certs b | names a file outside of the folder of the profile',
    'test.ovpn:9 | tls-crypt c | names a file that cannot be read: permission denied',
    'test.ovpn:10 | crl-verify d | names a file that is not text',
    'test.ovpn:11 | extra-certs e | is empty',
    'test.ovpn:12 | askpass a | names a file that does not exist',
  ]);
});

test('reads credentials inline and from a file, and never passes them on', () => {
  const base = 'client\nremote a\n<ca>\nCA\n</ca>\n';
  const inline = understood(parseText(`${base}<auth-user-pass>\nme\np'"#w \n</auth-user-pass>\n`));
  assert.deepEqual(inline.credentials, { username: 'me', password: `p'"#w ` });
  const filed = understood(
    parseText(`${base}auth-user-pass up.txt\naskpass pp\n`, { 'up.txt': 'me\r\npw\r\n', pp: 'pass\n' }),
  );
  assert.deepEqual(filed.credentials, { username: 'me', password: 'pw' });
  assert.equal(filed.keyPassphrase, 'pass');
  for (const profile of [inline, filed]) {
    assert.ok(profile.needsCredentials);
    assert.ok(!profile.options.some(({ name }) => name === 'auth-user-pass' || name === 'askpass'));
  }
});

test('goes on without the credentials file of another machine', () => {
  for (const file of [{ kind: 'missing' }, { kind: 'outside' }] as const) {
    const parsed = parseText(withLines('auth-user-pass /etc/pw'), file.kind === 'outside' ? { '/etc/pw': file } : {});
    const profile = understood(parsed);
    assert.ok(profile.needsCredentials);
    assert.equal(profile.credentials, undefined);
    assert.equal(profile.ignored.length, 1);
  }
});

test('checks the secrets of a profile like those of the settings, and shows none', () => {
  const control = 'holds a control character, such as a tab or a line break';
  const long = 'is longer than 256 bytes, which is all that OpenVPN takes';
  const secret = 'hunterhunter';
  const secrets: readonly (readonly [text: string, problem: string])[] = [
    ['', 'is empty'],
    [`${secret}\t`, control],
    [`${secret}\u007f`, control],
    [`${secret}${'é'.repeat(123)}`, long],
  ];
  for (const [text, problem] of secrets) {
    const cases = [
      [parseText(withLines('<auth-user-pass>', text, 'pw', '</auth-user-pass>')), '8 | <auth-user-pass>', 'user name'],
      [parseText(withLines('<auth-user-pass>', 'me', text, '</auth-user-pass>')), '9 | <auth-user-pass>', 'password'],
      [parseText(withLines('auth-user-pass f'), { f: `${text}\r\npw\n` }), '7 | auth-user-pass f', 'user name'],
      [parseText(withLines('auth-user-pass f'), { f: `me\n${text}\n` }), '7 | auth-user-pass f', 'password'],
      [parseText(withLines('askpass f'), { f: `${text}\n` }), '7 | askpass f', 'passphrase'],
    ] as const;
    for (const [parsed, place, what] of cases) {
      assert.deepEqual(faultsOf(parsed), [`test.ovpn:${place} | has a ${what} that ${problem}`]);
      assert.ok(!JSON.stringify(parsed).includes(secret));
    }
  }
  const whole = `${'é'.repeat(128)}`;
  const profile = understood(
    parseText(withLines('auth-user-pass f', 'askpass g'), { f: `${whole}\n${whole}`, g: whole }),
  );
  assert.deepEqual(profile.credentials, { username: whole, password: whole });
  assert.equal(profile.keyPassphrase, whole);
  assert.deepEqual(faultsOf(parseText(withLines('auth-user-pass f'), { f: 'only-a-name\n' })), [
    'test.ovpn:7 | auth-user-pass f | has a password that is empty',
  ]);
  assert.deepEqual(faultsOf(parseText(withLines('auth-user-pass f'), { f: Buffer.from([0x61, 0xff]) })), [
    'test.ovpn:7 | auth-user-pass f | names a file that is not UTF-8 text',
  ]);
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

test('never shows a secret in a fault or a reason', () => {
  const secret = 'hunterhunter';
  const texts = [
    withLines('</auth-user-pass>', secret, '"', `setenv opt no-such ${secret}`),
    withLines(secret, secret, '</auth-user-pass>'),
    withLines(`auth-token ${secret}`, `setenv UV_T ${secret} x`, `setenv TOKEN ${secret}`, 'up x'),
    withLines('<key>', secret, '</key>', '<tls-crypt>', `${secret}</`, '</tls-crypt>', `"${secret}`),
    withLines('MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7', '6acef03f62675b4b1bbd03e53b187727', '</key>'),
  ];
  for (const text of texts) {
    const parsed = parseText(text);
    assert.equal(parsed.kind, 'faults');
    const report = JSON.stringify(parsed);
    for (const word of [secret, 'MIIEv', '6acef']) assert.ok(!report.includes(word), report);
  }
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
