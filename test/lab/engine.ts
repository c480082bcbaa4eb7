import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { copyFile, rm } from 'node:fs/promises';
import { get } from 'node:http';
import { dirname, join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { cacheRoot, ensureCached } from './cache.ts';
import { makeTree } from './debian.ts';
import { clearNetwork, clearRunFiles, type RunFiles } from './leftovers.ts';
import { withLock } from './lock.ts';
import { candidateVersion, ensurePackages } from './packages.ts';
import { endProcess, observeProcess, observeProcesses, type RunningProcess, sharesNetwork } from './processes.ts';
import { step } from './step.ts';

/** A Docker engine that answers. */
export interface Engine {
  /** Of the engine, not of the client: `20.10.24+dfsg1`. */
  readonly version: string;
  /** What programs need besides the own environment to reach this engine: DOCKER_HOST and so on. */
  readonly env: Readonly<Record<string, string>>;
  /** Runs the Docker client; returns stdout, trimmed. */
  docker(...args: string[]): Promise<string>;
  /** What Docker's health check says of a container. Asks the engine itself: a client would take 40 ms of processor. */
  health(container: string): Promise<string>;
  /** Compose v2, run as `docker-compose` is; `docker compose` finds it too. */
  readonly composeV2: string;
  /** Compose 1.29, where the machine's Debian has it. */
  readonly composeV1?: string;
  /** Ends the engine and what it left in the kernel. An engine that the lab did not start stays. */
  stop(): Promise<void>;
}

interface Place extends RunFiles {
  readonly kind: 'default' | 'new';
  readonly log: string;
}

/** The one engine of the lab, at most: engines share the host's chains. */
interface EngineRecord extends Pick<RunningProcess, 'pid' | 'startTicks'> {
  readonly kind: Place['kind'];
}

const stateRoot = '/run/underbridge-lab';
const recordFile = join(stateRoot, 'engine.json');
const lockName = 'underbridge-lab-engine';
const dockerConfig = join(cacheRoot, 'docker-config');
const repoRoot = resolve(import.meta.dirname, '../..');
const enginePackages = ['docker.io', 'iptables', 'ca-certificates'];
const startPatienceMs = 60_000;

const defaultPlace: Place = {
  kind: 'default',
  pidFile: '/var/run/docker.pid',
  socket: '/var/run/docker.sock',
  execRoot: '/var/run/docker',
  log: '/var/log/underbridge-lab/dockerd.log',
};

const newPlace: Place = {
  kind: 'new',
  pidFile: join(stateRoot, 'docker-new.pid'),
  socket: join(stateRoot, 'docker-new.sock'),
  execRoot: join(stateRoot, 'docker-new'),
  log: '/var/log/underbridge-lab/dockerd-new.log',
};

/** The engine on the default socket; Debian's docker.io is installed and started where none answers. */
export async function ensureEngine(): Promise<Engine> {
  return withLock(lockName, async () => {
    if (!(await answers(defaultPlace))) {
      await ensurePackages(enginePackages);
      await stopRecorded();
      // With systemd, the install itself has started an engine.
      if (!(await answers(defaultPlace))) await start(defaultPlace, ['dockerd']);
    }
    await ensureClient();
    return connect(defaultPlace);
  });
}

/** Debian testing's engine, from a tree of its own. Takes the place of an engine that the lab started before. */
export async function startNewEngine(): Promise<Engine> {
  return withLock(lockName, async () => {
    if (readRecord()?.kind !== 'new' || !(await answers(newPlace))) {
      await ensurePackages(enginePackages);
      const tree = await ensureNewEngineTree();
      await stopRecorded();
      try {
        await start(newPlace, newEngineCommand(tree));
      } catch {
        // What was running when it was killed can keep it busy for minutes. Images stay.
        step('forget the containers and networks of an engine that was killed');
        await stopRecorded();
        for (const folder of ['containers', 'network'])
          rmSync(join(newDataRoot, folder), { recursive: true, force: true });
        await start(newPlace, newEngineCommand(tree));
      }
    }
    await ensureClient();
    return connect(newPlace);
  });
}

/** Downloads all that both engines need: they start without a network afterwards. */
export async function prepareEngines(): Promise<void> {
  await ensurePackages(enginePackages);
  await ensureClient();
  await ensureNewEngineTree();
  await ensureComposeV2();
  await ensureComposeV1();
}

async function ensureNewEngineTree(): Promise<string> {
  return ensureCached('engine-testing', 'a tree with Debian testing and its engine', (path) =>
    makeTree({ path, suite: 'testing', variant: 'minbase', packages: enginePackages }),
  );
}

/** The newer engine's, which nobody else uses. */
const newDataRoot = '/var/lib/underbridge-lab/docker-new';

function newEngineCommand(tree: string): string[] {
  const dataRoot = newDataRoot;
  for (const folder of [dataRoot, stateRoot]) mkdirSync(folder, { recursive: true });
  const { pidFile, socket, execRoot } = newPlace;
  return [
    join(import.meta.dirname, 'enter-tree.sh'),
    tree,
    ...['/proc', '/sys', '/dev', '/tmp', '/etc/resolv.conf', '/etc/docker', repoRoot, stateRoot, dataRoot],
    '--',
    // Compose files mount the engine's socket from its usual path.
    ...['sh', '-c', 'ln -s "$0" /run/docker.sock && exec dockerd "$@"', socket],
    ...['--host', `unix://${socket}`, '--pidfile', pidFile, '--exec-root', execRoot, '--data-root', dataRoot],
  ];
}

async function start(place: Place, command: readonly string[]): Promise<void> {
  refuseForeignEngine();
  for (const each of [defaultPlace, newPlace]) await clearRunFiles(each);
  await clearNetwork();
  step(`start the engine at ${place.socket}`);
  for (const file of [place.log, recordFile]) mkdirSync(dirname(file), { recursive: true });
  const log = openSync(place.log, 'w');
  const [program = '', ...args] = command;
  const child = spawn(program, args, { detached: true, stdio: ['ignore', log, log], cwd: '/' });
  child.unref();
  const process = child.pid === undefined ? undefined : observeProcess(child.pid);
  if (process !== undefined) writeRecord({ kind: place.kind, pid: process.pid, startTicks: process.startTicks });
  for (const deadline = Date.now() + startPatienceMs; !(await answers(place)); await sleep(100)) {
    const ended = process === undefined || observeProcess(process.pid)?.startTicks !== process.startTicks;
    if (ended || Date.now() > deadline) {
      const end = readFileSync(place.log, 'utf8').trim().split('\n').slice(-10).join('\n');
      throw new Error(`the engine ${ended ? 'ended' : 'does not answer'}; the end of ${place.log}:\n${end}`);
    }
  }
}

/** Two engines in one network namespace overwrite each other's chains, and clearing would break the other one. */
function refuseForeignEngine(): void {
  const foreign = observeProcesses().find(
    (candidate) => /(^|\/)dockerd$/.test(candidate.argv[0] ?? '') && sharesNetwork(candidate),
  );
  if (foreign !== undefined) {
    throw new Error(
      `dockerd ${foreign.pid} runs already, the lab did not start it, and it is not what the lab needs; stop it first`,
    );
  }
}

async function stopRecorded(): Promise<void> {
  const record = readRecord();
  if (record === undefined) return;
  step(`stop the lab's engine, process ${record.pid}`);
  // dockerd gives its containers 10 s, then 5 s more to itself.
  await endProcess(record, { graceMs: 30_000 });
  await clearRunFiles(record.kind === 'new' ? newPlace : defaultPlace);
  await clearNetwork();
  rmSync(recordFile, { force: true });
}

function readRecord(): EngineRecord | undefined {
  return existsSync(recordFile) ? (JSON.parse(readFileSync(recordFile, 'utf8')) as EngineRecord) : undefined;
}

/** Whole or not at all: a run that is killed here is not to stop every later one. */
function writeRecord(record: EngineRecord): void {
  writeFileSync(`${recordFile}.new`, JSON.stringify(record));
  renameSync(`${recordFile}.new`, recordFile);
}

async function connect(place: Place): Promise<Engine> {
  const composeV2 = await ensureComposeV2();
  const env = {
    DOCKER_HOST: `unix://${place.socket}`,
    // Own plugins, and no context or login of the user.
    DOCKER_CONFIG: dockerConfig,
    // The classic builder: BuildKit needs the buildx plugin, which need not be here.
    DOCKER_BUILDKIT: '0',
    COMPOSE_BAKE: 'false',
    DOCKER_CLI_HINTS: 'false',
  };
  const docker = async (...args: string[]) => {
    // Not by zx: where SHLVL is unset or 0, its bash takes the socket on its stdin for a login, and reads .bashrc each time.
    const output = await execa('docker', args, { reject: false, env });
    if (output.exitCode !== 0) {
      // A build tells on stdout what failed, and on stderr only that something did.
      const seen = output.stdout.trim().split('\n').slice(-15).join('\n');
      throw new Error(`docker ${args.join(' ')}: ${output.stderr.trim()}\n${seen}`.trim());
    }
    return output.stdout.trim();
  };
  const version = await docker('version', '--format', '{{.Server.Version}}');
  const composeV1 = place.kind === 'default' ? await ensureComposeV1() : undefined;
  step(`engine ${version} answers at ${place.socket}`);
  return {
    version,
    env,
    docker,
    health: async (container) => {
      const { status, body } = await ask(place, `/containers/${container}/json`);
      const { State }: { readonly State?: { readonly Health?: { readonly Status: string } } } = JSON.parse(body);
      if (State === undefined) throw new Error(`${container}: the engine answered ${status} ${body}`);
      return State.Health?.Status ?? 'none';
    },
    composeV2,
    ...(composeV1 === undefined ? {} : { composeV1 }),
    stop: () =>
      withLock(lockName, async () => {
        if (readRecord()?.kind === place.kind) await stopRecorded();
        else step(`leave the engine at ${place.socket}: the lab did not start it`);
      }),
  };
}

async function ensureClient(): Promise<void> {
  // Debian split the client off docker.io with trixie.
  if ((await execa('docker', ['--version'], { reject: false })).exitCode !== 0) await ensurePackages(['docker-cli']);
}

/** Debian testing's Compose: a Go program that needs only glibc 2.34, so it runs outside its tree from bookworm on. */
async function ensureComposeV2(): Promise<string> {
  return ensureCached('docker-config/cli-plugins/docker-compose', 'Compose v2 from Debian testing', async (path) => {
    const tree = `${path}.tree`;
    await makeTree({ path: tree, suite: 'testing', variant: 'extract', packages: ['docker-compose'] });
    await copyFile(join(tree, 'usr/libexec/docker/cli-plugins/docker-compose'), path);
    await rm(tree, { recursive: true });
  });
}

/** Compose 1 ended with bookworm; later Debians have Compose 2 under the same package name. */
async function ensureComposeV1(): Promise<string | undefined> {
  if (!(await candidateVersion('docker-compose'))?.startsWith('1.')) return undefined;
  await ensurePackages(['docker-compose']);
  return '/usr/bin/docker-compose';
}

async function answers(place: RunFiles): Promise<boolean> {
  try {
    return (await ask(place, '/_ping')).status === 200;
  } catch {
    return false;
  }
}

async function ask({ socket }: RunFiles, path: string): Promise<{ readonly status: number; readonly body: string }> {
  return new Promise((done, fail) => {
    const request = get({ socketPath: socket, path, timeout: 30_000 }, async (response) => {
      try {
        done({ status: response.statusCode ?? 0, body: await text(response) });
      } catch (error) {
        fail(error);
      }
    });
    request.on('timeout', () => request.destroy(new Error('timeout')));
    request.on('error', fail);
  });
}
