import fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import type { DnsPolicy, LanAllowance, PortForward, Transport } from '../../../src/config/router-config.ts';
import {
  type IfName,
  type Ipv4,
  type Ipv4Cidr,
  type Ipv6,
  type Ipv6Cidr,
  networkOf,
  overlaps,
  type Port,
  parseIpv6,
} from '../../../src/net/address.ts';
import type { OneOrMore } from '../../../src/one-or-more.ts';
import type { Context, PlanConfig } from '../../../src/plan/context.ts';
import { extras, type RouterFacts } from '../../../src/plan/facts.ts';
import type { Endpoint, Policy, TunnelLink } from '../../../src/tunnel/policy.ts';

const anyAddress = fc.ipV4().map((text) => text as Ipv4);
const anyPort = fc.integer({ min: 1, max: 65_535 }).map((number) => number as Port);
const anyTransport = fc.constantFrom<Transport>('tcp', 'udp');
const anySubnetUpTo = (max: number) =>
  fc.tuple(anyAddress, fc.integer({ min: 8, max })).map(([address, prefixBits]): Ipv4Cidr => ({ address, prefixBits }));
/** IP_ADDR takes no narrower subnets. */
const anySubnet = anySubnetUpTo(30);

const anyForward = fc
  .record({
    transports: fc.uniqueArray(anyTransport, { minLength: 1 }),
    outsideFirst: fc.integer({ min: 1, max: 65_000 }),
    insideFirst: fc.integer({ min: 1, max: 65_000 }),
    count: fc.integer({ min: 1, max: 50 }),
    target: anyAddress,
  })
  .map(({ transports, outsideFirst, insideFirst, count, target }): PortForward => {
    const range = (first: number) => ({ first: first as Port, last: (first + count - 1) as Port });
    return { transports, outside: range(outsideFirst), inside: range(insideFirst), target };
  });

const anyDns: fc.Arbitrary<DnsPolicy> = fc.oneof(
  fc.constant<DnsPolicy>({ kind: 'pushed' }),
  fc
    .uniqueArray(anyAddress, { minLength: 1, maxLength: 3 })
    .map((servers): DnsPolicy => ({ kind: 'servers', servers: servers as [Ipv4, ...Ipv4[]] })),
);

const anyConfig = fc.record(
  {
    gateway: anySubnet,
    dns: anyDns,
    forwards: fc.array(anyForward, { maxLength: 3 }),
    healthAddress: plainRecord({
      host: fc.oneof(fc.constantFrom('127.0.0.1' as Ipv4, '0.0.0.0' as Ipv4), anyAddress),
      port: anyPort,
    }),
    probe: fc.oneof(
      fc.constant({ kind: 'dns' as const }),
      plainRecord({ kind: fc.constant('tcp' as const), address: anyAddress, port: anyPort }),
    ),
    mssBytes: fc.integer({ min: 536, max: 1460 }),
    connectionLimit: fc.integer({ min: 1, max: 1_000_000 }),
    publicAddress: anyAddress,
    hookAt: plainRecord({ address: anyAddress, port: anyPort }),
  },
  { requiredKeys: ['gateway', 'dns', 'forwards', 'healthAddress', 'probe'], noNullPrototype: true },
) satisfies fc.Arbitrary<PlanConfig>;

/** LAN_ALLOW and LAN_ALLOW_IN; a port of the latter has one container. */
export const anyLanAllowances: fc.Arbitrary<readonly LanAllowance[]> = fc
  .uniqueArray(
    fc.record({
      subnet: anySubnetUpTo(32).map(({ address, prefixBits }) => ({
        address: networkOf({ address, prefixBits }),
        prefixBits,
      })),
      transport: anyTransport,
      first: fc.integer({ min: 1, max: 65_000 }),
      count: fc.integer({ min: 1, max: 50 }),
      target: fc.option(anyAddress),
    }),
    { maxLength: 4, selector: ({ first }) => Math.floor(first / 100) },
  )
  .map((all) =>
    all.map(({ subnet, transport, first, count, target }) => ({
      subnet,
      transport,
      ports: { first: first as Port, last: (first + count - 1) as Port },
      ...(target === null ? {} : { target }),
    })),
  );

/** Docker and the kernel give interfaces any names in any order. */
const anyFacts: fc.Arbitrary<RouterFacts> = fc
  .record({
    names: fc.uniqueArray(fc.constantFrom('eth0', 'eth1', 'eth2', 'wan', 'br-lan'), { minLength: 2, maxLength: 2 }),
    cidr: anySubnetUpTo(32),
    gateway: anyAddress,
    openvpnUid: fc.integer({ min: 1, max: 65_534 }),
    canRejectBeforeRouting: fc.boolean(),
    has: fc.subarray([...extras]),
  })
  .map(({ names: [lan, uplink], cidr, gateway, openvpnUid, canRejectBeforeRouting, has }) => ({
    lan: { name: lan as IfName },
    uplink: { name: uplink as IfName, ipv4: { cidr, gateway } },
    tunName: 'tun0' as IfName,
    firewall: 'nft' as const,
    openvpnUid,
    extras: has,
    canRejectBeforeRouting,
  }));

const anyEndpoint: fc.Arbitrary<Endpoint> = plainRecord({
  address: anyAddress,
  port: anyPort,
  transport: anyTransport,
  profileIndex: fc.nat({ max: 7 }),
  remoteIndex: fc.nat({ max: 63 }),
});

const anyLink: fc.Arbitrary<TunnelLink> = plainRecord({
  name: fc.constant('tun0' as IfName),
  address: anyAddress,
  mtuBytes: fc.integer({ min: 68, max: 65_535 }),
  pushedDns: fc.uniqueArray(anyAddress, { maxLength: 3 }),
});

export const anyClosedPolicy: fc.Arbitrary<Policy> = fc.oneof(
  fc.constant<Policy>({ kind: 'lockdown' }),
  fc.constant<Policy>({ kind: 'resolve', scope: { kind: 'any' } }),
  fc
    .uniqueArray(anyAddress, { minLength: 1, maxLength: 3 })
    .map((servers): Policy => ({ kind: 'resolve', scope: { kind: 'servers', servers } })),
  anyEndpoint.map((endpoint): Policy => ({ kind: 'dial', endpoint })),
);

export const anyForwardPolicy = plainRecord({
  kind: fc.constant('forward' as const),
  endpoint: anyEndpoint,
  tun: anyLink,
}) satisfies fc.Arbitrary<Policy>;

/** Whatever a router may be told and find; two networks of one container that overlap are refused before any plan. */
export function anyContext(policy: fc.Arbitrary<Policy>): fc.Arbitrary<Context> {
  return plainRecord({ config: anyConfig, facts: anyFacts, policy }).filter(
    ({ config, facts }) => facts.uplink.ipv4 === undefined || !overlaps(config.gateway, facts.uplink.ipv4.cidr),
  );
}

/** As the kernel prints it; one that holds an IPv4 address is of no network. */
const anyIpv6 = fc
  .ipV6()
  .map((text) => parseIpv6(text))
  .filter((address): address is Ipv6 => address !== undefined && address !== '::' && address !== '::1');
const anySubnet6 = fc
  .tuple(anyIpv6, fc.integer({ min: 48, max: 126 }))
  .map(([address, prefixBits]): Ipv6Cidr => ({ address, prefixBits }));

/** One address, or two that follow each other: nft lists such in a set as a range, if it can. */
const anyUplinkIpv6 = fc
  .tuple(anySubnet6, fc.boolean())
  .map(
    ([cidr, hasNext]): OneOrMore<Ipv6Cidr> => [cidr, ...(hasNext ? [{ ...cidr, address: nextTo(cidr.address) }] : [])],
  );

function nextTo(address: Ipv6): Ipv6 {
  const parts = ipaddr.IPv6.parse(address).parts.with(7, (ipaddr.IPv6.parse(address).parts[7] ?? 0) ^ 1);
  return new ipaddr.IPv6(parts).toRFC5952String() as Ipv6;
}

/** The same with IPv6: on the uplink, and in clients' network and in the tunnel where the parts say so. */
export function anyIpv6Context(policy: fc.Arbitrary<Policy>): fc.Arbitrary<Context> {
  const parts = fc.record({
    gateway: fc.option(anySubnet6),
    uplink: plainRecord({ cidrs: anyUplinkIpv6, gateway: anyIpv6 }),
    link: fc.option(plainRecord({ address: anyIpv6, pushedDns: fc.uniqueArray(anyIpv6, { maxLength: 3 }) })),
    server: fc.option(anyIpv6),
    resolver: fc.option(anyIpv6),
    target: fc.option(anyIpv6),
  });
  return fc.tuple(anyContext(policy), parts).map(([{ config, facts, policy: plain }, given]) => {
    const { gateway, uplink, link, server, resolver, target } = given;
    const endpoint = 'endpoint' in plain && server !== null ? { endpoint: { ...plain.endpoint, address: server } } : {};
    const tun = plain.kind === 'forward' && link !== null ? { tun: { ...plain.tun, ipv6: link } } : {};
    const dns = config.dns.kind === 'servers' && resolver !== null ? [...config.dns.servers, resolver] : undefined;
    return {
      config: {
        ...config,
        ...(gateway === null ? {} : { ipv6: { gateway } }),
        ...(dns === undefined ? {} : { dns: { kind: 'servers' as const, servers: dns as [Ipv4 | Ipv6] } }),
        forwards: config.forwards.map((forward, index) =>
          index === 0 && target !== null ? { ...forward, target } : forward,
        ),
      },
      facts: { ...facts, uplink: { ...facts.uplink, ipv6: uplink } },
      policy: { ...plain, ...endpoint, ...tun } as Policy,
    };
  });
}

/** A record as our own code makes it; fast-check also makes such without a prototype, which deepEqual tells apart. */
function plainRecord<T extends object>(parts: { readonly [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record<T>(parts, { noNullPrototype: true });
}
