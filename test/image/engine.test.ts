// The lab's engines, apart from any engine that runs on this machine. Needs root; takes about half a minute.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { $ } from 'zx';
import { ensureBaseImages, ensureDebianTar } from '../lab/base-images.ts';
import { type Engine, ensureEngine, prepareEngines, startNewEngine } from '../lab/engine.ts';
import { withoutDockerRules } from '../lab/leftovers.ts';
import { observeProcesses } from '../lab/processes.ts';

const apart = 'UNDERBRIDGE_TEST_APART';
const composeFile = join(import.meta.dirname, '../lab/talk/compose.yaml');

if (process.env[apart] === undefined) {
  test('engines start, stop and recover (apart)', { timeout: 300_000 }, async () => {
    await prepareEngines();
    await ensureDebianTar();
    const env: NodeJS.ProcessEnv = { ...process.env, [apart]: '1' };
    // Set by the runner of this file; with it, the runner inside would report to nobody.
    delete env.NODE_TEST_CONTEXT;
    const script = join(import.meta.dirname, '../lab/apart.sh');
    execFileSync(script, [process.execPath, import.meta.filename], { env, stdio: 'inherit' });
  });
} else {
  test("Debian's engine runs projects of Compose 1 and of Compose 2", async () => {
    const engine = await ensureEngine();
    await ensureBaseImages(engine, ['debian:trixie-slim']);
    if (engine.composeV1 !== undefined) await talk(engine, engine.composeV1);
    await talk(engine, engine.composeV2);
  });

  test('an engine that runs is found, not started again', async () => {
    await ensureEngine();
    const before = enginePids();
    await ensureEngine();
    assert.deepEqual(enginePids(), before);
  });

  test('an engine that was killed with its containers starts again', async () => {
    const killed = await ensureEngine();
    await up(killed, killed.composeV2);
    killEngine();
    const engine = await ensureEngine();
    await talk(engine, engine.composeV2);
  });

  test("a dead engine's pid may be another program's by now", async () => {
    await ensureEngine();
    killEngine();
    for (const file of ['/var/run/docker.pid', '/var/run/docker/containerd/containerd.pid']) {
      writeFileSync(file, String(process.pid));
    }
    const engine = await ensureEngine();
    assert.notEqual(await engine.docker('info', '--format', '{{.ID}}'), '');
  });

  test("Debian testing's engine takes over from a killed one, and the other way round", async () => {
    const old = await ensureEngine();
    await up(old, old.composeV2);
    killEngine();
    const engine = await startNewEngine();
    assert.notEqual(engine.version, old.version);
    await ensureBaseImages(engine, ['debian:trixie-slim']);
    await talk(engine, engine.composeV2);
    await up(engine, engine.composeV2);
    killEngine();
    await talk(await ensureEngine(), engine.composeV2);
  });

  test('an engine that stops leaves no rule, no bridge and no process', async () => {
    const engine = await startNewEngine();
    await up(engine, engine.composeV2);
    await engine.stop();
    assert.doesNotMatch(await savedRules(), /docker|talkbr/i);
    assert.doesNotMatch((await $({ quiet: true })`ip -brief link`).stdout, /docker|br-|talkbr|veth/);
    const left = observeProcesses().filter(({ argv }) => /dockerd|containerd/.test(argv[0] ?? ''));
    assert.deepEqual(left, []);
  });

  test("clearing keeps everybody else's rules", () => {
    const foreign = '*filter\n:INPUT ACCEPT [0:0]\n:MINE - [0:0]\n-A FORWARD -i eth0 -j MINE\n-A MINE -o br0 -j DROP\n';
    const docker = ':DOCKER - [0:0]\n-A FORWARD -o talkbr -j DOCKER\n-A FORWARD -i talkbr -j ACCEPT\n';
    const end = 'COMMIT\n';
    assert.deepEqual(withoutDockerRules(foreign + docker + end), { kept: foreign + end, named: ['talkbr'] });
  });
}

async function up(engine: Engine, compose: string): Promise<void> {
  await runCompose(engine, compose, 'up', '--detach', '--build');
}

/** Brings the project up, has the client and this machine ask the server, and takes it down. */
async function talk(engine: Engine, compose: string): Promise<void> {
  await up(engine, compose);
  const ask = (address: string) => `for i in $(seq 50); do cat </dev/tcp/${address} && break; sleep 0.1; done`;
  const heard = await runCompose(engine, compose, 'exec', '-T', 'client', 'bash', '-c', ask('server/80'));
  assert.equal(heard, 'hello');
  const published = await $({ quiet: true })`bash -c ${ask('127.0.0.1/8080')}`;
  assert.equal(published.stdout, 'hello\n');
  await runCompose(engine, compose, 'down', '--timeout', '0');
}

async function runCompose(engine: Engine, compose: string, ...args: string[]): Promise<string> {
  const env = { ...process.env, ...engine.env };
  return (await $({ quiet: true, env })`${compose} --project-name talk --file ${composeFile} ${args}`).stdout.trim();
}

function enginePids(): number[] {
  return observeProcesses()
    .filter(({ argv }) => /(^|\/)(dockerd|containerd)$/.test(argv[0] ?? ''))
    .map(({ pid }) => pid);
}

function killEngine(): void {
  for (const pid of enginePids()) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      // containerd may end with its dockerd.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}

async function savedRules(): Promise<string> {
  const commands = ['iptables', 'ip6tables'].flatMap((name) => [`${name}-nft-save`, `${name}-legacy-save`]);
  const saved = await Promise.all(commands.map((command) => $({ quiet: true })`${command}`));
  return saved.map(({ stdout }) => stdout).join('');
}
