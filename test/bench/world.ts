import { setTimeout as sleep } from 'node:timers/promises';
import { $ } from 'zx';
import type { Engine } from '../lab/engine.ts';

/** What carries a client's packets into the tunnel. */
export type GatewayKind = 'router' | 'plain';

export const gatewayKinds = ['router', 'plain'] as const satisfies readonly GatewayKind[];

/** The VPN server's address in the tunnel, with all that clients ask. */
export const server = { address: '10.213.9.1', greeterPort: 7 } as const;

/** Docker's own share: a program that ends at once, in a container like the router's. */
type ContainerKind = GatewayKind | 'trivial';

export interface ConfinedProgram {
  /** Arguments of `docker create` besides the router's own. */
  readonly options: readonly string[];
  readonly argv: readonly string[];
}

export interface Images {
  readonly router: string;
  readonly peer: string;
}

/** The bench's containers on one engine: a VPN server, and for each kind of gateway a network with a client. */
export interface World {
  /** Its `docker` starts nothing more once the run is interrupted. */
  readonly engine: Engine;
  readonly images: Images;
  readonly interruption: AbortSignal;
  /** Makes a container without starting it, in place of one of the same kind; returns its name. */
  readonly create: (kind: ContainerKind) => Promise<string>;
  readonly remove: (kind: ContainerKind) => Promise<void>;
  /** Runs a program of the router's image in a container like the router's; returns what it wrote. */
  readonly runConfined: (program: ConfinedProgram) => Promise<string>;
  /** Runs a program in the client behind a gateway; returns what it wrote, whatever its exit code. */
  readonly inClient: (kind: GatewayKind, ...argv: readonly string[]) => Promise<string>;
}

const label = 'org.underbridge.bench';
const prefix = 'underbridge-bench';
const vpnServer = '10.213.1.10';
/** Where the uplink leads. */
export const nextHop = '10.213.1.1';
export const gateways = { router: '10.213.2.1/24', plain: '10.213.3.1/24' } as const satisfies Record<
  GatewayKind,
  string
>;
const volumes = { profile: `${prefix}-profile`, credentials: `${prefix}-credentials` } as const;
const serverPatienceMs = 20_000;

// Docker orders a container's networks by name: the uplink is always eth0, the other one eth1.
const networks = {
  uplink: { name: `${prefix}-1-uplink`, bridge: 'ubbench-uplink', subnet: '10.213.1' },
  router: { name: `${prefix}-2-router`, bridge: 'ubbench-router', subnet: '10.213.2' },
  plain: { name: `${prefix}-3-plain`, bridge: 'ubbench-plain', subnet: '10.213.3' },
} as const;

/** Name of the container that `create` makes. */
export function containerOf(kind: ContainerKind): string {
  return `${prefix}-${kind}`;
}

/** Name of the container behind a gateway. */
function clientOf(kind: GatewayKind): string {
  return `${prefix}-${kind}-client`;
}

/** Makes networks, the VPN server and the clients; no gateway yet. Removes what an earlier run left. */
export async function openWorld(ownEngine: Engine, images: Images, interruption: AbortSignal): Promise<World> {
  await closeWorld(ownEngine);
  const engine: Engine = {
    ...ownEngine,
    docker: async (...args) => {
      interruption.throwIfAborted();
      return ownEngine.docker(...args);
    },
  };
  for (const { name, bridge, subnet } of Object.values(networks)) {
    // The machine itself has no address there, so nothing can leave it.
    const options = [`name=${bridge}`, 'inhibit_ipv4=true', 'enable_ip_masquerade=false'];
    await engine.docker(
      ...['network', 'create', '--driver', 'bridge', '--label', label],
      ...options.flatMap((option) => ['--opt', `com.docker.network.bridge.${option}`]),
      ...['--subnet', `${subnet}.0/24`, '--ip-range', `${subnet}.128/25`, '--gateway', `${subnet}.254`],
      ...['--aux-address', `DefaultGatewayIPv4=${subnet}.1`, name],
    );
  }
  for (const volume of Object.values(volumes)) await engine.docker('volume', 'create', '--label', label, volume);
  await startServer(engine, images);
  for (const kind of gatewayKinds) {
    await engine.docker(
      ...['run', '--detach', '--init', '--label', label, '--name', clientOf(kind)],
      ...['--network', networks[kind].name, images.peer, 'sleep', 'infinity'],
    );
  }
  const remove = async (kind: ContainerKind) => {
    await engine.docker('rm', '--force', containerOf(kind));
  };
  return {
    engine,
    images,
    interruption,
    create: async (kind) => {
      const name = containerOf(kind);
      if ((await engine.docker('ps', '--all', '--quiet', '--filter', `name=^/?${name}$`)) !== '') await remove(kind);
      await engine.docker('create', '--label', label, '--name', name, ...containerArguments(kind, images));
      await engine.docker('network', 'connect', networks[kind === 'plain' ? 'plain' : 'router'].name, name);
      return name;
    },
    remove,
    runConfined: async ({ options, argv }) => {
      const name = `${prefix}-once`;
      await engine.docker(
        ...['create', '--label', label, '--name', name, '--network', networks.uplink.name],
        ...[...routerConfinement, ...options, images.router, ...argv],
      );
      try {
        await engine.docker('network', 'connect', networks.router.name, name);
        return await engine.docker('start', '--attach', name);
      } finally {
        await ownEngine.docker('rm', '--force', name);
      }
    },
    inClient: async (kind, ...argv) => {
      interruption.throwIfAborted();
      const env = { ...process.env, ...engine.env };
      const command = clientCommand(kind, ...argv);
      const { stdout, stderr } = await $({ quiet: true, nothrow: true, env })`docker ${command}`;
      if (stdout === '') throw new Error(`docker ${command.join(' ')}: ${stderr.trim()}`);
      return stdout;
    },
  };
}

/** Removes all containers, networks and volumes of the bench, of this run or of an earlier one. */
export async function closeWorld(engine: Engine): Promise<void> {
  const filter = ['--quiet', '--filter', `label=${label}`];
  const removals = [
    { list: ['ps', '--all'], remove: ['rm', '--force', '--volumes'] },
    { list: ['network', 'ls'], remove: ['network', 'rm'] },
    { list: ['volume', 'ls'], remove: ['volume', 'rm'] },
  ] as const;
  for (const { list, remove } of removals) {
    const found = await engine.docker(...list, ...filter);
    if (found !== '') await engine.docker(...remove, ...found.split('\n'));
  }
}

/** Arguments of `docker` that run a program in a gateway's client. */
export function clientCommand(kind: GatewayKind, ...argv: readonly string[]): readonly string[] {
  return ['exec', clientOf(kind), ...argv];
}

/** What compose/router.yaml gives the router. */
const routerConfinement = [
  ...['--cap-drop', 'ALL', '--cap-add', 'NET_ADMIN', '--cap-add', 'SETUID', '--cap-add', 'SETGID'],
  ...['--cap-add', 'DAC_READ_SEARCH', '--device', '/dev/net/tun', '--sysctl', 'net.ipv4.ip_forward=0'],
  ...['--read-only', '--tmpfs', '/run', '--tmpfs', '/tmp', '--security-opt', 'no-new-privileges:true'],
] as const;

function containerArguments(kind: ContainerKind, { router, peer }: Images): readonly string[] {
  const onUplink = ['--network', networks.uplink.name];
  const customer = ['--volume', `${volumes.profile}:/config:ro`, '--volume', `${volumes.credentials}:/run/secrets:ro`];
  switch (kind) {
    case 'router':
      return [...onUplink, ...customer, ...routerConfinement, '--env', `IP_ADDR=${gateways.router}`, router];
    case 'plain':
      return [
        ...[...onUplink, ...customer, '--cap-add', 'NET_ADMIN', '--device', '/dev/net/tun'],
        ...['--sysctl', 'net.ipv4.ip_forward=1', peer, 'plain-gateway', gateways.plain],
      ];
    case 'trivial':
      return [...onUplink, ...customer, ...routerConfinement, '--entrypoint', 'date', router, '+%s%N'];
  }
}

async function startServer(engine: Engine, { peer }: Images): Promise<void> {
  const name = `${prefix}-server`;
  await engine.docker(
    ...['run', '--detach', '--init', '--label', label, '--name', name],
    ...['--network', networks.uplink.name, '--ip', vpnServer, '--cap-add', 'NET_ADMIN', '--device', '/dev/net/tun'],
    ...['--volume', `${volumes.profile}:/profile`, '--volume', `${volumes.credentials}:/credentials`],
    ...[peer, 'vpn-server', vpnServer, nextHop],
  );
  for (const deadline = Date.now() + serverPatienceMs; ; await sleep(100)) {
    const listening = await engine.docker('exec', name, 'ss', '-Hlun', 'sport = 1194').catch(() => '');
    if (listening !== '') return;
    if (Date.now() > deadline) throw new Error(`the VPN server does not start: ${await engine.docker('logs', name)}`);
  }
}
