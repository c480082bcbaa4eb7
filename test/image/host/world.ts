import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import type { HostStatus } from '../../../src/host/status.ts';
import {
  joinNamespace,
  type LabProcess,
  makeNamespace,
  type Namespace,
  ownNamespace,
  removeNamespace,
} from '../../kernel/lab/namespace.ts';
import type { Engine } from '../../lab/engine.ts';
import { removeAll } from '../apart.ts';

const here = import.meta.dirname;
const bundle = join(here, '../../../dist/boot.cjs');
/** As rootfs/usr/lib/underbridge/run starts it. */
const nodeFlags = ['--disable-warning=ExperimentalWarning', '--max-semi-space-size=1', '--max-old-space-size=96'];

/** Lines to somebody outside, named by the machine's device. */
export const lines = {
  tailscale0: { machine: '100.64.0.1', outside: '100.64.0.2' },
  lan0: { machine: '192.168.77.1', outside: '192.168.77.2' },
} as const;
export type Line = keyof typeof lines;

/** An engine's machine with people outside of it. The host role is a process there, since engines end in the tests. */
export interface HostWorld {
  /** That holds the host file. */
  readonly folder: string;
  readonly outside: Readonly<Record<Line, Namespace>>;
  readonly machine: Namespace;
  /** Runs a container that answers at `ports`, say `tcp:80`. */
  readonly serve: (name: string, ports: readonly string[], ...args: readonly string[]) => Promise<void>;
  readonly enter: (container: string) => Promise<Namespace>;
  /** Starts the host role with this file, and waits for its first look. */
  readonly startHost: (yaml: string, ...options: readonly string[]) => Promise<LabProcess>;
  readonly rewrite: (yaml: string) => Promise<void>;
  /** Runs a command of it to its end. */
  readonly host: (...args: readonly string[]) => Promise<{ readonly exitCode: number; readonly output: string }>;
  readonly status: () => Promise<HostStatus>;
  /** Waits until nothing makes it look any more, not even what it wrote itself. */
  readonly settled: () => Promise<void>;
  /** Breaks every connection to the engine, and takes new ones only after `heal`. */
  readonly cutEngine: () => void;
  readonly heal: () => void;
  readonly close: () => Promise<void>;
}

/** Prepares a world on an engine apart. */
export async function openHostWorld(engine: Engine): Promise<HostWorld> {
  const folder = await mkdtemp(join(tmpdir(), 'underbridge-host-'));
  const outside = { tailscale0: await joinLine('tailscale0', 'ub-peer'), lan0: await joinLine('lan0', 'ub-lan') };
  const file = join(folder, 'host.yaml');
  const gate = await openGate(join(folder, 'docker.sock'), (engine.env.DOCKER_HOST ?? '').replace('unix://', ''));
  const env = { ...process.env, DOCKER_HOST: `unix://${join(folder, 'docker.sock')}`, HOST_CONFIG: file };
  const machine = ownNamespace();
  const command = [...nodeFlags, bundle, 'host'];
  let running: LabProcess | undefined;
  const status = async () => {
    const question =
      'exec 3<>/dev/tcp/127.0.0.1/9798 && printf "GET /status HTTP/1.0\\r\\n\\r\\n" >&3 && timeout 2 cat <&3';
    const asked = await execa('bash', ['-c', question], { stdin: 'ignore' });
    return JSON.parse(asked.stdout.slice(asked.stdout.indexOf('{'))) as HostStatus;
  };
  const stopHost = async () => {
    running?.kill('SIGTERM');
    await running?.exited;
  };
  return {
    folder,
    outside,
    machine,
    serve: async (name, ports, ...args) => {
      const mount = ['--volume', `${here}:/test:ro`, '--init', '--stop-timeout', '1'];
      const answering = ['debian:trixie-slim', 'perl', '/test/answer.pl', name, ...ports];
      await engine.docker('run', '--detach', '--name', name, ...mount, ...args, ...answering);
    },
    enter: async (container) =>
      joinNamespace(Number(await engine.docker('inspect', '--format', '{{.State.Pid}}', container))),
    startHost: async (yaml, ...options) => {
      await stopHost();
      await writeFile(file, yaml);
      const role = machine.start({ env }, process.execPath, ...command, ...options);
      running = role;
      try {
        await until('the host role has looked', async () => (await status()).last !== undefined);
      } catch (cause) {
        throw new Error(role.output(), { cause });
      }
      return role;
    },
    rewrite: (yaml) => writeFile(file, yaml),
    host: async (...args) => {
      const { exitCode, all } = await execa(process.execPath, [...command, ...args], { env, reject: false, all: true });
      return { exitCode: exitCode ?? -1, output: all };
    },
    status,
    settled: async () => {
      for (let before = -1; ; ) {
        const { reconciles } = (await status()).counts;
        if (reconciles === before) return;
        before = reconciles;
        // Longer than the firewall's changes may take to be heard of.
        await sleep(1_300);
      }
    },
    cutEngine: gate.cut,
    heal: gate.heal,
    close: async () => {
      await stopHost();
      await gate.close();
      await removeAll(engine);
      for (const [device, ns] of Object.entries(outside)) {
        await execa('ip', ['link', 'del', device], { reject: false });
        await removeNamespace(ns);
      }
      await rm(folder, { recursive: true });
    },
  };
}

/** A socket that leads to the engine's, and can be shut. */
async function openGate(path: string, target: string) {
  const open = new Set<Socket>();
  let isOpen = true;
  const server = createServer((inner) => {
    if (!isOpen) {
      inner.destroy();
      return;
    }
    const outer = connect(target);
    for (const [one, other] of [
      [inner, outer],
      [outer, inner],
    ] as const) {
      open.add(one);
      one.pipe(other);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        open.delete(one);
        other.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const cut = () => {
    isOpen = false;
    for (const socket of open) socket.destroy();
  };
  return {
    cut,
    heal: () => {
      isOpen = true;
    },
    close: async () => {
      cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function joinLine(line: Line, name: string): Promise<Namespace> {
  const ns = await makeNamespace(name);
  const { machine, outside } = lines[line];
  await execa('ip', ['link', 'add', line, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name]);
  await execa('ip', ['addr', 'add', `${machine}/24`, 'dev', line]);
  await execa('ip', ['link', 'set', line, 'up']);
  await ns.run('ip', 'addr', 'add', `${outside}/24`, 'dev', 'eth0');
  await ns.run('ip', 'link', 'set', 'eth0', 'up');
  await ns.run('ip', 'route', 'add', 'default', 'via', machine);
  return ns;
}

/** What answers there, `NAME ADDRESS-IT-SEES`; or `nobody`, after a second and a half. */
export async function answerOf(
  from: Namespace,
  address: string,
  port: number,
  protocol: 'tcp' | 'udp' = 'tcp',
): Promise<string> {
  const { exitCode, stdout } = await from.attempt('perl', join(here, 'ask.pl'), protocol, address, `${port}`);
  return exitCode === 0 ? stdout.trim() : 'nobody';
}

/** Waits for an answer, as rules take a moment. */
export async function untilAnswer(wanted: string, ...question: Parameters<typeof answerOf>): Promise<void> {
  const isAnswered = async () => {
    const last = await answerOf(...question);
    return last === wanted || Promise.reject(new Error(last));
  };
  await until(`${question.slice(1).join(' ')} answers "${wanted}"`, isAnswered, 30_000);
}

/** Counts packets that a namespace receives from a subnet, after its firewall. */
export async function countArrivals(ns: Namespace, subnet: string): Promise<() => Promise<number>> {
  const hook = 'type filter hook input priority 100; policy accept;';
  const family = subnet.includes(':') ? 'ip6' : 'ip';
  await ns.run('nft', `table inet arrivals { chain input { ${hook} ${family} saddr ${subnet} counter; }; }`);
  return async () => {
    const listed = await ns.run('nft', 'list', 'table', 'inet', 'arrivals');
    return Number(/packets (\d+)/.exec(listed)?.[1]);
  };
}

/** Rules and chains that are not ours, as they stand, without counters. */
export async function foreignRules(ns: Namespace): Promise<string> {
  const saved = await Promise.all(['iptables-save', 'ip6tables-save'].map((program) => ns.run(program)));
  return saved
    .join('\n')
    .split('\n')
    .filter((line) => !line.startsWith('#') && !line.includes('UNDERBRIDGE-'))
    .map((line) => line.replace(/ \[\d+:\d+\]$/, ''))
    .join('\n');
}

/** Memory and time that a process has used. */
export function usageOf(pid: number): { readonly residentMiB: number; readonly cpuMs: number } {
  const resident = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return { residentMiB: Number(resident) / 1024, cpuMs: (Number(fields[11]) + Number(fields[12])) * 10 };
}

/** Waits for a condition; what fails until then counts as no. */
export async function until(what: string, holds: () => Promise<boolean>, limitMs = 30_000): Promise<void> {
  const deadline = performance.now() + limitMs;
  let reason = '';
  for (;;) {
    try {
      if (await holds()) return;
    } catch (error) {
      reason = `${error}`;
    }
    if (performance.now() > deadline) throw new Error(`not so after ${limitMs} ms: ${what} (${reason})`);
    await sleep(50);
  }
}
