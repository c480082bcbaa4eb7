import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { isAlive } from '../../lab/processes.ts';

/** A network namespace of a test, with an address book of its interfaces. */
export interface Namespace {
  readonly name: string;
  /** What runs a program in it, for a caller who wants to feed it. */
  readonly argv: (file: string, ...args: readonly string[]) => [string, readonly string[]];
  /** Runs a program to its end; throws when it fails. */
  readonly run: (file: string, ...args: readonly string[]) => Promise<string>;
  /** Runs a program and gives its exit code and output, whatever they are. */
  readonly attempt: (file: string, ...args: readonly string[]) => Promise<Attempt>;
  /** Starts a program that goes on; it is ended with the lab. */
  readonly start: (options: StartOptions, file: string, ...args: readonly string[]) => LabProcess;
}

export interface Attempt {
  readonly exitCode: number;
  /** What it wrote, warnings and errors among it: for people and for patterns, and not to be parsed. */
  readonly output: string;
  /** What it wrote on standard output alone. */
  readonly stdout: string;
}

export interface StartOptions {
  readonly cwd?: string;
  /** Exactly this environment; absent: the test's own. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

export interface LabProcess {
  readonly pid: number;
  readonly kill: (signal: NodeJS.Signals) => void;
  /** What it wrote so far, warnings and errors among it: for people and for patterns, and not to be parsed. */
  readonly output: () => string;
  /** What it wrote on standard output alone. */
  readonly stdout: () => string;
  /** Resolves when the output holds the text. */
  readonly says: (text: string) => Promise<void>;
  readonly exited: Promise<{ readonly exitCode: number | undefined }>;
}

/** Makes a namespace with loopback up. Programs in it see their own /run, so that tests do not meet. */
export async function makeNamespace(name: string): Promise<Namespace> {
  await execa('ip', ['netns', 'del', name], { reject: false });
  await execa('ip', ['netns', 'add', name]);
  await execa('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
  return enteredBy(name, ['ip', 'netns', 'exec', name]);
}

/** The network namespace of a process, say of a container's; the programs and files are the test's own. */
export function joinNamespace(pid: number): Namespace {
  return enteredBy(`of process ${pid}`, ['nsenter', '--target', `${pid}`, '--net', '--']);
}

/** The network namespace that the test itself runs in. */
export function ownNamespace(): Namespace {
  return enteredBy('this', ['env']);
}

/** Where it is a socket, as Node makes it, a bash that no other shell has started reads ~/.bashrc, whatever that takes. */
const stdin = 'ignore';

function enteredBy(name: string, [enter, ...inside]: readonly [string, ...string[]]): Namespace {
  return {
    name,
    argv: (file, ...args) => [enter, [...inside, file, ...args]],
    run: async (file, ...args) => (await execa(enter, [...inside, file, ...args], { stdin })).stdout,
    attempt: async (file, ...args) => {
      const { exitCode, all, stdout } = await execa(enter, [...inside, file, ...args], {
        reject: false,
        all: true,
        stdin,
        timeout: 60_000,
      });
      return { exitCode: exitCode ?? -1, output: all, stdout };
    },
    start: (options, file, ...args) => startProcess(options, enter, [...inside, file, ...args]),
  };
}

function startProcess({ cwd, env }: StartOptions, file: string, args: readonly string[]): LabProcess {
  const running = execa(file, args, {
    reject: false,
    all: true,
    stdin,
    ...(cwd === undefined ? {} : { cwd }),
    ...(env === undefined ? {} : { env: { ...env }, extendEnv: false }),
  });
  let output = '';
  let stdout = '';
  running.all.on('data', (chunk) => {
    output += `${chunk}`;
  });
  running.stdout.on('data', (chunk) => {
    stdout += `${chunk}`;
  });
  return {
    pid: running.pid ?? -1,
    kill: (signal) => void running.kill(signal),
    output: () => output,
    stdout: () => stdout,
    says: async (text) => {
      for (let waitedMs = 0; !output.includes(text); waitedMs += 10) {
        if (waitedMs > 30_000) throw new Error(`${file} ${args.join(' ')} did not say "${text}":\n${output}`);
        await sleep(10);
      }
    },
    exited: running.then(({ exitCode }) => ({ exitCode })),
  };
}

/** Process ids in a namespace, of programs with this name if one is given. */
export async function pidsIn({ name }: Pick<Namespace, 'name'>, program?: string): Promise<readonly string[]> {
  const { stdout } = await execa('ip', ['netns', 'pids', name], { reject: false });
  const pids = `${stdout}`.split('\n').filter((line) => line !== '');
  return pids.filter((pid) => program === undefined || programOf(pid) === program);
}

function programOf(pid: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch (error) {
    if (error instanceof Error && 'code' in error) return undefined;
    throw error;
  }
}

/** Removes the namespaces of tests that were killed, which nobody else would: the first number of a name is a process id. */
export async function removeAbandonedNamespaces(): Promise<void> {
  const { stdout } = await execa('ip', ['netns', 'list'], { reject: false });
  for (const [name, owner] of `${stdout}`.matchAll(/^ub[^\d\s]*(\d+)\S*/gm)) {
    if (isAlive(Number(owner))) continue;
    await removeNamespace({ name });
    await rm(`/etc/netns/${name}`, { recursive: true, force: true });
  }
}

/** Ends a namespace and every process in it, by pid. */
export async function removeNamespace(ns: Pick<Namespace, 'name'>): Promise<void> {
  for (const pid of await pidsIn(ns)) {
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
    }
  }
  await execa('ip', ['netns', 'del', ns.name], { reject: false });
}

/** One end of a veth pair. */
export interface End {
  readonly ns: Namespace;
  readonly device: string;
  /** With prefix length. */
  readonly address?: string;
  /** Absent: the kernel's choice. */
  readonly hardwareAddress?: string | undefined;
}

/** Joins two namespaces by a veth pair and gives each end an address. */
export async function join(one: End, other: End): Promise<void> {
  await execa('ip', [
    'link',
    'add',
    one.device,
    'netns',
    one.ns.name,
    'type',
    'veth',
    'peer',
    'name',
    other.device,
    'netns',
    other.ns.name,
  ]);
  for (const { ns, device, address, hardwareAddress } of [one, other]) {
    if (hardwareAddress !== undefined)
      await execa('ip', ['-n', ns.name, 'link', 'set', device, 'address', hardwareAddress]);
    if (address !== undefined) await execa('ip', ['-n', ns.name, 'addr', 'add', address, 'dev', device]);
    await execa('ip', ['-n', ns.name, 'link', 'set', device, 'up']);
  }
}
