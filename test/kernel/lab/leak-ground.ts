import assert from 'node:assert/strict';
import { join as joinPath } from 'node:path';
import { openCatcher } from '../../leaks/catcher.ts';
import type { Backend } from '../../leaks/firewall.ts';
import { findLink, type Ground, makeNaive, until } from '../../leaks/ground.ts';
import { type Scene, ula } from '../../leaks/packets.ts';
import { askTcp } from './client.ts';
import { join, pidsIn } from './namespace.ts';
import { addresses, hardwareAddress, ports, type RunningRouter, type World } from './world.ts';

/** What a ground is to have besides. */
export interface GroundOptions {
  /** What loads the router's rules; absent: nft. */
  readonly backend?: Backend;
  readonly env?: Readonly<Record<string, string>>;
  /** Done to each new namespace of the router, before the router starts. */
  readonly prepare?: () => Promise<void>;
  readonly startServer?: (push: readonly string[]) => ReturnType<World['startServer']>;
  readonly restoreUplink?: () => Promise<void>;
  /** True when clients' packets go through the VPN; absent: those of IPv4. */
  readonly isCarried?: () => Promise<boolean>;
}

/** Where everything is in the namespaces of the lab. */
export const labScene: Scene = {
  client: addresses.client,
  other: addresses.other,
  gateway: addresses.gateway,
  routerUplink: addresses.routerUplink,
  isp: addresses.isp,
  server: addresses.server,
  serverPort: ports.openvpn,
  web: '203.0.113.80',
  resolver: '203.0.113.53',
  tunnel: '10.8.0.2',
  caller: { address: addresses.tunnelServer, port: 40_000, forwardedPort: ports.web },
};

/** A ground for the leak matrix in network namespaces; nothing runs on it yet. */
export async function layGround(world: World, options: GroundOptions = {}): Promise<Ground> {
  const { client, isp, router, server } = world;
  const { backend = 'nft' } = options;
  const scene = labScene;
  const ispDevice = await findLink(isp, addresses.isp);
  const neighbour = await world.addNeighbour({ lan: '172.22.0.3/24', uplink: '198.51.100.3/24' });
  const givenMac = await hardwareAddress(router, 'eth0');
  let running: RunningRouter | undefined;
  let vpnServer: Awaited<ReturnType<World['startServer']>> | undefined;
  const start = () => {
    running = world.startRouter({ FIREWALL: backend, PORT_FWD: `${addresses.client}:${ports.web}`, ...options.env });
  };
  const pidOf: Ground['pidOf'] = async (program) => {
    const [pid, ...others] = await pidsIn(router, program);
    assert.ok(pid !== undefined && others.length === 0, `${program}: ${[pid, ...others]}\n${running?.output()}`);
    return Number(pid);
  };
  const log = async () => running?.output().split('\n').slice(-12).join('\n') ?? '';
  return {
    scene,
    backend,
    client,
    clientDevice: await findLink(client, addresses.client),
    isp,
    ispDevice,
    catcher: await openCatcher({
      ns: isp,
      device: 'to-router',
      routers: [addresses.routerUplink, '198.51.100.22'],
      scene,
    }),
    naive: await makeNaive(neighbour, { address: addresses.isp, mac: ispDevice.mac }),
    router: async () => router,
    pidOf,
    // Here forwarding is off before the devices are there, so the given one may be known, too.
    knownMacs: async () => [await hardwareAddress(router, 'eth0'), givenMac],
    givenMac,
    boot: async () => {
      await world.renewRouter();
      await options.prepare?.();
      start();
    },
    killDaemon: async () => {
      process.kill(await pidOf('node-MainThread'), 'SIGKILL');
      await running?.process.exited;
      start();
    },
    untilCarried: async () => {
      const carried = async () => (await askTcp(client, addresses.web, ports.web)) === scene.tunnel;
      await until(options.isCarried ?? carried, 25_000, log);
    },
    server: {
      kill: async () => {
        await vpnServer?.stop();
        vpnServer = undefined;
      },
      start: async (push = []) => {
        vpnServer ??= await (options.startServer?.(push) ?? world.startServer({ pushes: push }));
      },
    },
    uplink: {
      restoreIpv6: options.restoreUplink,
      disconnect: async () => {
        await router.run('ip', 'link', 'set', 'eth1', 'down');
        await router.run('ip', 'addr', 'flush', 'dev', 'eth1');
      },
      connect: async (address) => {
        await router.run('ip', 'addr', 'add', `${address}/24`, 'dev', 'eth1');
        await router.run('ip', 'link', 'set', 'eth1', 'up');
        await options.restoreUplink?.();
      },
    },
    renewNetworks: async (first, between) => {
      const ends = {
        uplink: { ns: isp, device: 'router', bridge: 'to-router', address: addresses.routerUplink },
        isolated: { ns: world.lan, device: 'to-router', bridge: 'bridge', address: addresses.routerLan },
      };
      const plug = async (network: keyof typeof ends, own: string) => {
        const { ns, device, bridge, address } = ends[network];
        await join({ ns: router, device: own, address: `${address}/24` }, { ns, device });
        await ns.run('ip', 'link', 'set', device, 'master', bridge);
      };
      for (const { ns, device } of Object.values(ends)) await ns.run('ip', 'link', 'del', device);
      await plug(first, 'eth0');
      await between();
      await plug(first === 'uplink' ? 'isolated' : 'uplink', 'eth1');
    },
    startCaller: async (over) => {
      const { address, port, forwardedPort } = scene.caller;
      const program = joinPath(import.meta.dirname, '../../leaks/caller.ts');
      const [own, router] = over === 'ipv4' ? [address, scene.tunnel] : [ula.caller, ula.tunnel];
      const caller = server.start({}, 'node', program, own, `${port}`, router, `${forwardedPort}`);
      await caller.says('answered');
      return caller;
    },
    log,
  };
}
