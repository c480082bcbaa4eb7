import { readFileSync } from 'node:fs';
import { contains, parseIpv4 } from '../net/address.ts';
import { resolveHost } from '../system/resolve.ts';
import type { EndpointSource } from '../tunnel/machine.ts';
import type { Endpoint, ResolverScope } from '../tunnel/policy.ts';
import type { RouterSetup } from './router-setup.ts';

/** Addresses as they stand in the profile, or names that have to be looked up before every round. */
export function endpointSource(setup: RouterSetup): EndpointSource {
  const endpoints = literalEndpoints(setup);
  const [first, ...others] = endpoints;
  if (first !== undefined && endpoints.length === setup.profile.remotes.length) {
    return { kind: 'addresses', endpoints: [first, ...others] };
  }
  return { kind: 'names', scope: resolverScope(readFileSync('/etc/resolv.conf', 'utf8')) };
}

function literalEndpoints({ profile }: RouterSetup): readonly Endpoint[] {
  const endpoints = profile.remotes.flatMap((remote, remoteIndex) => {
    const address = parseIpv4(remote.host);
    return address === undefined ? [] : [{ address, port: remote.port, transport: remote.transport, remoteIndex }];
  });
  return profile.remoteOrder === 'random' ? shuffle(endpoints) : endpoints;
}

/** Docker's resolver on loopback hides which servers it asks; up to Docker 27 it asks from this namespace. */
function resolverScope(resolvConf: string): ResolverScope {
  const servers = [...resolvConf.matchAll(/^\s*nameserver\s+(\S+)/gm)].flatMap(
    ([, server = '']) => parseIpv4(server) ?? [],
  );
  const isHidden = servers.length === 0 || servers.some((server) => server.startsWith('127.'));
  return isHidden ? { kind: 'any' } : { kind: 'servers', servers };
}

/** All addresses of all names, in the profile's order; what could not be resolved is a problem, not an error. */
export async function resolveRemotes({
  config,
  profile,
}: RouterSetup): Promise<{ readonly endpoints: readonly Endpoint[]; readonly problems: readonly string[] }> {
  const found = await Promise.all(
    profile.remotes.map(async (remote, remoteIndex) => {
      const resolution = await resolveHost(remote.host);
      if (resolution.kind === 'problem') return resolution.text;
      const addresses = resolution.addresses.filter((address) => !contains(config.gateway, address));
      if (addresses.length === 0) return `${remote.host} is inside the isolated network`;
      return addresses.map((address) => ({ address, port: remote.port, transport: remote.transport, remoteIndex }));
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
