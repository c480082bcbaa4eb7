import type { CleanedEnv } from 'envalid';
import type { Fault } from '../errors.ts';
import { contains, isIpv6, renderSubnet } from '../net/address.ts';
import { localZoneFaults } from './dns-local.ts';
import { renderAllowance } from './lan-allow.ts';
import { resolverPort } from './own-resolver.ts';
import type { GivenSettings, SettingName, Settings } from './settings.ts';

/** What the settings say, as far as they can be read: a faulty one is undefined. */
type ReadSettings = Partial<CleanedEnv<Settings>>;

/**
 * Finds settings that are good by themselves and cannot work together. Each fault stands under the setting that has to
 * change most likely, and names the other one.
 *
 * @param given as the user wrote them, without the defaults
 */
export function findContradictions(read: ReadSettings, given: GivenSettings): readonly Fault[] {
  return [
    ...dnsFaults(read),
    ...withoutNeed(read, given),
    ...firewallFaults(read, given),
    ...ipv6Faults(read, given),
    ...endpointFaults(read),
    ...shownHealthFaults(read),
    ...sourcePortFaults(read),
    ...sizeFaults(read),
  ];
}

function dnsFaults({
  DNS: dns,
  DNS_CACHE: cache,
  DNS_LOCAL: zones,
  HEALTH_PROBE: probe,
  UPLINK_GATEWAY: uplinkGateway,
}: ReadSettings): readonly Fault[] {
  const faults = dns === undefined || zones === undefined ? [] : [...localZoneFaults({ dns, probe }, zones)];
  if (dns?.kind === 'servers' && dns.servers.every(isIpv6) && (cache === 'on' || zones !== undefined)) {
    faults.push({
      name: 'DNS',
      value: dns.servers.join(', '),
      problem: `has IPv6 addresses alone, and the resolver that ${cache === 'on' ? 'DNS_CACHE' : 'DNS_LOCAL'} starts asks over IPv4`,
      hint: 'add an IPv4 address to it',
    });
  }
  if (probe?.kind === 'tcp' && probe.address === uplinkGateway) {
    faults.push({
      name: 'HEALTH_PROBE',
      value: `${probe.address}:${probe.port}`,
      problem: 'is the address of UPLINK_GATEWAY, which the router never reaches through the tunnel',
      hint: 'give the address of a service beyond the tunnel, or dns',
    });
  }
  return faults;
}

/** Settings that say how, where nothing says that. */
function withoutNeed({ DNS: dns }: ReadSettings, given: GivenSettings): readonly Fault[] {
  const faults: Fault[] = [];
  if (given.DNS_CA_FILE !== undefined && dns !== undefined && dns.kind !== 'tls') {
    faults.push({
      name: 'DNS_CA_FILE',
      problem: 'is set, and DNS has no tls://, so that no certificate is looked at',
      hint: 'write DNS=tls://ADDRESS#NAME, or leave it out',
    });
  }
  for (const name of ['PORT_FWD_FILE', 'PORT_FWD_HOOK'] as const) {
    if (given[name] === undefined || given.PORT_FWD_DYNAMIC !== undefined) continue;
    faults.push({
      name,
      problem: 'is set, and PORT_FWD_DYNAMIC is not',
      hint: 'set PORT_FWD_DYNAMIC, for example natpmp:web:80, or leave it out',
    });
  }
  return faults;
}

/** What iptables cannot hold. With FIREWALL=auto the kernel decides, and the router says so when it knows. */
function firewallFaults(
  { FIREWALL: firewall, IPV6: ipv6, CONNECTION_LIMIT: limit, UPLINK_GATEWAY6: uplinkGateway6 }: ReadSettings,
  given: GivenSettings,
): readonly Fault[] {
  if (firewall === undefined || firewall === 'auto' || firewall === 'nft') return [];
  const fault = (name: SettingName, what: string): Fault => ({
    name,
    value: given[name] ?? '',
    problem: `FIREWALL has the rules loaded by ${firewall}, and only nft can ${what}`,
    hint: `leave ${name} out, or FIREWALL where the kernel has nf_tables`,
  });
  const isLimited = given.CONNECTION_LIMIT !== undefined && limit !== undefined && limit > 0;
  return [
    ...(ipv6 === 'tunnel' ? [fault('IPV6', "carry clients' IPv6")] : []),
    ...(isLimited ? [fault('CONNECTION_LIMIT', 'count connections')] : []),
    ...(uplinkGateway6 === undefined ? [] : [fault('UPLINK_GATEWAY6', 'reach a server over IPv6')]),
  ];
}

function ipv6Faults(
  { IPV6: ipv6, IP6_ADDR: gateway, UPLINK_GATEWAY6: uplinkGateway }: ReadSettings,
  given: GivenSettings,
): readonly Fault[] {
  const name = 'IP6_ADDR';
  if (ipv6 === 'tunnel' && given.IP6_ADDR === undefined) {
    const hint = "set it to the gateway address of clients' IPv6, for example IP6_ADDR=fd00:7722::1/64";
    return [{ name, problem: 'is not set, and IPV6=tunnel needs it', hint }];
  }
  if (ipv6 === 'off' && given.IP6_ADDR !== undefined) {
    return [{ name, problem: 'is set, and IPV6 is off', hint: 'set IPV6=tunnel, or leave it out' }];
  }
  if (gateway === undefined || uplinkGateway === undefined || !contains(gateway, uplinkGateway)) return [];
  return [
    {
      name: 'UPLINK_GATEWAY6',
      value: uplinkGateway,
      problem: `lies in the isolated network ${renderSubnet(gateway)} of IP6_ADDR, which has no way out`,
      hint: 'give the next hop on the network that leads to the VPN server',
    },
  ];
}

/** Ports of the router's own that somebody else wants. */
function endpointFaults({
  IP_ADDR: gateway,
  DNS: dns,
  MODE: mode,
  DNS_CACHE: cache,
  DNS_LOCAL: zones,
  HEALTH_ADDR: health,
  LAN_ALLOW_IN: inward = [],
}: ReadSettings): readonly Fault[] {
  if (health === undefined) return [];
  const value = `${health.host}:${health.port}`;
  const isLocal = health.host.startsWith('127.');
  const isForClients = gateway !== undefined && contains(gateway, health.host);
  const faults = inward.flatMap((allowance, index): readonly Fault[] => {
    const { transport, ports } = allowance;
    if (isLocal || isForClients || transport !== 'tcp' || health.port < ports.first || ports.last < health.port)
      return [];
    const problem = `has port ${health.port} of HEALTH_ADDR=${value}, which is open to the uplink as well`;
    const hint = 'give HEALTH_ADDR another port, or leave it out';
    return [{ name: `LAN_ALLOW_IN entry ${index + 1}`, value: renderAllowance(allowance), problem, hint }];
  });
  const isSidecar = mode === 'sidecar';
  const starter =
    dns?.kind === 'tls' ? 'DNS=tls://' : zones !== undefined ? 'DNS_LOCAL' : isSidecar ? 'MODE=sidecar' : 'DNS_CACHE';
  const hasResolver = dns?.kind === 'tls' || zones !== undefined || cache === 'on' || isSidecar;
  if (hasResolver && health.port === resolverPort && (health.host === '0.0.0.0' || health.host === gateway?.address)) {
    faults.push({
      name: 'HEALTH_ADDR',
      value,
      problem: `has the port of the router's own resolver, which ${starter} starts`,
      hint: 'give another port',
    });
  }
  return faults;
}

/** In a sidecar HEALTH_ADDR is for the uplink, and PORT_FWD would show it to anybody beyond the tunnel. */
function shownHealthFaults({
  MODE: mode,
  HEALTH_ADDR: health,
  PORT_FWD: forwards = [],
  PORT_FWD_DYNAMIC: dynamic,
}: ReadSettings): readonly Fault[] {
  if (mode !== 'sidecar' || health?.host !== '0.0.0.0') return [];
  const { port } = health;
  const isForwarded = forwards.some(
    ({ transports, inside }) => transports.includes('tcp') && inside.first <= port && port <= inside.last,
  );
  const names = [...(isForwarded ? ['PORT_FWD'] : []), ...(dynamic?.inside === port ? ['PORT_FWD_DYNAMIC'] : [])];
  return names.map((name) => ({
    name: 'HEALTH_ADDR',
    value: `${health.host}:${port}`,
    problem: `has a port that ${name} leads to, so that anybody beyond the tunnel would see it`,
    hint: 'give one of them another port',
  }));
}

/** The lowest port that connections past the tunnel may come from. */
const firstSourcePort = 1024;

function sourcePortFaults({
  MODE: mode,
  LAN_ALLOW: outward = [],
  LAN_ALLOW_IN: inward = [],
}: ReadSettings): readonly Fault[] {
  // Its own sockets need no translation.
  if (mode === 'sidecar') return [];
  let next = firstSourcePort;
  for (const { first, last } of inward.map(({ ports }) => ports).toSorted((one, other) => one.first - other.first)) {
    if (first <= next) next = Math.max(next, last + 1);
  }
  if (outward.length === 0 || next <= 65_535) return [];
  const problem = `has every port from ${firstSourcePort} on, so that clients have none left for what LAN_ALLOW lets them open`;
  return [{ name: 'LAN_ALLOW_IN', problem, hint: 'name the ports that the container serves' }];
}

/** Headers of a TCP segment, without options. */
const headerBytes = { ipv4: 40, ipv6: 60 } as const;

function sizeFaults({ MTU: mtuBytes, MSS: mssBytes, IPV6: ipv6 }: ReadSettings): readonly Fault[] {
  if (mtuBytes === undefined || mssBytes === undefined) return [];
  const mostBytes = mtuBytes - headerBytes[ipv6 === 'tunnel' ? 'ipv6' : 'ipv4'];
  if (mssBytes <= mostBytes) return [];
  return [
    {
      name: 'MSS',
      value: `${mssBytes}`,
      problem: `is more than the ${mostBytes} bytes that MTU=${mtuBytes} leaves for a segment`,
      hint: 'leave it out: it follows MTU by itself',
    },
  ];
}
