import type { PortForward, RouterConfig } from '../config/router-config.ts';
import { contains, type IfName, type Ipv4, type Ipv6, isIpv4, isIpv6, type Port } from '../net/address.ts';
import type { OneOrMore } from '../one-or-more.ts';
import type { Match } from '../ruleset/model.ts';
import type { Endpoint, Policy, TunnelLink, TunnelPolicy } from '../tunnel/policy.ts';
import type { RouterFacts, UplinkIpv6 } from './facts.ts';

/** The settings that shape a plan. */
export type PlanConfig = Pick<
  RouterConfig,
  | 'isSidecar'
  | 'gateway'
  | 'ipv6'
  | 'dns'
  | 'localResolver'
  | 'forwards'
  | 'hairpin'
  | 'healthAddress'
  | 'probe'
  | 'lanAllowances'
  | 'mtuBytes'
  | 'mssBytes'
  | 'connectionLimit'
> &
  LiveForwards;

/** What of the forwards is found out while the router runs. */
export interface LiveForwards {
  /** Those by address, and those by name to where the container is now. */
  readonly forwards: readonly PortForward[];
  /** The tunnel's address as the world sees it, where the provider told it. */
  readonly publicAddress?: Ipv4;
  /** The container that is told the provider's port. */
  readonly hookAt?: { readonly address: Ipv4; readonly port: Port };
}

/** What every part of a plan is computed from. */
export interface Context {
  readonly config: PlanConfig;
  readonly facts: RouterFacts;
  readonly policy: Policy;
}

type DnsConfig = Pick<PlanConfig, 'dns' | 'gateway' | 'localResolver'>;

/**
 * The IPv4 resolvers beyond the tunnel: the configured ones, or what the server pushed outside the isolated network and
 * DNS_LOCAL.
 */
export function upstreamResolvers({ dns, gateway, localResolver }: DnsConfig, tun: TunnelLink): readonly Ipv4[] {
  if (dns.kind === 'servers') return dns.servers.filter(isIpv4);
  if (dns.kind === 'tls') return dns.servers.map(({ address }) => address);
  const beside = localResolver?.zones.map(({ address }) => address) ?? [];
  return tun.pushedDns.filter((address) => !contains(gateway, address) && !beside.includes(address));
}

/** Those that clients ask themselves: none where the router's own resolver does it for them. */
export function enforcedResolvers(config: DnsConfig, tun: TunnelLink): readonly Ipv4[] {
  return config.localResolver === undefined ? upstreamResolvers(config, tun) : [];
}

/** The same for IPv6, while the tunnel carries it. */
export function enforcedIpv6Resolvers(
  config: Pick<PlanConfig, 'dns' | 'ipv6' | 'localResolver'>,
  tun: TunnelLink,
): readonly Ipv6[] {
  const { dns, ipv6, localResolver } = config;
  const link = ipv6Of(config, tun);
  if (ipv6 === undefined || link === undefined || localResolver !== undefined || dns.kind === 'tls') return [];
  if (dns.kind === 'servers') return dns.servers.filter(isIpv6);
  return link.pushedDns.filter((address) => !contains(ipv6.gateway, address));
}

/** The IPv6 of a tunnel, where the user wants it and the server gave it. */
export function ipv6Of({ ipv6 }: Pick<PlanConfig, 'ipv6'>, tun: TunnelLink): TunnelLink['ipv6'] {
  return ipv6 === undefined ? undefined : tun.ipv6;
}

/** The uplink's IPv6 while OpenVPN or a look-up of its server's name needs it; without that, none passes there. */
export function uplinkIpv6InUse({ facts, policy }: Pick<Context, 'facts' | 'policy'>): UplinkIpv6 | undefined {
  const asks = partsOf(policy).some(
    (part) => part.kind === 'resolve' && (part.scope.kind === 'any' || part.scope.servers.some(isIpv6)),
  );
  const dials = endpointsOf(policy).some(({ address }) => isIpv6(address));
  return asks || dials ? facts.uplink.ipv6 : undefined;
}

/**
 * Where a probe may go to prove the tunnel. The router itself cannot reach two addresses through it: the VPN server's
 * own and the uplink's gateway, because the way to them is the uplink.
 */
export function probeAddresses({
  config,
  facts,
  endpoint,
  tun,
}: Pick<Context, 'config' | 'facts'> & { readonly endpoint: Endpoint; readonly tun: TunnelLink }): readonly Ipv4[] {
  const addresses = config.probe.kind === 'tcp' ? [config.probe.address] : upstreamResolvers(config, tun);
  return addresses.filter((address) => address !== endpoint.address && address !== facts.uplink.ipv4?.gateway);
}

/** True for 127.0.0.0/8. */
export function isLoopback(address: Ipv4): boolean {
  return address.startsWith('127.');
}

/** What each tunnel needs: the one that carries clients, or would, and the one that stands by. */
export function partsOf({ standby, ...policy }: Policy): readonly TunnelPolicy[] {
  return standby === undefined ? [policy] : [policy, standby];
}

/** The servers that may be talked to, one for each tunnel that dials or is up. */
export function endpointsOf(policy: Policy): readonly Endpoint[] {
  return partsOf(policy).flatMap((part) => (part.kind === 'dial' || part.kind === 'forward' ? part.endpoint : []));
}

/** The tunnels that are up, whether or not clients are in them. */
export function linksOf(policy: Policy): readonly TunnelLink[] {
  return partsOf(policy).flatMap((part) => (part.kind === 'forward' ? part.tun : []));
}

/** Every tunnel's device. */
export function tunNamesOf({ tunName, standbyTunName }: RouterFacts): OneOrMore<IfName> {
  return standbyTunName === undefined ? [tunName] : [tunName, standbyTunName];
}

/** DNS over both transports. */
export function dnsTraffic(side: 'source' | 'destination'): Match {
  return { kind: 'transport', transports: ['tcp', 'udp'], port: { side, number: 53 } };
}

/**
 * Who may ask for the VPN server's name on the uplink. A sidecar shares its network namespace with others, root among
 * them, so that it asks as OpenVPN's user. A router has it to itself, and Docker's resolver asks there as whoever Docker
 * is (with `userns-remap` nobody whom the namespace knows).
 */
export function resolvingUser({ config, facts }: Pick<Context, 'config' | 'facts'>): readonly Match[] {
  return config.isSidecar ? [{ kind: 'socket-uid', uid: facts.openvpnUid }] : [];
}
