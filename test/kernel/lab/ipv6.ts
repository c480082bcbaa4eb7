import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { addresses, ports, type ServerOptions, startResolver, type World } from './world.ts';

export const ipv6Addresses = {
  gateway: 'fd00:7722::1',
  routerLan: 'fd00:7722::2',
  client: 'fd00:7722::128',
  other: 'fd00:7722::129',
  routerUplink: '2001:db8:198::2',
  isp: '2001:db8:198::1',
  server: '2001:db8:203::10',
  /** Behind the VPN. */
  web: '2001:db8:99::80',
  resolver: '2001:db8:99::53',
  tunnelServer: 'fd00:8::1',
  tunnel: 'fd00:8::1000',
} as const;

/** Gives every network of a world IPv6, as Docker does: static addresses, and a default route to the uplink's gateway. */
export async function addIpv6({ router, lan, client, other, isp, server }: World): Promise<void> {
  const own = ipv6Addresses;
  for (const ns of [client, other, isp, server]) await ns.run('sysctl', '-qw', 'net.ipv6.conf.all.accept_dad=0');
  await isp.run('sysctl', '-qw', 'net.ipv6.conf.all.forwarding=1');
  const add = (ns: World['router'], device: string, address: string) =>
    ns.run('ip', 'addr', 'add', address, 'dev', device, 'nodad');
  await add(client, 'eth0', `${own.client}/64`);
  await add(other, 'eth0', `${own.other}/64`);
  await add(isp, 'to-router', `${own.isp}/64`);
  await add(isp, 'to-server', '2001:db8:203::1/64');
  await add(server, 'eth0', `${own.server}/64`);
  for (const address of [own.web, own.resolver]) await add(server, 'lo', `${address}/128`);
  for (const ns of [client, other]) await ns.run('ip', 'route', 'add', '::/0', 'via', own.gateway, 'dev', 'eth0');
  await server.run('ip', 'route', 'add', '::/0', 'via', '2001:db8:203::1');
  await addRouterIpv6({ router });
  const peer = join(import.meta.dirname, 'peer.ts');
  server.start({}, 'node', peer, `${ports.web}`, own.web, own.server);
  client.start({}, 'node', peer, `${ports.web}`, own.client);
  other.start({}, 'node', peer, `${ports.web}`, own.other);
  await startResolver(server, own.resolver).says('started');
  await lan.run('sysctl', '-qw', 'net.ipv6.conf.bridge.disable_ipv6=1');
}

/** The router's own part, which goes with its namespace. */
export async function addRouterIpv6({ router }: Pick<World, 'router'>): Promise<void> {
  const own = ipv6Addresses;
  await router.run('ip', 'addr', 'add', `${own.routerLan}/64`, 'dev', 'eth0', 'nodad');
  await addUplinkIpv6({ router });
}

export async function addUplinkIpv6({ router }: Pick<World, 'router'>): Promise<void> {
  const own = ipv6Addresses;
  await router.run('ip', 'addr', 'add', `${own.routerUplink}/64`, 'dev', 'eth1', 'nodad');
  // A client's router advertisement may have come first.
  await router.run('ip', 'route', 'replace', '::/0', 'via', own.isp, 'dev', 'eth1');
}

/** A server that gives IPv6 addresses, reached over IPv4 or IPv6. */
export function ipv6Server({ over, transport }: { over: 'ipv4' | 'ipv6'; transport: 'udp' | 'tcp' }): ServerOptions {
  const place = over === 'ipv6' ? ['--local', ipv6Addresses.server, '--proto', `${transport}6`] : [];
  return {
    transport,
    pushes: [`dhcp-option DNS6 ${ipv6Addresses.resolver}`, 'route-ipv6 2000::/3'],
    args: [...place, '--server-ipv6', 'fd00:8::/64'],
  };
}

/** A profile whose server is another one; returns its path. */
export async function writeProfile(
  { folder }: World,
  { name, remote, transport }: { readonly name: string; readonly remote: string; readonly transport: 'udp' | 'tcp' },
): Promise<string> {
  const text = await readFile(join(folder, transport === 'udp' ? 'client.ovpn' : 'client-tcp.ovpn'), 'utf8');
  const path = join(folder, name);
  await writeFile(path, text.replace(`remote ${addresses.server} ${ports.openvpn}`, remote));
  return path;
}
