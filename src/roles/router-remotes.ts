import { readFileSync } from 'node:fs';
import type { RouterConfig } from '../config/router-config.ts';
import { contains, familyOf, type Ip, type IpFamily, parseIp } from '../net/address.ts';
import type { OneOrMore } from '../one-or-more.ts';
import { firstHop, type Profile } from '../openvpn/profile.ts';
import type { RouterFacts } from '../plan/facts.ts';
import { openvpnUid } from '../system/openvpn.ts';
import { resolveHost, resolveHostAs } from '../system/resolve.ts';
import type { EndpointSource, ListedProfile } from '../tunnel/failover.ts';
import type { Endpoint, ResolverScope } from '../tunnel/policy.ts';
import type { ProfileSetup, RouterSetup } from './router-setup.ts';

/** The profiles in their order, each with where its endpoints come from. */
export function listProfiles({
  config,
  profiles,
  facts,
}: Pick<RouterSetup, 'config' | 'profiles' | 'facts'>): OneOrMore<ListedProfile> {
  const listed = ({ profile }: ProfileSetup, index: number) => ({
    name: profile.name,
    source: endpointSource(profile, index, { families: uplinkFamilies(facts), config }),
  });
  const [first, ...others] = profiles;
  return [listed(first, 0), ...others.map((other, index) => listed(other, index + 1))];
}

/** The families that the uplink has addresses of, IPv4 first. */
function uplinkFamilies({ uplink }: Pick<RouterFacts, 'uplink'>): readonly IpFamily[] {
  return [
    ...(uplink.ipv4 === undefined ? [] : ['ipv4' as const]),
    ...(uplink.ipv6 === undefined ? [] : ['ipv6' as const]),
  ];
}

/** Addresses as they stand in the profile, or names that have to be looked up before every round. */
function endpointSource(
  profile: Profile,
  profileIndex: number,
  { families, config }: { readonly families: readonly IpFamily[]; readonly config: Pick<RouterConfig, 'isSidecar'> },
): EndpointSource {
  if (profile.remotes.some((remote) => parseIp(firstHop(remote).host) === undefined)) {
    return { kind: 'names', scope: observeResolverScope(config) };
  }
  const endpoints = literalEndpoints(profile, profileIndex);
  // Where the uplink has lost a family the attempt fails for want of a way, which says more than nothing to try.
  const [first, ...others] = endpoints.filter(({ address }) => families.includes(familyOf(address)));
  if (first !== undefined) return { kind: 'addresses', endpoints: [first, ...others] };
  const [anything, ...more] = endpoints;
  if (anything !== undefined) return { kind: 'addresses', endpoints: [anything, ...more] };
  return { kind: 'names', scope: { kind: 'any' } };
}

function literalEndpoints(profile: Profile, profileIndex: number): readonly Endpoint[] {
  const endpoints = profile.remotes.flatMap((remote, remoteIndex) => {
    const { host, port, transport } = firstHop(remote);
    const address = parseIp(host);
    return address === undefined ? [] : [{ address, port, transport, profileIndex, remoteIndex }];
  });
  return profile.remoteOrder === 'random' ? shuffle(endpoints) : endpoints;
}

/**
 * Docker's resolver on loopback hides which servers it asks; up to Docker 27 it asks from this namespace. There a sidecar
 * lets nobody through who cannot be told from other processes: the resolver has to ask from the machine, or not at all.
 */
export function observeResolverScope({ isSidecar }: Pick<RouterConfig, 'isSidecar'>): ResolverScope {
  const resolvConf = readFileSync('/etc/resolv.conf', 'utf8');
  const servers = [...resolvConf.matchAll(/^\s*nameserver\s+(\S+)/gm)].flatMap(
    ([, server = '']) => parseIp(server) ?? [],
  );
  if (isSidecar) return { kind: 'servers', servers: servers.filter((server) => !server.startsWith('127.')) };
  const isHidden = servers.length === 0 || servers.some((server) => server.startsWith('127.'));
  return isHidden ? { kind: 'any' } : { kind: 'servers', servers };
}

/** All addresses of all names, in the profile's order; what could not be resolved is a problem, not an error. */
export async function resolveRemotes(
  { config, profiles, facts }: Pick<RouterSetup, 'config' | 'profiles' | 'facts'>,
  profileIndex: number,
): Promise<{ readonly endpoints: readonly Endpoint[]; readonly problems: readonly string[] }> {
  const { profile } = profiles[profileIndex] ?? profiles[0];
  const families = uplinkFamilies(facts);
  // Among a sidecar's processes root may be anybody.
  const lookUp = (host: string, asked: readonly IpFamily[]) =>
    config.isSidecar ? resolveHostAs(openvpnUid, host, asked) : resolveHost(host, asked);
  const found = await Promise.all(
    profile.remotes.map(async (remote, remoteIndex) => {
      const { host, port, transport, family } = firstHop(remote);
      const asked = families.filter((each) => family === undefined || each === family);
      const resolution = asked.length === 0 ? noFamily(host) : await lookUp(host, asked);
      if (resolution.kind === 'problem') return resolution.text;
      const isInside = (address: Ip) =>
        contains(config.gateway, address) || (config.ipv6 !== undefined && contains(config.ipv6.gateway, address));
      const outside = resolution.addresses.filter((address) => !isInside(address));
      if (outside.length === 0) return `${host} is inside the isolated network`;
      const addresses = outside.filter((address) => families.includes(familyOf(address)));
      if (addresses.length === 0) return noFamily(host).text;
      return addresses.map((address) => ({ address, port, transport, profileIndex, remoteIndex }));
    }),
  );
  const endpoints = found.flatMap((result) => (typeof result === 'string' ? [] : result));
  return {
    endpoints: profile.remoteOrder === 'random' ? shuffle(endpoints) : endpoints,
    problems: found.filter((result) => typeof result === 'string'),
  };
}

function noFamily(host: string): { readonly kind: 'problem'; readonly text: string } {
  return { kind: 'problem', text: `${host} is meant for an IP version that the uplink has no address of` };
}

function shuffle<T>(values: readonly T[]): readonly T[] {
  return values
    .map((value) => ({ value, key: Math.random() }))
    .sort((one, other) => one.key - other.key)
    .map(({ value }) => value);
}
