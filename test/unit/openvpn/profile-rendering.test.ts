import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { UnderbridgeError } from '../../../src/errors.ts';
import { lexOptions } from '../../../src/openvpn/option-lexer.ts';
import { renderOptionRow } from '../../../src/openvpn/option-row.ts';
import { knownOptions, ruleOf } from '../../../src/openvpn/option-rules.ts';
import { renderArguments, renderProfile } from '../../../src/openvpn/profile.ts';
import { parseText, understood, withLines } from './corpus.ts';

const argumentsOf = (...lines: readonly string[]): readonly string[] =>
  renderArguments({
    profile: understood(parseText(withLines(...lines))),
    managementSocket: '/run/underbridge/m.sock',
    tunName: 'vpn0',
  });

/** A line of anything: a known option with likely and unlikely words, or noise. */
const anyLine = fc.oneof(
  {
    weight: 5,
    arbitrary: fc
      .tuple(
        fc.constantFrom(...knownOptions().filter((name) => ruleOf(name)?.kind !== 'refuse')),
        fc.array(
          fc.oneof(
            fc.constantFrom(
              '1',
              '0',
              'tcp',
              'udp',
              'no',
              'server',
              'a.example.net',
              'opt',
              'UV_X',
              'ignore',
              'up',
              'remote',
            ),
            fc.string({ unit: 'grapheme-ascii', maxLength: 12 }),
          ),
          { maxLength: 3 },
        ),
      )
      .map(([name, parameters]) => renderOptionRow({ name, parameters })),
  },
  { weight: 1, arbitrary: fc.constantFrom(...knownOptions()) },
  { weight: 1, arbitrary: fc.string({ unit: 'grapheme', maxLength: 20 }) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(
        fc.constantFrom('ca', 'tls-auth', 'tls-crypt', 'peer-fingerprint', 'connection', 'auth-user-pass'),
        fc.array(fc.constantFrom('remote b.example.net 53', 'mssfix 1200', 'up x', 'K', '<key>', 'proto tcp'), {
          maxLength: 3,
        }),
      )
      .map(([name, body]) => [`<${name}>`, ...body, `</${name}>`].join('\n')),
  },
);

test('renders nothing but passing options and exactly one remote, whatever the profile', () => {
  let rendered = 0;
  fc.assert(
    fc.property(fc.array(anyLine, { maxLength: 4 }), (lines) => {
      const parsed = parseText(withLines(...lines), { a: 'A', '1': 'B' });
      if (parsed.kind !== 'ok') return;
      for (const remote of parsed.value.remotes) {
        const text = renderProfile({ profile: parsed.value, remote, address: '192.0.2.1' });
        const lexed = lexOptions({ file: 'rendered', text });
        assert.deepEqual(lexed.faults, []);
        const remotes = lexed.lines.filter(({ name }) => name === 'remote');
        assert.equal(remotes.length, 1);
        assert.match(remotes[0]?.parameters.join(' ') ?? '', /^192\.0\.2\.1 \d+ (udp4|tcp4-client)$/);
        for (const option of lexed.lines) {
          const kind = ruleOf(option.name)?.kind;
          const allowed =
            ['remote', 'setenv', 'pull-filter'].includes(option.name) || kind === 'pass' || kind === 'material';
          assert.ok(allowed, option.name);
          if (kind === 'material') assert.ok(option.inline !== undefined, `${option.name} names a file`);
          if (option.name === 'setenv') assert.match(option.parameters[0] ?? '', /^UV_/);
          if (option.name === 'pull-filter') assert.notEqual(option.parameters[0], 'accept');
        }
        for (const row of text.split('\n')) assert.ok(Buffer.byteLength(row) < 255 || !row.includes('</'), row);
        rendered += 1;
      }
    }),
    { numRuns: 3000 },
  );
  assert.ok(rendered > 300, `only ${rendered} profiles were understood: the property proves little`);
});

test('renders an IPv6 address with its family', () => {
  const profile = understood(parseText(withLines('proto tcp')));
  const [remote] = profile.remotes;
  const last = (address: string) => renderProfile({ profile, remote, address }).trimEnd().split('\n').at(-1);
  assert.equal(last('2001:db8::7'), 'remote 2001:db8::7 1194 tcp6-client');
  assert.equal(last('192.0.2.7'), 'remote 192.0.2.7 1194 tcp4-client');
});

test('renders no remote that is not a literal address', () => {
  const profile = understood(parseText(withLines()));
  const [remote] = profile.remotes;
  for (const address of ['vpn.example.net', '', '1.2.3', '192.0.2.1 1\nup x', '::1%eth0', '192.0.2.1/32']) {
    assert.throws(() => renderProfile({ profile, remote, address }), UnderbridgeError);
  }
});

test('lets a key of the connection block take the place of the one of the profile', () => {
  const block = ['<connection>', 'remote b.example.net', '<tls-crypt>', 'OWN', '</tls-crypt>', '</connection>'];
  const profile = understood(parseText(withLines('<tls-auth>', 'COMMON', '</tls-auth>', 'key-direction 1', ...block)));
  const text = renderProfile({ profile, remote: profile.remotes[0], address: '192.0.2.1' });
  assert.match(text, /OWN/);
  assert.doesNotMatch(text, /COMMON|key-direction/);
});

test('reads the profile first, so that every option after it wins', () => {
  const args = argumentsOf();
  assert.deepEqual(args.slice(0, 2), ['--config', 'stdin']);
  assert.equal(args.filter((word) => word === '--config').length, 1);
});

test('asks for a password only where the profile does', () => {
  assert.ok(argumentsOf().includes('--auth-user-pass'));
  const text = 'client\nremote a\n<ca>\nA\n</ca>\n<cert>\nC\n</cert>\n<key>\nK\n</key>\n';
  const profile = understood(parseText(text));
  assert.ok(!renderArguments({ profile, managementSocket: '/m', tunName: 'vpn0' }).includes('--auth-user-pass'));
});

test('lets compressed packets in only where the profile turns compression on', () => {
  const setting = (...lines: readonly string[]) => {
    const args = argumentsOf(...lines);
    return args[args.indexOf('--allow-compression') + 1];
  };
  for (const line of ['comp-lzo', 'comp-lzo adaptive', 'compress lz4', 'compress lzo'])
    assert.equal(setting(line), 'asym');
  for (const line of ['comp-lzo no', 'compress', 'compress stub-v2', 'compress migrate', 'auth SHA1']) {
    assert.equal(setting(line), 'no', line);
  }
  assert.equal(setting('allow-compression yes'), 'no');
});

test('accepts by name what a server may push, and ignores the rest', () => {
  const args = argumentsOf('pull-filter ignore auth-token');
  const filters = args.flatMap((word, index) => (word === '--pull-filter' ? [args.slice(index + 1, index + 3)] : []));
  assert.deepEqual(filters.at(-1), ['ignore', '']);
  const verdict = (pushed: string) => filters.find(([, prefix = '']) => pushed.startsWith(prefix))?.[0];
  const wanted = [
    'ifconfig 10.8.0.2 255.255.255.0',
    'push-continuation 1',
    'peer-id 0',
    'ping 10',
    'auth-token X',
    'comp-lzo no',
  ];
  for (const pushed of wanted) assert.equal(verdict(pushed), 'accept', pushed);
  const foreign = [
    'route 10.0.0.0 255.0.0.0 net_gateway',
    'redirect-gateway def1',
    'ping-exit 1',
    'dns server 1 address 1.1.1.1',
  ];
  for (const pushed of [...foreign, 'setenv-safe A 1', 'explicit-exit-notify 3', 'whatever']) {
    assert.equal(verdict(pushed), 'ignore', pushed);
  }
});
