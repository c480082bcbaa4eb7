// Needs root (for a network namespace), openvpn and openssl. Every openvpn starts in a namespace without a single
// interface that is up, and stays in hold: no packet can leave.
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { splitWords } from '../../src/openvpn/option-lexer.ts';
import { renderOptionRow } from '../../src/openvpn/option-row.ts';
import { knownOptions, ruleOf } from '../../src/openvpn/option-rules.ts';
import { type Profile, type ProfileOption, renderArguments, renderProfile } from '../../src/openvpn/profile.ts';
import { parseSample, parseText, providers, understood, withLines } from '../unit/openvpn/corpus.ts';

/** A documentation address (RFC 5737). */
const address = '192.0.2.1';

/** The options whose file is embedded. */
const material = knownOptions().filter((name) => ruleOf(name)?.kind === 'material');

let folder = '';
let authority = '';
let privateKey = '';

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'ub-profile-'));
  const [keyFile, certificateFile] = [join(folder, 'k'), join(folder, 'c')];
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=test'];
  execFileSync('openssl', ['req', '-x509', ...curve, '-keyout', keyFile, '-out', certificateFile], { stdio: 'ignore' });
  authority = readFileSync(certificateFile, 'utf8');
  privateKey = readFileSync(keyFile, 'utf8');
});

after(() => rmSync(folder, { recursive: true, force: true }));

for (const provider of providers()) {
  const parsed = parseSample(provider);
  if (parsed.kind !== 'ok') continue;
  test(`openvpn accepts every remote of ${provider} as rendered`, async () => {
    const profile = withPrivateKey(parsed.value);
    for (const remote of profile.remotes) {
      await assertHeld(profile, renderProfile({ profile, remote, address }));
    }
  });
}

test('openvpn that does not accept a profile is noticed', async () => {
  const profile = understood(parseText(withLines()));
  const text = renderProfile({ profile, remote: profile.remotes[0], address });
  await assert.rejects(assertHeld(profile, `${text}no-such-option\n`), /Options error/);
});

test('openvpn accepts every kind of material inline', async () => {
  const blocks = ['cert', 'key', 'extra-certs', 'crl-verify', 'tls-crypt-v2'];
  const text = withLines(
    ...blocks.flatMap((name) => [`<${name}>`, 'X', `</${name}>`]),
    'tls-version-min 1.2 or-highest',
  );
  const profile = understood(parseText(text));
  await assertHeld(profile, renderProfile({ profile, remote: profile.remotes[0], address }));

  const pkcs12 = understood(parseText('client\nremote a\npkcs12 id\n', { id: Buffer.alloc(4000, 1) }));
  await assertHeld(pkcs12, renderProfile({ profile: pkcs12, remote: pkcs12.remotes[0], address }));
});

test('openvpn accepts an IPv6 remote over each transport', async () => {
  const profile = understood(parseText(withLines('remote b.example.net 443 tcp')));
  for (const remote of profile.remotes) {
    await assertHeld(profile, renderProfile({ profile, remote, address: '2001:db8::1' }));
  }
});

test('openvpn accepts compression with the answer that goes with it', async () => {
  for (const line of ['comp-lzo', 'comp-lzo no', 'compress', 'compress lz4-v2', 'compress stub-v2', 'auth SHA256']) {
    const profile = understood(parseText(withLines(line)));
    await assertHeld(profile, renderProfile({ profile, remote: profile.remotes[0], address }));
  }
});

for (const name of ['peer-fingerprint', 'verify-hash', ...material]) {
  test(`refuses a <${name}> that openvpn would read options out of`, async () => {
    // One piece of 255 bytes, then the end of the block and options, all of it one body to a reader of whole lines.
    const body = [`${'#'.repeat(255)}</${name}>`, 'no-such-option', '<extra-certs>'];
    const text = withLines(`<${name}>`, ...body, `</${name}>`);
    const { held, text: output } = await readByOpenVpn(`${text}</extra-certs>\n`);
    assert.ok(!held);
    assert.match(output, /Unrecognized option or missing or extra parameter\(s\) in stdin:\d+: no-such-option/);
    const parsed = parseText(text.replace('no-such-option', 'plugin /tmp/evil.so'));
    assert.ok(parsed.kind === 'faults');
    assert.ok(parsed.faults.some((fault) => fault.name === 'test.ovpn:8' && fault.value === `<${name}>`));
  });
}

test('openvpn takes the longest line of a body and of a row that is rendered, and refuses a longer row', async () => {
  const longest = ['<extra-certs>', `-${'#'.repeat(253)}`, `</extra-certs>`, `setenv UV_X ${'a'.repeat(242)}`];
  const profile = understood(parseText(withLines(...longest)));
  const text = renderProfile({ profile, remote: profile.remotes[0], address });
  assert.deepEqual(
    text
      .split('\n')
      .filter((row) => row.length >= 254)
      .map((row) => row.length),
    [254, 254],
  );
  await assertHeld(profile, text);
  // A longer row ends openvpn at once: its tail never becomes an option.
  for (const length of [255, 256, 257, 300]) {
    const row = `setenv UV_X ${'a'.repeat(length - 'setenv UV_X '.length)}`;
    const { held, text: output } = await readByOpenVpn(`${row}\n${text}`);
    assert.ok(!held, output);
    assert.match(output, /Maximum option line length \(256\) exceeded/);
    assert.doesNotMatch(output, /Unrecognized option/);
  }
});

test('there is a rule for every option that openvpn lists in its help', () => {
  // It exits with 1 after its help.
  const help = spawnSync('openvpn', ['--help'], { encoding: 'utf8' }).stdout;
  const listed = [...help.matchAll(/^--([a-z0-9-]+)/gm)].map(([, name = '']) => name);
  assert.ok(listed.length > 200);
  const known = new Set(knownOptions());
  assert.deepEqual(
    listed.filter((name) => !known.has(name)),
    [],
  );
});

// openvpn repeats the parameter of `cipher` in a warning: that shows what its reader made of a row.
test('reads a quoted word as openvpn does', async () => {
  const word = fc.string({ unit: fc.constantFrom(...'ab "\'\\#;,é'), minLength: 1, maxLength: 8 });
  const rendered = fc
    .sample(word, { numRuns: 40, seed: 7 })
    .map((text) => renderOptionRow({ name: 'cipher', parameters: [text] }));
  const raw = fc.sample(word, { numRuns: 120, seed: 8 }).map((text) => `cipher ${text}`);
  const forms = [
    'cipher a\\ b',
    'cipher "a\\"b\\\\c"',
    "cipher 'a\\b'",
    'cipher \\"a',
    'cipher a"b"',
    'cipher "a"#b',
    'cipher a#b',
  ];
  const understoodByBoth: string[] = [];
  for (const row of [...forms, ...rendered, ...raw]) {
    const ours = splitWords(row);
    const theirs = await cipherSeenByOpenVpn(row);
    if (ours.kind === 'fault' || ours.words.length !== 2) {
      assert.equal(theirs, undefined, `openvpn reads ${row} as ${theirs}`);
    } else {
      assert.equal(theirs, ours.words[1], row);
      understoodByBoth.push(row);
    }
  }
  assert.ok(understoodByBoth.length > 60);
  for (const row of rendered) assert.ok(understoodByBoth.includes(row), row);
});

/** Starts openvpn with the router's arguments, and demands that it gets as far as hold, without a complaint. */
async function assertHeld(profile: Profile, text: string): Promise<void> {
  const managementSocket = join(folder, 'm');
  const output = await runUntilHeld(text, {
    args: renderArguments({ profile, managementSocket, tunName: 'ubtest0' }),
    managementSocket,
  });
  assert.ok(output.held, output.text);
  assert.doesNotMatch(output.text, /Options error|ignored by previous|in stdin:/);
}

/** Runs openvpn with a text that the parser has not seen, to learn what openvpn makes of it. */
async function readByOpenVpn(text: string): Promise<{ readonly held: boolean; readonly text: string }> {
  const managementSocket = join(folder, 'm');
  const management = ['--management', managementSocket, 'unix', '--management-client', '--management-hold'];
  return await runUntilHeld(text, { args: ['--config', 'stdin', '--dev', 'tun', ...management], managementSocket });
}

async function cipherSeenByOpenVpn(row: string): Promise<string | undefined> {
  const managementSocket = join(folder, 'm');
  const text = `client\nremote ${address}\nauth-user-pass\n<ca>\n${authority}</ca>\n${row}\n`;
  const management = ['--management', managementSocket, 'unix', '--management-client', '--management-hold'];
  const args = ['--config', 'stdin', '--dev', 'tun', '--management-query-passwords', ...management];
  const output = await runUntilHeld(text, { args, managementSocket });
  return output.held ? /--cipher set to '(.*)' but missing/.exec(output.text)?.[1] : undefined;
}

/** Runs openvpn until it waits in hold or has given up; never longer. */
async function runUntilHeld(
  stdin: string,
  { args, managementSocket }: { readonly args: readonly string[]; readonly managementSocket: string },
): Promise<{ readonly held: boolean; readonly text: string }> {
  rmSync(managementSocket, { force: true });
  const listener = createServer();
  listener.listen(managementSocket);
  await once(listener, 'listening');
  const held = new Promise<true>((resolve) => {
    listener.on('connection', (socket) => {
      let received = '';
      socket.on('error', () => undefined);
      socket.on('data', (data) => {
        received += data.toString();
        if (received.includes('>HOLD:')) resolve(true);
      });
    });
  });
  // unshare becomes openvpn, so the child's pid is openvpn's.
  const child = spawn('unshare', ['--net', 'openvpn', ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
  const closed = once(child, 'close');
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data) => {
      text += data.toString();
    });
  }
  // openvpn may refuse its arguments before it reads a byte.
  child.stdin.on('error', () => undefined);
  child.stdin.end(stdin);
  try {
    const reached = await Promise.race([held, closed.then(() => false as const)]);
    return { held: reached, text };
  } finally {
    child.kill('SIGKILL');
    await closed;
    listener.close();
  }
}

/** The samples lack their private keys; any key will do for openvpn to read its options. */
function withPrivateKey(profile: Profile): Profile {
  const whole = (option: ProfileOption): ProfileOption =>
    option.name === 'key' && option.inline?.includes('PRIVATE KEY') === false
      ? { ...option, inline: privateKey }
      : option;
  return { ...profile, options: profile.options.map(whole) };
}
