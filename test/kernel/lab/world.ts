import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { type End, join, type LabProcess, makeNamespace, type Namespace, removeNamespace } from './namespace.ts';
import { makePki, type Pki } from './pki.ts';

export const addresses = {
  gateway: '172.22.0.1',
  routerLan: '172.22.0.2',
  client: '172.22.0.128',
  other: '172.22.0.129',
  routerUplink: '198.51.100.2',
  isp: '198.51.100.1',
  server: '203.0.113.10',
  /** The provider's other servers. */
  secondServer: '203.0.113.11',
  thirdServer: '203.0.113.12',
  /** Behind the VPN: a host, and a resolver that gives itself away. */
  web: '10.99.0.80',
  resolver: '10.99.0.53',
  tunnelServer: '10.8.0.1',
} as const;

export const ports = { web: 8080, openvpn: 1194 } as const;
export const credentials = { username: 'us er"\\', password: 'p"a\\s s#é' } as const;

/** A router on an isolated network, an internet provider that counts, a real VPN server, and clients. */
export interface World {
  readonly router: Namespace;
  /** The isolated network's bridge. */
  readonly lan: Namespace;
  readonly client: Namespace;
  readonly other: Namespace;
  readonly isp: Namespace;
  readonly server: Namespace;
  readonly folder: string;
  readonly startServer: (options?: ServerOptions) => Promise<RunningServer>;
  readonly startRouter: (env?: Readonly<Record<string, string>>) => RunningRouter;
  /** A new namespace for the router, with the old hardware addresses, as when Docker starts a container again. */
  readonly renewRouter: () => Promise<void>;
  /** A host on both networks of the router, with none of it. */
  readonly addNeighbour: (on: { readonly lan: string; readonly uplink: string }) => Promise<Namespace>;
  /** Packets from the router on the uplink that are not OpenVPN's to its server. */
  readonly leaked: () => Promise<number>;
  readonly forgetLeaks: () => Promise<void>;
  readonly remove: () => Promise<void>;
}

export interface ServerOptions {
  readonly transport?: 'udp' | 'tcp';
  /** Network and mask of the tunnel. */
  readonly subnet?: readonly [string, string];
  /** One of the provider's addresses, and a device of its own, where several servers run at a time. */
  readonly address?: string;
  readonly device?: string;
  /** Instead of the machine's own openvpn. */
  readonly program?: string;
  /** What it pushes besides. */
  readonly pushes?: readonly string[];
  /** Resolvers and addresses are left to `pushes`. */
  readonly pushesNothingElse?: true;
  /** More of its command line; comes last, so that it wins. */
  readonly args?: readonly string[];
}

export interface RunningServer {
  readonly process: LabProcess;
  readonly signal: (name: NodeJS.Signals) => void;
  readonly stop: () => Promise<void>;
}

export interface RunningRouter {
  readonly process: LabProcess;
  readonly output: () => string;
  readonly startedMs: number;
  /** The JSON of /healthz. */
  readonly health: () => Promise<{ readonly healthy: boolean; readonly [name: string]: unknown }>;
  readonly untilHealthy: (limitMs?: number) => Promise<number>;
  readonly untilUnhealthy: (limitMs?: number) => Promise<number>;
  readonly stop: () => Promise<{ readonly exitCode: number | undefined; readonly tookMs: number }>;
}

let worlds = 0;

/** Builds the world. Names carry the process id, so that runs at the same time do not meet. */
export async function makeWorld(): Promise<World> {
  worlds += 1;
  const id = `${process.pid}-${worlds}`;
  const folder = await mkdtemp(joinPath(tmpdir(), 'underbridge-world-'));
  const names = ['router', 'lan', 'client', 'other', 'isp', 'server'].map((role) => `ub${id}-${role}`);
  // A run that was killed, with the same process id, may have left its own resolv.conf.
  await Promise.all(names.map((name) => rm(`/etc/netns/${name}`, { recursive: true, force: true })));
  const [router, lan, client, other, isp, server] = await Promise.all(names.map(makeNamespace));
  if (!router || !lan || !client || !other || !isp || !server) throw new Error('a namespace is missing');
  const all = [router, lan, client, other, isp, server];
  await wire({ router, lan, client, other, isp, server });
  const routerMacs = await Promise.all(['eth0', 'eth1'].map((device) => hardwareAddress(router, device)));
  const pki = await makePki();
  await writeFile(joinPath(folder, 'client.ovpn'), profile(pki, 'udp'));
  await writeFile(joinPath(folder, 'client-tcp.ovpn'), profile(pki, 'tcp'));
  await writeFile(joinPath(folder, 'credentials'), `${credentials.username}\n${credentials.password}\n`);
  await stage(folder);
  startPeers({ server, client, other });
  return {
    router,
    lan,
    client,
    other,
    isp,
    server,
    folder,
    startServer: (options) => startServer({ server, folder, pki, options: options ?? {} }),
    startRouter: (env) => startRouter({ router, folder, env: env ?? {} }),
    renewRouter: async () => {
      // At once, and not when the kernel gets round to the namespace.
      await lan.run('ip', 'link', 'del', 'to-router');
      await isp.run('ip', 'link', 'del', 'router');
      await removeNamespace(router);
      await makeNamespace(router.name);
      await router.run('sysctl', '-qw', 'net.ipv4.ip_forward=0');
      await plugRouter({ router, lan, isp }, routerMacs);
    },
    addNeighbour: async (on) => {
      const neighbour = await makeNamespace(`ub${id}-neighbour`);
      all.push(neighbour);
      await plug({ ns: neighbour, device: 'eth0', address: on.lan }, { ns: lan, device: 'to-neighbour' }, 'bridge');
      await plug({ ns: neighbour, device: 'eth1', address: on.uplink }, { ns: isp, device: 'neighbour' }, 'to-router');
      return neighbour;
    },
    leaked: async () => countOf(await isp.run('nft', 'list', 'counter', 'inet', 'isp', 'leaked')),
    forgetLeaks: async () => {
      await isp.run('nft', 'reset', 'counters');
    },
    remove: async () => {
      await Promise.all(all.map(removeNamespace));
      await rm(folder, { recursive: true, force: true });
      await rm(pki.folder, { recursive: true, force: true });
    },
  };
}

function countOf(listing: string): number {
  return Number(/packets (\d+)/.exec(listing)?.[1] ?? Number.NaN);
}

export async function hardwareAddress(ns: Namespace, device: string): Promise<string> {
  return (await ns.run('cat', `/sys/class/net/${device}/address`)).trim();
}

async function plug(one: End, other: End, bridge: string): Promise<void> {
  await join(one, other);
  await other.ns.run('ip', 'link', 'set', other.device, 'master', bridge);
}

/** The router's device names say nothing of their purpose, and the LAN's comes first in the alphabet. */
async function plugRouter(
  { router, lan, isp }: Readonly<Record<'router' | 'lan' | 'isp', Namespace>>,
  [lanMac, uplinkMac]: readonly string[] = [],
): Promise<void> {
  const eth0 = { ns: router, device: 'eth0', address: `${addresses.routerLan}/24`, hardwareAddress: lanMac };
  const eth1 = { ns: router, device: 'eth1', address: `${addresses.routerUplink}/24`, hardwareAddress: uplinkMac };
  await plug(eth0, { ns: lan, device: 'to-router' }, 'bridge');
  await plug(eth1, { ns: isp, device: 'router' }, 'to-router');
  // Docker's worst case: the router's default route leads to itself.
  await router.run('ip', 'route', 'add', 'default', 'via', addresses.gateway);
}

async function wire({
  router,
  lan,
  client,
  other,
  isp,
  server,
}: Readonly<Record<'router' | 'lan' | 'client' | 'other' | 'isp' | 'server', Namespace>>): Promise<void> {
  for (const [ns, bridge] of [
    [lan, 'bridge'],
    [isp, 'to-router'],
  ] as const) {
    // Its own address: otherwise it has one of its ports', and they come and go.
    await ns.run('ip', 'link', 'add', bridge, 'address', '02:00:00:00:00:01', 'type', 'bridge');
    await ns.run('ip', 'link', 'set', bridge, 'up');
  }
  await isp.run('ip', 'addr', 'add', `${addresses.isp}/24`, 'dev', 'to-router');
  await plug(
    { ns: client, device: 'eth0', address: `${addresses.client}/24` },
    { ns: lan, device: 'to-client' },
    'bridge',
  );
  await plug(
    { ns: other, device: 'eth0', address: `${addresses.other}/24` },
    { ns: lan, device: 'to-other' },
    'bridge',
  );
  await plugRouter({ router, lan, isp });
  await join(
    { ns: isp, device: 'to-server', address: '203.0.113.1/24' },
    { ns: server, device: 'eth0', address: `${addresses.server}/24` },
  );
  for (const ns of [client, other]) await ns.run('ip', 'route', 'add', 'default', 'via', addresses.gateway);
  await server.run('ip', 'route', 'add', 'default', 'via', '203.0.113.1');
  await isp.run('sysctl', '-qw', 'net.ipv4.ip_forward=1');
  // As in our Compose files: nothing is forwarded until the router says so.
  await router.run('sysctl', '-qw', 'net.ipv4.ip_forward=0');
  for (const address of [addresses.secondServer, addresses.thirdServer])
    await server.run('ip', 'addr', 'add', `${address}/24`, 'dev', 'eth0');
  await server.run('ip', 'addr', 'add', `${addresses.web}/32`, 'dev', 'lo');
  await server.run('ip', 'addr', 'add', `${addresses.resolver}/32`, 'dev', 'lo');
  const rules = `
    table inet isp {
      counter openvpn { }
      counter leaked { }
      chain arriving {
        type filter hook prerouting priority raw;
        # Every profile's servers are in this network: OpenVPN may knock there, and nothing else.
        iifname "to-router" ip saddr 198.51.100.0/24 ip daddr 203.0.113.0/24 meta l4proto { tcp, udp } th dport ${ports.openvpn} counter name openvpn accept
        # What the kernel says of itself when a device comes up is no client's.
        iifname "to-router" icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report } accept
        iifname "to-router" ip6 saddr 2001:db8:198::/64 ip6 daddr 2001:db8:203::/64 meta l4proto { tcp, udp } th dport ${ports.openvpn} counter name openvpn accept
        iifname "to-router" counter name leaked
      }
    }`;
  await execa('ip', ['netns', 'exec', isp.name, 'nft', '-f', '-'], { input: rules });
}

function startPeers({ server, client, other }: Readonly<Record<'server' | 'client' | 'other', Namespace>>): void {
  const peer = joinPath(import.meta.dirname, 'peer.ts');
  server.start({}, 'node', peer, `${ports.web}`, addresses.web, addresses.server);
  client.start({}, 'node', peer, `${ports.web}`, addresses.client);
  other.start({}, 'node', peer, `${ports.web}`, addresses.other);
  startResolver(server, addresses.resolver);
}

/** A resolver at an address of the namespace; it answers who-answers.test with that address. */
export function startResolver(ns: Namespace, address: string, ...args: readonly string[]): LabProcess {
  return ns.start(
    {},
    'dnsmasq',
    ...[
      '--no-daemon',
      '--no-resolv',
      '--no-hosts',
      '--conf-file=/dev/null',
      '--bind-interfaces',
      '--except-interface=tun*',
    ],
    ...[
      `--listen-address=${address}`,
      ...['who-answers.test', 'printer.lan.test', 'a.root-servers.net'].map((name) => `--address=/${name}/${address}`),
    ],
    ...args,
  );
}

function profile(pki: Pki, transport: 'udp' | 'tcp'): string {
  const lines = ['client', 'dev tun', `proto ${transport}`, `remote ${addresses.server} ${ports.openvpn}`];
  return `${[...lines, 'nobind', 'auth-user-pass', 'remote-cert-tls server', 'verb 3', '<ca>', pki.ca.trim(), '</ca>'].join('\n')}\n`;
}

const ordinaryPushes = [`dhcp-option DNS ${addresses.resolver}`, 'redirect-gateway def1'];

async function startServer({
  server,
  folder,
  pki,
  options,
}: {
  readonly server: Namespace;
  readonly folder: string;
  readonly pki: Pki;
  readonly options: ServerOptions;
}): Promise<RunningServer> {
  const check = joinPath(folder, 'check');
  const expected = joinPath(folder, 'credentials');
  await writeFile(check, `#!/bin/sh\nexec cmp -s "$1" ${expected}\n`, { mode: 0o755 });
  const args = [
    ...[
      '--mode',
      'server',
      '--tls-server',
      '--dev',
      options.device ?? 'tun0',
      '--local',
      options.address ?? addresses.server,
      '--topology',
      'subnet',
      '--proto',
      `${options.transport ?? 'udp'}4`,
    ],
    ...[
      '--port',
      `${ports.openvpn}`,
      '--server',
      ...(options.subnet ?? ['10.8.0.0', '255.255.255.0']),
      ...(options.pushesNothingElse === undefined ? [] : ['nopool']),
      '--dh',
      'none',
      '--ca',
      'ca.crt',
    ],
    ...['--cert', 'server.crt', '--key', 'server.key', '--verify-client-cert', 'none', '--username-as-common-name'],
    ...[
      '--script-security',
      '2',
      '--auth-user-pass-verify',
      check,
      'via-file',
      '--keepalive',
      '10',
      '60',
      '--verb',
      '1',
    ],
    ...(options.pushesNothingElse === undefined ? ordinaryPushes : []).flatMap((option) => ['--push', option]),
    ...(options.pushes ?? []).flatMap((option) => ['--push', option]),
    ...(options.args ?? []),
  ];
  const running = server.start({ cwd: pki.folder }, options.program ?? 'openvpn', ...args);
  await running.says('Initialization Sequence Completed');
  return {
    process: running,
    signal: running.kill,
    stop: async () => {
      running.kill('SIGKILL');
      await running.exited;
    },
  };
}

/** The image's files in one folder: entrypoint, locks and the bundle. */
async function stage(folder: string): Promise<void> {
  const root = joinPath(import.meta.dirname, '../../..');
  await cp(joinPath(root, 'rootfs/usr/lib/underbridge'), joinPath(folder, 'underbridge'), { recursive: true });
  await cp(joinPath(root, 'dist'), joinPath(folder, 'underbridge'), { recursive: true });
}

function startRouter({
  router,
  folder,
  env,
}: {
  readonly router: Namespace;
  readonly folder: string;
  readonly env: Readonly<Record<string, string>>;
}): RunningRouter {
  const startedMs = performance.now();
  const running = router.start(
    {
      env: {
        PATH: process.env.PATH,
        IP_ADDR: `${addresses.gateway}/24`,
        CONFIG: joinPath(folder, 'client.ovpn'),
        DNS: 'vpn',
        OPENVPN_CREDENTIALS_FILE: joinPath(folder, 'credentials'),
        ...env,
      },
    },
    ...inPrivateRun(joinPath(folder, 'underbridge/entrypoint')),
  );
  const health = async () => {
    const { stdout: text } = await router.attempt('curl', '-s', '-m', '2', 'http://127.0.0.1:9797/healthz');
    return text.startsWith('{') ? JSON.parse(text) : { healthy: false };
  };
  const until = async (isHealthy: boolean, limitMs: number) => {
    const fromMs = performance.now();
    for (;;) {
      if ((await health()).healthy === isHealthy) return performance.now() - fromMs;
      if (performance.now() - fromMs > limitMs)
        throw new Error(`not ${isHealthy ? '' : 'un'}healthy in ${limitMs} ms:\n${running.output()}`);
      await sleep(50);
    }
  };
  return {
    process: running,
    output: running.output,
    startedMs,
    health,
    untilHealthy: (limitMs = 30_000) => until(true, limitMs),
    untilUnhealthy: (limitMs = 15_000) => until(false, limitMs),
    stop: async () => {
      const fromMs = performance.now();
      running.kill('SIGTERM');
      const { exitCode } = await running.exited;
      return { exitCode, tookMs: performance.now() - fromMs };
    },
  };
}

/** `ip netns exec` gives a mount namespace of its own; a tmpfs on /run stays inside it. */
function inPrivateRun(file: string): readonly [string, ...string[]] {
  return ['sh', '-c', `mount -t tmpfs tmpfs /run && exec ${file}`];
}
