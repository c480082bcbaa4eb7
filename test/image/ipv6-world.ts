import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { askTcp } from '../kernel/lab/client.ts';
import { ipv6Addresses } from '../kernel/lab/ipv6.ts';
import type { LabProcess, Namespace } from '../kernel/lab/namespace.ts';
import { startResolver } from '../kernel/lab/world.ts';
import type { Engine } from '../lab/engine.ts';
import { findLink } from '../leaks/ground.ts';
import { openWorld, type World, type WorldOptions } from './world.ts';

export const webPort = 7777;
const own = ipv6Addresses;
const peer = join(import.meta.dirname, '../kernel/lab/peer.ts');

interface Service {
  build?: unknown;
  environment?: object;
  sysctls?: object;
  networks?: Readonly<Record<string, object>> | readonly string[];
}

interface ComposeFile {
  readonly services: Readonly<Record<string, Service>>;
  readonly networks: Readonly<
    Record<string, { readonly name: string; readonly ipam: { readonly config: readonly object[] } }>
  >;
}

export interface Ipv6World extends World {
  /** What lies behind the VPN, anew: it goes with the provider's container. */
  readonly restoreProvider: () => Promise<void>;
}

/** compose/demo.yaml where every network has IPv6, and the VPN server is reached by it. The rest is as router.yaml says. */
export function openIpv6World(engine: Engine, options: WorldOptions): Ipv6World {
  const forwards = `172.22.0.128:4666, [${own.client}]:${webPort}`;
  const demo = readCompose('demo.yaml', (text) => text);
  const ours = readCompose('router.yaml', (text) => text.replaceAll('#6 ', ''));
  const named = <T>(all: Readonly<Record<string, T>>, name: string): T => {
    const found = all[name];
    if (found === undefined) throw new Error(`a Compose file has no ${name}`);
    return found;
  };
  const withIpv6 = (name: string, config: object) => {
    const { ipam, ...network } = named(demo.networks, name);
    return { ...network, enable_ipv6: true, ipam: { config: [...ipam.config, config] } };
  };
  for (const service of Object.values(demo.services)) delete service.build;
  const { environment, sysctls } = named(ours.services, 'router');
  const { IPV6, IP6_ADDR } = environment as Readonly<Record<string, string>>;
  const change = (name: string, { environment, ...changes }: Service) => {
    const service = named(demo.services, name);
    Object.assign(service, changes, { environment: { ...service.environment, ...environment } });
  };
  change('router', {
    environment: {
      IPV6,
      IP6_ADDR,
      DNS: `203.0.113.53, ${own.resolver}`,
    },
    sysctls: sysctls ?? {},
    networks: { isolated: {}, uplink: { ipv4_address: '198.51.100.2', ipv6_address: own.routerUplink } },
  });
  change('client2', { networks: { isolated: { ipv4_address: '172.22.0.128', ipv6_address: own.client } } });
  for (const name of ['isp', 'provider'])
    change(name, { environment: { OUTSIDE6: own.server }, sysctls: { ...sysctls, 'net.ipv4.ip_forward': 1 } });
  const networks = {
    isolated: { ...named(ours.networks, 'underbridge'), name: named(demo.networks, 'isolated').name },
    uplink: withIpv6('uplink', {
      subnet: '2001:db8:198::/64',
      ip_range: '2001:db8:198:0:1::/80',
      gateway: '2001:db8:198::ffff',
      aux_addresses: { DefaultGatewayIPv6: own.isp },
    }),
    internet: withIpv6('internet', {
      subnet: '2001:db8:203::/64',
      ip_range: '2001:db8:203:0:1::/80',
      gateway: '2001:db8:203::ffff',
    }),
  };
  const file = join(tmpdir(), `underbridge-ipv6-${process.pid}.yaml`);
  writeFileSync(file, stringify({ ...demo, networks }));
  const world = openWorld(engine, { ...options, forwards, file });
  const beyond: LabProcess[] = [];
  const restoreProvider = async () => {
    beyond.push(...(await startProvider(await world.enter('provider'))));
  };
  return {
    ...world,
    startScene: async (services) => {
      await world.startScene(services);
      beyond.push(await startBeyond(world));
      await restoreProvider();
    },
    restoreProvider,
    remove: async () => {
      for (const process of beyond) process.kill('SIGKILL');
      await world.remove();
      rmSync(file, { force: true });
    },
  };
}

/** True when a client has an answer through the VPN over IPv6. */
export async function isIpv6Carried(client: Namespace): Promise<boolean> {
  return (await askTcp(client, own.web, webPort)) === own.tunnel;
}

/** What of IPv6 lies beside the VPN: the line, and a client that answers. */
async function startBeyond(world: World): Promise<LabProcess> {
  const isp = await world.enter('isp');
  const client2 = await world.enter('client2');
  const line = { uplink: await findLink(isp, '198.51.100.'), internet: await findLink(isp, '203.0.113.') };
  await isp.run('ip', 'addr', 'add', `${own.isp}/64`, 'dev', line.uplink.name, 'nodad');
  await isp.run('ip', 'addr', 'add', '2001:db8:203::1/64', 'dev', line.internet.name, 'nodad');
  // As for IPv4, compose/demo/bin/claim: the router's address is one that Docker handed out.
  const customers = 'ip6 line customers';
  // Not by the machine's own nft: 1.0.6 breaks down where the isp's rules are.
  const { code, stderr } = await world.exec(
    'isp',
    'nft',
    `add table ip6 line; add chain ${customers} { type nat hook postrouting priority srcnat; };` +
      `add rule ${customers} oifname ${line.internet.name} masquerade`,
  );
  if (code !== 0) throw new Error(stderr);
  return client2.start({}, 'node', peer, `${webPort}`, own.client);
}

/** A web site and a resolver behind the VPN. */
async function startProvider(provider: Namespace): Promise<readonly LabProcess[]> {
  await provider.run('ip', 'route', 'replace', '::/0', 'via', '2001:db8:203::1');
  for (const address of [own.web, own.resolver]) await provider.run('ip', 'addr', 'add', `${address}/128`, 'dev', 'lo');
  const resolver = startResolver(provider, own.resolver);
  await resolver.says('started');
  return [resolver, provider.start({}, 'node', peer, `${webPort}`, own.web)];
}

function readCompose(name: string, change: (text: string) => string): ComposeFile {
  return parse(change(readFileSync(join(import.meta.dirname, '../../compose', name), 'utf8')), { merge: true });
}
