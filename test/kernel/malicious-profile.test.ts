// Needs root (network namespaces), openvpn, openssl and strace. Nothing leaves the namespaces.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { type Profile, renderArguments, renderProfile } from '../../src/openvpn/profile.ts';
import { readProfiles } from '../../src/system/files.ts';
import { malice } from '../unit/openvpn/malice.ts';
import { hostileTexts } from './lab/hostile-texts.ts';
import { pidsIn } from './lab/namespace.ts';
import { type Trace, traceOpenvpn } from './lab/traced-openvpn.ts';
import { addresses, makeWorld, type World } from './lab/world.ts';

let world: World;
/** A folder that no profile may reach. */
let trap = '';
/** A working profile, each line without its end. */
let working: readonly string[] = [];
/** What openvpn touches with a profile that nobody doctored. */
let harmless: ReadonlySet<string> = new Set();
let runs = 0;

before(async () => {
  world = await makeWorld();
  await world.startServer();
  trap = join(world.folder, 'trap');
  await mkdir(trap);
  await writeFile(join(trap, 'run'), `#!/bin/sh\necho "$0" >> ${trap}/ran\n`);
  await chmod(join(trap, 'run'), 0o755);
  await writeFile(join(trap, 'evil.so'), 'no library\n');
  await writeFile(join(trap, 'secret'), 'secret\nsecret\n');
  working = (await readFile(join(world.folder, 'client.ovpn'), 'utf8')).trimEnd().split('\n');
  const plain = await runAsRouter(await understand(working), 'connecting');
  assert.ok(plain.connected, plain.output);
  harmless = new Set(plain.touched);
});
after(() => world.remove());

test('sees what a profile does that reaches OpenVPN as it is: the catcher works', async () => {
  const attempt = async (...lines: readonly string[]) => {
    const text = [...working.filter((line) => !line.startsWith('verb')), ...lines, ''].join('\n');
    const socket = newSocket();
    const management = ['--management', socket, 'unix', '--management-client', '--management-query-passwords'];
    const args = ['--config', 'stdin', ...management, '--management-hold', '--ifconfig-noexec', '--route-noexec'];
    return await traceOpenvpn({ namespace: world.isp.name, text, socket, args, patience: 'connecting' });
  };
  const script = await attempt('script-security 2', `up ${trap}/run`);
  assert.ok(script.executed.includes(join(trap, 'run')), script.output);
  assert.ok(existsSync(join(trap, 'ran')));
  const library = await attempt(`plugin ${trap}/evil.so`);
  assert.ok(library.touched.includes(join(trap, 'evil.so')), library.output);
  const file = await attempt(`log-append ${trap}/written`);
  assert.ok(file.touched.includes(join(trap, 'written')), file.output);
  assert.ok(existsSync(join(trap, 'written')), file.output);
  for (const path of [join(trap, 'run'), join(trap, 'evil.so'), join(trap, 'written')]) assert.ok(!harmless.has(path));
});

test('does not start OpenVPN with a hostile profile, says line and reason, and leaves the locks shut', async () => {
  const path = join(world.folder, 'hostile.ovpn');
  await writeFile(
    path,
    `${[...working, `up ${trap}/run`, '<connection>', `plugin ${trap}/evil.so`].join('\n')}\n</connection>\n`,
  );
  const router = world.startRouter({ CONFIG: path });
  const { exitCode } = await router.process.exited;
  assert.equal(exitCode, 1);
  const first = working.length + 1;
  assert.match(router.output(), new RegExp(`hostile\\.ovpn:${first}\\b.*would run a program`));
  assert.match(router.output(), new RegExp(`hostile\\.ovpn:${first + 2}\\b.*would load code into OpenVPN`));
  assert.deepEqual(await pidsIn(world.router, 'openvpn'), []);
  assert.match(await world.router.run('nft', 'list', 'chain', 'inet', 'underbridge', 'forward'), /policy drop/);
});

test('connects with everything in a profile that is left out, and touches nothing by it', async () => {
  const leftOut = malice(trap).filter(({ outcome }) => outcome.kind === 'left-out');
  assert.ok(leftOut.length > 80);
  const trace = await runAsRouter(
    await understand([...working, ...leftOut.flatMap(({ lines }) => lines)]),
    'connecting',
  );
  assert.ok(trace.connected, trace.output);
  assertHarmless(trace);
});

test('touches nothing with any profile that is accepted, however it was doctored', async (t) => {
  const accepted = new Map<string, Profile>();
  let tried = 0;
  for (const text of fc.sample(hostileTexts({ working, trap }), { numRuns: 6_000, seed: 4 })) {
    tried += 1;
    const path = join(world.folder, 'doctored.ovpn');
    await writeFile(path, text);
    const parsed = readProfiles({ names: [path], folder: world.folder });
    if (parsed.kind === 'ok') accepted.set(render(parsed.value[0]), parsed.value[0]);
    if (accepted.size === 200) break;
  }
  assert.equal(accepted.size, 200, `of ${tried}`);
  const queue = [...accepted.values()];
  let connected = 0;
  const worker = async () => {
    for (let profile = queue.pop(); profile !== undefined; profile = queue.pop()) {
      const trace = await runAsRouter(profile);
      if (trace.connected) connected += 1;
      assertHarmless(trace, render(profile));
    }
  };
  await Promise.all(Array.from({ length: 10 }, worker));
  t.diagnostic(`${tried} profiles, 200 different ones accepted, ${connected} connected`);
  assert.ok(connected >= 40, `${connected} connected`);
});

function assertHarmless(trace: Trace, profile = ''): void {
  assert.deepEqual(trace.executed, [], profile);
  assert.deepEqual(
    trace.touched.filter((path) => !harmless.has(path)),
    [],
    `${profile}\n${trace.output}`,
  );
}

async function understand(lines: readonly string[]): Promise<Profile> {
  const path = join(world.folder, 'hostile.ovpn');
  await writeFile(path, `${lines.join('\n')}\n`);
  const parsed = readProfiles({ names: [path], folder: world.folder });
  assert.ok(parsed.kind === 'ok', JSON.stringify(parsed));
  return parsed.value[0];
}

function render(profile: Profile): string {
  return renderProfile({ profile, remote: profile.remotes[0], address: addresses.server });
}

function newSocket(): string {
  runs += 1;
  return join(world.folder, `m${runs}`);
}

/** Runs openvpn with the text and the arguments that the router would give it. */
async function runAsRouter(profile: Profile, patience: 'any' | 'connecting' = 'any'): Promise<Trace> {
  const socket = newSocket();
  const args = renderArguments({ profile, managementSocket: socket, tunName: `ubmalice${runs % 50}` });
  return await traceOpenvpn({ namespace: world.isp.name, text: render(profile), socket, args, patience });
}
