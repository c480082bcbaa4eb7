import type { RouterConfig } from '../config/router-config.ts';
import { contains, type Ipv4 } from '../net/address.ts';
import type { Match, OneOrMore } from '../ruleset/model.ts';
import type { Endpoint, Policy, TunnelLink } from '../tunnel/policy.ts';
import type { RouterFacts } from './facts.ts';

/** The settings that shape a plan. */
export type PlanConfig = Pick<RouterConfig, 'gateway' | 'dns' | 'forwards' | 'healthAddress' | 'probe' | 'mssBytes'>;

/** What every part of a plan is computed from. */
export interface Context {
  readonly config: PlanConfig;
  readonly facts: RouterFacts;
  readonly policy: Policy;
}

/** The resolvers that clients get: the configured ones, or what the server pushed outside the isolated network. */
export function enforcedResolvers(
  { dns, gateway }: Pick<PlanConfig, 'dns' | 'gateway'>,
  tun: TunnelLink,
): readonly Ipv4[] {
  return dns.kind === 'servers' ? dns.servers : tun.pushedDns.filter((address) => !contains(gateway, address));
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
  const addresses = config.probe.kind === 'tcp' ? [config.probe.address] : enforcedResolvers(config, tun);
  return addresses.filter((address) => address !== endpoint.address && address !== facts.uplink.gateway);
}

/** True for 127.0.0.0/8. */
export function isLoopback(address: Ipv4): boolean {
  return address.startsWith('127.');
}

/** The one server that may be talked to, in the states that have one. */
export function endpointOf(policy: Policy): Endpoint | undefined {
  return policy.kind === 'dial' || policy.kind === 'forward' ? policy.endpoint : undefined;
}

/** DNS over both transports. */
export function dnsTraffic(side: 'source' | 'destination'): Match {
  return { kind: 'transport', transports: ['tcp', 'udp'], port: { side, number: 53 } };
}

/** Narrows a list for matches that need a value. */
export function isNonEmpty<T>(values: readonly T[]): values is OneOrMore<T> {
  return values.length > 0;
}
