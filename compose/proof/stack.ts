import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Ran, run } from './transcript.ts';

/** The project's name in Compose: every container, network and volume of the demo carries it. */
export const project = 'underbridge-demo';

/** The Compose file that the demo runs. */
export const composeFile = join(import.meta.dirname, '../demo.yaml');

const healthPatienceMs = 30_000;

/** Everything but the router. */
export const sceneServices = ['client1', 'client2', 'isp', 'probe', 'provider', 'web', 'resolvers'] as const;

export type Service = 'router' | (typeof sceneServices)[number];

/** How this machine calls Docker and Compose. */
export interface Commands {
  readonly docker: readonly string[];
  readonly compose: readonly string[];
  readonly env: NodeJS.ProcessEnv;
}

/** Packets that came by at the ISP's line so far. */
export interface LineCount {
  readonly openvpn: number;
  readonly client: number;
  readonly other: number;
  readonly link: number;
}

/** The demo's containers, as the proof uses them. */
export interface Stack {
  /** Runs a program in a service's container. */
  exec(service: Service, ...argv: readonly string[]): Promise<Ran>;
  /** Runs `docker VERB … CONTAINER`; throws where that fails. */
  docker(service: Service, ...verb: readonly string[]): Promise<string>;
  countLine(): Promise<LineCount>;
  startRouter(): Promise<void>;
  /** Waits until Docker's health check passes. */
  awaitHealth(service: Service): Promise<void>;
  /** The container's name, for the user to type. */
  nameOf(service: Service): string;
}

/** Runs Compose for the demo's file; throws with Compose's own last words where it fails. */
export async function compose(commands: Commands, ...args: readonly string[]): Promise<string> {
  const ran = await run([...commands.compose, '-f', composeFile, ...args], commands);
  if (ran.code !== 0) throw new Error(`compose ${args[0]} failed: ${lastLines(ran.stderr, 3)}`);
  return ran.stdout;
}

/** Finds the containers that Compose has made. */
export async function openStack(commands: Commands): Promise<Stack> {
  let containers = await listContainers(commands);
  const nameOf = (service: Service): string => {
    const name = containers.get(service);
    if (name === undefined) throw new Error(`the demo has no container for ${service}`);
    return name;
  };
  const exec: Stack['exec'] = (service, ...argv) =>
    run([...commands.docker, 'exec', nameOf(service), ...argv], commands);
  const awaitHealth = async (service: Service) => {
    for (const deadline = Date.now() + healthPatienceMs; ; await sleep(100)) {
      const inspect = ['inspect', '--format', '{{.State.Health.Status}}', nameOf(service)];
      const health = await docker(commands, inspect);
      if (health === 'healthy') return;
      if (Date.now() < deadline) continue;
      const log = await run([...commands.docker, 'logs', '--tail', '15', nameOf(service)], commands);
      throw new Error(
        `${service} is ${health} after ${healthPatienceMs / 1000} s. The end of its log:\n${log.stdout}\n${log.stderr}`,
      );
    }
  };
  return {
    exec,
    awaitHealth,
    startRouter: async () => {
      // Not `docker start`: Compose 1.29 attaches all networks but the first one when it starts a container itself.
      await compose(commands, 'up', '--detach', '--no-build', 'router');
      containers = await listContainers(commands);
    },
    nameOf,
    docker: (service, ...verb) => docker(commands, [...verb, nameOf(service)]),
    countLine: async () => parseLineCount((await exec('isp', 'isp-count')).stdout),
  };
}

/** Runs Docker's own client; throws where it fails. */
export async function docker(commands: Commands, args: readonly string[]): Promise<string> {
  const ran = await run([...commands.docker, ...args], commands);
  if (ran.code !== 0) throw new Error(`docker ${args[0]} failed: ${lastLines(ran.stderr, 3)}`);
  return ran.stdout;
}

async function listContainers(commands: Commands): Promise<ReadonlyMap<string, string>> {
  const listed = await docker(commands, [
    ...['ps', '--all', '--filter', `label=com.docker.compose.project=${project}`],
    ...['--format', '{{.Label "com.docker.compose.service"}} {{.Names}}'],
  ]);
  return new Map(listed.split('\n').map((line) => line.split(' ') as [string, string]));
}

function parseLineCount(text: string): LineCount {
  const read = (name: string): number => {
    const packets = new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1];
    if (packets === undefined) throw new Error(`the isp has no counter ${name}: ${JSON.stringify(text)}`);
    return Number(packets);
  };
  return { openvpn: read('openvpn'), client: read('client'), other: read('other'), link: read('link') };
}

function lastLines(text: string, count: number): string {
  return text.trim().split('\n').slice(-count).join('\n');
}
