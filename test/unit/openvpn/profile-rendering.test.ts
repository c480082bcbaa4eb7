import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { UnderbridgeError } from '../../../src/errors.ts';
import { lexOptions } from '../../../src/openvpn/option-lexer.ts';
import { renderOptionRow } from '../../../src/openvpn/option-row.ts';
import { knownOptions, ruleOf } from '../../../src/openvpn/option-rules.ts';
import { type Profile, type ProfileOption, renderArguments, renderProfile } from '../../../src/openvpn/profile.ts';
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

/** A word or a line made to be cut: many bytes, ends of blocks, options, quotes, and letters of several bytes. */
const hostileLine = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        '</',
        '</ca>',
        '</peer-fingerprint>',
        '<ca>',
        'plugin /x.so',
        ' ',
        '"',
        "'",
        '\\',
        '\t',
        '\r',
        '=',
      ),
      fc
        .tuple(fc.constantFrom('#', 'A', 'é', ' ', "'", '€'), fc.integer({ min: 1, max: 300 }))
        .map(([unit, times]) => unit.repeat(times)),
    ),
    { maxLength: 3 },
  )
  .map((parts) => parts.join(''));
const blockNames = knownOptions().filter((name) => {
  const rule = ruleOf(name);
  return rule?.kind === 'material' || (rule?.kind === 'pass' && rule.block === true);
});
const passingNames = knownOptions().filter((name) => ['pass', 'read'].includes(ruleOf(name)?.kind ?? ''));

/** The text is what OpenVPN reads it as: no row in two pieces, no end of a block but our own. */
function assertUncut(text: string): void {
  let open: string | undefined;
  for (const row of text.split('\n')) {
    assert.ok(Buffer.byteLength(row) <= 254, row);
    if (open === undefined) open = /^<([a-z0-9-]+)>$/.exec(row)?.[1];
    else if (row === `</${open}>`) open = undefined;
    else assert.ok(!row.includes('</'), row);
  }
  assert.equal(open, undefined);
}

test('renders no body with the end of a block and no line of two pieces, whatever bodies and words', () => {
  const rendered = { bodies: 0, rows: 0 };
  const body = fc.array(fc.oneof({ weight: 3, arbitrary: fc.constant('K') }, hostileLine), {
    minLength: 1,
    maxLength: 3,
  });
  const block = fc
    .tuple(fc.constantFrom(...blockNames), body)
    .map(([name, lines]) => ({ text: [`<${name}>`, ...lines, `</${name}>`].join('\n'), file: '' }));
  const embedded = fc
    .tuple(fc.constantFrom(...blockNames), body)
    .map(([name, lines]) => ({ text: `${name} f`, file: lines.join('\n') }));
  const row = fc
    .tuple(fc.constantFrom(...passingNames), fc.array(hostileLine, { minLength: 1, maxLength: 2 }))
    .map(([name, parameters]) => ({ text: renderOptionRow({ name, parameters }), file: '' }));
  fc.assert(
    fc.property(fc.oneof(block, embedded, row), fc.boolean(), ({ text, file }, inBlock) => {
      const lines = inBlock ? ['<connection>', 'remote b', text, '</connection>'] : [text];
      const key = /cert\b/.test(text) ? ['<key>', 'K', '</key>'] : /key\b/.test(text) ? ['<cert>', 'K', '</cert>'] : [];
      const parsed = parseText(withLines(...lines, ...key), { f: file });
      if (parsed.kind !== 'ok') return;
      for (const remote of parsed.value.remotes) {
        const output = renderProfile({ profile: parsed.value, remote, address: '192.0.2.1' });
        assertUncut(output);
        const kept = [...parsed.value.options, ...remote.options].filter(({ line }) => line > 4);
        if (kept.some(({ inline }) => inline !== undefined)) rendered.bodies += 1;
        else if (kept.length > 0) rendered.rows += 1;
      }
    }),
    { numRuns: 4000 },
  );
  assert.ok(rendered.bodies > 400 && rendered.rows > 100, JSON.stringify(rendered));
});

test('throws rather than render a body or a row that OpenVPN could read as something else', () => {
  const profile = understood(parseText(withLines()));
  const render = (option: Omit<ProfileOption, 'line'>, place: 'profile' | 'remote') => {
    const own = [{ ...option, line: 1 }];
    const whole: Profile = place === 'profile' ? { ...profile, options: own } : profile;
    const remote = { ...profile.remotes[0], ...(place === 'remote' ? { options: own } : {}) };
    return renderProfile({ profile: whole, remote, address: '192.0.2.1' });
  };
  const option = { name: 'peer-fingerprint', parameters: [] };
  const secret = 'hunterhunter';
  const bad: readonly Omit<ProfileOption, 'line'>[] = [
    ...[
      `${secret}</\n`,
      `${secret}\n</peer-fingerprint>\nplugin x\n`,
      `${secret}${'#'.repeat(255)}\n`,
      secret,
      '',
      ' \n',
    ].map((inline) => ({ ...option, inline })),
    { ...option, inline: `${secret}\u0000\n` },
    { name: 'auth', parameters: [`${secret}\nplugin x`] },
    { name: 'auth', parameters: [secret.repeat(30)] },
    { name: 'auth\nplugin x', parameters: [] },
    { name: 'ca>\nplugin x', parameters: [], inline: 'K\n' },
  ];
  for (const place of ['profile', 'remote'] as const) {
    assertUncut(render({ ...option, inline: `${'A'.repeat(254)}\n` }, place));
    assertUncut(render({ name: 'auth', parameters: ['A'.repeat(249)] }, place));
    for (const each of bad) {
      assert.throws(
        () => render(each, place),
        (error) => error instanceof UnderbridgeError && error.code === 'UB_INTERNAL' && !error.message.includes(secret),
      );
    }
  }
});

test('lets clients reach the address of the server itself through the tunnel', () => {
  assert.ok(argumentsOf().includes('--allow-recursive-routing'));
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
  for (const address of [
    'vpn.example.net',
    '',
    '1.2.3',
    '192.0.2.1 1\nup x',
    '::1%eth0',
    '192.0.2.1/32',
    `${'0'.repeat(300)}::1`,
  ]) {
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
