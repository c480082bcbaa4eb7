import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { type LineCount, type Service, type Stack, sceneServices } from '../../compose/proof/stack.ts';
import type { Ran } from '../../compose/proof/transcript.ts';
import { joinNamespace, type Namespace } from '../kernel/lab/namespace.ts';
import type { Engine } from '../lab/engine.ts';
import { image, removeAll } from './apart.ts';

export const addresses = {
  gateway: '172.22.0.1',
  web: '203.0.113.80',
  vpnExit: '203.0.113.10',
} as const;

/** What a busy machine may add to a time that the router promises. */
export const slackMs = 4_000;

/** Docker orders a container's networks by name, and interfaces and the default route follow. */
export type Order = 'first' | 'last';

export interface WorldOptions {
  /** Where the isolated network comes among the router's networks, or the names of both. */
  readonly isolated: Order | { readonly isolated: string; readonly uplink: string };
  /** The Compose program; absent: Compose v2. */
  readonly compose?: string;
  /** FIREWALL of the router; absent: its own choice. */
  readonly firewall?: string;
  /** DNS_CACHE of the router; absent: unset. */
  readonly dnsCache?: 'on';
  /** Absent: compose/demo.yaml. */
  readonly file?: string;
  /** PORT_FWD of the router; absent: the demo's. */
  readonly forwards?: string;
}

/** The demo of compose/demo.yaml on an engine apart, with what tests ask of it. */
export interface World extends Stack {
  readonly engine: Engine;
  /** The Compose program in use. */
  readonly compose: string;
  /** All containers but the router, or those named. Returns when the VPN server and the isp work. */
  readonly startScene: (services?: readonly Service[]) => Promise<void>;
  /** The network namespace of a service's container, as it is now. */
  readonly enter: (service: Service) => Promise<Namespace>;
  /** Processes of a container, by their program's name; pids are the test's own. */
  readonly processes: (service: Service) => Promise<readonly RunningProgram[]>;
  readonly pidOf: (service: Service, program: string) => Promise<number>;
  /** Waits until Docker's health check says so; returns how long it took. */
  readonly untilHealth: (service: Service, health: 'healthy' | 'unhealthy', limitMs: number) => Promise<number>;
  /** One request to the router's health endpoint from inside its container. */
  readonly request: (path: string, method?: string) => Promise<Reply>;
  readonly logs: (service: Service) => Promise<string>;
  /**
   * Packets on the uplink since the world began that are neither the VPN session's nor the link's own. Not counted: that
   * the kernel of a container that starts tells the VPN server of a port that is gone, before any program runs in it.
   */
  readonly leaked: () => Promise<number>;
  readonly remove: () => Promise<void>;
}

export interface RunningProgram {
  readonly pid: number;
  readonly program: string;
}

export interface Reply {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

const project = 'underbridge-test';
const composeFile = join(import.meta.dirname, '../../compose/demo.yaml');
const pollMs = 50;
const portIsGone = /: 198\.51\.100\.2 > 203\.0\.113\.10: ICMP 198\.51\.100\.2 udp port \d+ unreachable,/g;

/** Runs a Docker or Compose program for an engine. A bad exit code is the caller's to judge. */
export async function runFor(
  engine: Engine,
  argv: readonly [string, ...string[]],
  options: { readonly env?: Readonly<Record<string, string>>; readonly timeoutMs?: number } = {},
): Promise<Ran> {
  const [file, ...args] = argv;
  const { exitCode, stdout, stderr } = await execa(file, args, {
    reject: false,
    stdin: 'ignore',
    env: { ...engine.env, ...options.env },
    timeout: options.timeoutMs ?? 60_000,
  });
  return { code: exitCode ?? -1, stdout: `${stdout}`, stderr: `${stderr}` };
}

/** Prepares a world; nothing runs before `startScene` and `startRouter`. */
export function openWorld(
  engine: Engine,
  {
    isolated,
    compose: program = engine.composeV2,
    firewall = 'auto',
    dnsCache,
    file = composeFile,
    forwards = '',
  }: WorldOptions,
): World {
  const names =
    typeof isolated === 'object'
      ? isolated
      : { isolated: isolated === 'first' ? 'a-isolated' : 'z-isolated', uplink: 'm-uplink' };
  const env = {
    COMPOSE_PROJECT_NAME: project,
    UNDERBRIDGE_IMAGE: image,
    UNDERBRIDGE_ISOLATED: names.isolated,
    UNDERBRIDGE_UPLINK: names.uplink,
    UNDERBRIDGE_INTERNET: 'n-internet',
    UNDERBRIDGE_FIREWALL: firewall,
    UNDERBRIDGE_DNS_CACHE: dnsCache ?? '',
    UNDERBRIDGE_PORT_FWD: forwards,
  };
  const compose = async (...args: readonly string[]) => {
    const files = ['--file', file, '--file', join(import.meta.dirname, 'world.yaml')];
    if (firewall === 'iptables-legacy') files.push('--file', join(import.meta.dirname, 'legacy.yaml'));
    const ran = await runFor(engine, [program, ...files, ...args], { env, timeoutMs: 120_000 });
    if (ran.code !== 0) throw new Error(`${program} ${args.join(' ')}:\n${ran.stderr}`);
  };
  // Compose v2 puts hyphens between the words, 1.29 underscores.
  const mark = program === engine.composeV2 ? '-' : '_';
  const nameOf = (service: Service) => `${project}${mark}${service}${mark}1`;
  const docker = (service: Service, ...verb: readonly string[]) => engine.docker(...verb, nameOf(service));
  const exec: World['exec'] = async (service, ...argv) => runFor(engine, ['docker', 'exec', nameOf(service), ...argv]);
  const untilHealth: World['untilHealth'] = async (service, health, limitMs) => {
    const fromMs = performance.now();
    for (;;) {
      const seen = await engine.health(nameOf(service));
      const tookMs = performance.now() - fromMs;
      if (seen === health) return tookMs;
      if (tookMs > limitMs) {
        throw new Error(`${service} is ${seen}, not ${health}, after ${limitMs} ms:\n${await logs(service)}`);
      }
      await sleep(pollMs);
    }
  };
  const logs = async (service: Service) => {
    const { stdout, stderr } = await runFor(engine, ['docker', 'logs', nameOf(service)]);
    return `${stdout}\n${stderr}`;
  };
  const mainPid = async (service: Service) => Number(await docker(service, 'inspect', '--format', '{{.State.Pid}}'));
  const processes: World['processes'] = async (service) => processesWith(await mainPid(service));
  const countLine = async () => parseCount((await exec('isp', 'isp-count')).stdout);
  return {
    engine,
    compose: program,
    exec,
    docker,
    nameOf,
    countLine,
    untilHealth,
    processes,
    logs,
    startScene: async (services = sceneServices) => {
      await compose('up', '--detach', '--no-build', ...services);
      for (const service of ['provider', 'isp'] as const) await untilHealth(service, 'healthy', 30_000);
    },
    startRouter: () => compose('up', '--detach', '--no-build', 'router'),
    awaitHealth: async (service) => {
      await untilHealth(service, 'healthy', 30_000);
    },
    enter: async (service) => joinNamespace(await mainPid(service)),
    pidOf: async (service, program) => {
      const running = await processes(service);
      const [found, ...others] = running.filter((process) => process.program === program);
      if (found === undefined || others.length > 0) throw new Error(`${program}: ${JSON.stringify(running)}`);
      return found.pid;
    },
    request: async (path, method = 'GET') => {
      // The image has neither curl nor a Node that starts in no time.
      const talk = 'exec 3<>/dev/tcp/127.0.0.1/9797; printf "$1 $2 HTTP/1.0\\r\\n\\r\\n" >&3; cat <&3';
      const { stdout, stderr } = await exec('router', 'bash', '-c', talk, 'ask', method, path);
      const [head = '', body = ''] = stdout.split(/\r?\n\r?\n/);
      const status = /^HTTP\/1\.1 (\d+)/.exec(head)?.[1];
      if (status === undefined) throw new Error(`no reply: ${stdout}${stderr}`);
      return { status: Number(status), body: body === '' ? {} : JSON.parse(body) };
    },
    leaked: async () => {
      const { client, other } = await countLine();
      const ofKernel = [...(await logs('isp')).matchAll(portIsGone)].length;
      return client + other - ofKernel;
    },
    remove: () => removeAll(engine),
  };
}

/** What runs in the PID namespace of a process, itself included. Docker's own `top` needs a `ps` beside the engine. */
function processesWith(pid: number): readonly RunningProgram[] {
  const namespaceOf = (each: number) => readlinkSync(`/proc/${each}/ns/pid`);
  const wanted = namespaceOf(pid);
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      if (namespaceOf(Number(name)) !== wanted) return [];
      const program = readFileSync(`/proc/${name}/comm`, 'utf8').trim();
      // Docker's own: on its way to become the health check.
      return program.startsWith('runc:') ? [] : [{ pid: Number(name), program }];
    } catch (error) {
      if (error instanceof Error && 'code' in error) return [];
      throw error;
    }
  });
}

function parseCount(text: string): LineCount {
  const read = (name: string): number => {
    const packets = new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1];
    if (packets === undefined) throw new Error(`the isp has no counter ${name}: ${JSON.stringify(text)}`);
    return Number(packets);
  };
  return { openvpn: read('openvpn'), client: read('client'), other: read('other'), link: read('link') };
}
