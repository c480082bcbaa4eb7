import { readFileSync } from 'node:fs';
import { contains, parseIpv4 } from '../net/address.ts';
import type { OneOrMore } from '../one-or-more.ts';
import { firstHop, type Profile } from '../openvpn/profile.ts';
import { resolveHost } from '../system/resolve.ts';
import type { EndpointSource, ListedProfile } from '../tunnel/failover.ts';
import type { Endpoint, ResolverScope } from '../tunnel/policy.ts';
import type { ProfileSetup, RouterSetup } from './router-setup.ts';

/** The profiles in their order, each with where its endpoints come from. */
export function listProfiles({ profiles }: Pick<RouterSetup, 'profiles'>): OneOrMore<ListedProfile> {
  const listed = ({ profile }: ProfileSetup, index: number) => ({
    name: profile.name,
    source: endpointSource(profile, index),
  });
  const [first, ...others] = profiles;
  return [listed(first, 0), ...others.map((other, index) => listed(other, index + 1))];
}

/** Addresses as they stand in the profile, or names that have to be looked up before every round. */
function endpointSource(profile: Profile, profileIndex: number): EndpointSource {
  const endpoints = literalEndpoints(profile, profileIndex);
  const [first, ...others] = endpoints;
  if (first !== undefined && endpoints.length === profile.remotes.length) {
    return { kind: 'addresses', endpoints: [first, ...others] };
  }
  return { kind: 'names', scope: observeResolverScope() };
}

function literalEndpoints(profile: Profile, profileIndex: number): readonly Endpoint[] {
  const endpoints = profile.remotes.flatMap((remote, remoteIndex) => {
    const { host, port, transport } = firstHop(remote);
    const address = parseIpv4(host);
    return address === undefined ? [] : [{ address, port, transport, profileIndex, remoteIndex }];
  });
  return profile.remoteOrder === 'random' ? shuffle(endpoints) : endpoints;
}

/** Docker's resolver on loopback hides which servers it asks; up to Docker 27 it asks from this namespace. */
export function observeResolverScope(): ResolverScope {
  const resolvConf = readFileSync('/etc/resolv.conf', 'utf8');
  const servers = [...resolvConf.matchAll(/^\s*nameserver\s+(\S+)/gm)].flatMap(
    ([, server = '']) => parseIpv4(server) ?? [],
  );
  const isHidden = servers.length === 0 || servers.some((server) => server.startsWith('127.'));
  return isHidden ? { kind: 'any' } : { kind: 'servers', servers };
}

/** All addresses of all names, in the profile's order; what could not be resolved is a problem, not an error. */
export async function resolveRemotes(
  { config, profiles }: Pick<RouterSetup, 'config' | 'profiles'>,
  profileIndex: number,
): Promise<{ readonly endpoints: readonly Endpoint[]; readonly problems: readonly string[] }> {
  const { profile } = profiles[profileIndex] ?? profiles[0];
  const found = await Promise.all(
    profile.remotes.map(async (remote, remoteIndex) => {
      const { host, port, transport } = firstHop(remote);
      const resolution = await resolveHost(host);
      if (resolution.kind === 'problem') return resolution.text;
      const addresses = resolution.addresses.filter((address) => !contains(config.gateway, address));
      if (addresses.length === 0) return `${host} is inside the isolated network`;
      return addresses.map((address) => ({ address, port, transport, profileIndex, remoteIndex }));
    }),
  );
  const endpoints = found.flatMap((result) => (typeof result === 'string' ? [] : result));
  return {
    endpoints: profile.remoteOrder === 'random' ? shuffle(endpoints) : endpoints,
    problems: found.filter((result) => typeof result === 'string'),
  };
}

function shuffle<T>(values: readonly T[]): readonly T[] {
  return values
    .map((value) => ({ value, key: Math.random() }))
    .sort((one, other) => one.key - other.key)
    .map(({ value }) => value);
}
