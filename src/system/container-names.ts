import { Resolver } from 'node:dns/promises';
import { readFileSync } from 'node:fs';
import { type Ip, type IpFamily, parseIp } from '../net/address.ts';
import type { ContainerName } from '../net/container-name.ts';

export const dockerResolver = '127.0.0.11';
const answerMs = 1_000;

/** Where a container is. `unknown`: nobody answered, so it is where it was. */
export type Whereabouts = { readonly kind: 'at'; readonly addresses: readonly Ip[] } | { readonly kind: 'unknown' };

/**
 * What Docker's resolver does with a name of one word that it does not know: nothing, with `dns_opt: [ndots:1]`, or
 * it asks other resolvers, from Docker 28 on in the machine's own network (libnetwork, resolver.go: NdotsSet). `none`: it
 * is not there.
 */
export function observeDockerResolver(): 'keeps' | 'passes-on' | 'none' {
  const text = readFileSync('/etc/resolv.conf', 'utf8');
  if (!/^\s*nameserver\s+127\.0\.0\.11\s*$/m.test(text)) return 'none';
  return /^\s*options\s(.*\s)?ndots:[1-9]/m.test(text) ? 'keeps' : 'passes-on';
}

/** Asks Docker's resolver, and nobody else, where containers are; no address when one is absent. Takes a second at most. */
export async function findContainers(
  names: readonly ContainerName[],
  families: readonly IpFamily[],
): Promise<ReadonlyMap<ContainerName, Whereabouts>> {
  // A new resolver each time: it would answer again from its cache.
  const resolver = new Resolver({ timeout: answerMs, tries: 1 });
  resolver.setServers([dockerResolver]);
  const deadline = setTimeout(() => resolver.cancel(), answerMs);
  const ask = async (name: ContainerName, family: IpFamily): Promise<readonly Ip[] | undefined> => {
    try {
      const answers = await (family === 'ipv4' ? resolver.resolve4(name) : resolver.resolve6(name));
      return answers.flatMap((address) => parseIp(address) ?? []);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error)) throw error;
      return error.code === 'ENODATA' || error.code === 'ENOTFOUND' ? [] : undefined;
    }
  };
  const found = await Promise.all(
    names.map(async (name) => {
      const answers = await Promise.all(families.map((family) => ask(name, family)));
      const addresses = answers.flatMap((answer) => answer ?? []);
      const isKnown = answers.every((answer) => answer !== undefined);
      const where: Whereabouts = isKnown ? { kind: 'at', addresses } : { kind: 'unknown' };
      return [name, where] as const;
    }),
  );
  clearTimeout(deadline);
  return new Map(found);
}
