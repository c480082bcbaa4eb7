import type { Fault } from '../errors.ts';
import { parseAddress, parseSubnet } from './address.ts';
import type { AllowEntry, ForwardEntry } from './host-config.ts';
import type { AddressEntry, NetworkEntry, NetworksFile, PolicyEntry } from './networks-file.ts';
import type { KnownAddress } from './resolve-networks.ts';
import type { Protocol } from './resource.ts';
import type { DockerContainer, DockerSnapshot } from './snapshot.ts';

/** Policies of `networks.json` in the words of the host file, which are looked up as if they stood there. */
export interface TranslatedPolicies {
  readonly allow: readonly AllowEntry[];
  readonly forwards: readonly ForwardEntry[];
  readonly inside: readonly InsideEntry[];
  readonly faults: readonly Fault[];
}

/** A translation in a container's own namespace. */
export interface InsideEntry {
  readonly place: string;
  readonly container: DockerContainer;
  readonly to: { readonly container: DockerContainer; readonly networks: readonly string[] };
  readonly protocol: Protocol;
  readonly port: number;
}

/** Translates policies; see `lookUp` for whom a name means. */
export function translatePolicies(file: NetworksFile, lookup: Lookup): TranslatedPolicies {
  const { docker } = lookup;
  const allow: AllowEntry[] = [];
  const forwards: ForwardEntry[] = [];
  const inside: InsideEntry[] = [];
  const faults: Fault[] = [];
  const sideOf = (names: readonly string[], side: 'from' | 'to'): readonly string[] => {
    const meant = lookUp(names, file, lookup);
    if (meant.kind === 'network') return [meant.network.subnet.text];
    if (meant.kind === 'docker') return [meant.name];
    const texts = meant.addresses.flatMap(({ entry, container }) => [
      entry.address.text,
      // It sends by whichever of its networks is its way there.
      ...(side === 'from' ? (container?.endpoints ?? []).map(({ ipv4 }) => ipv4).filter((text) => text !== '') : []),
    ]);
    return [...new Set(texts)];
  };
  /** The one container that is meant, and networks where it has an address of the file. */
  const containerOf = ({ place }: PolicyEntry, names: readonly string[]) => {
    const meant = lookUp(names, file, lookup);
    const addresses = meant.kind === 'addresses' ? meant.addresses : [];
    const called = addresses.map(({ entry, container }) => container?.name ?? entry.container ?? entry.selector);
    const [name = meant.kind === 'docker' ? meant.name : undefined, ...others] = new Set(called);
    const container = docker.containers.find((one) => one.name === name);
    if (container !== undefined && others.length === 0) {
      return { container, networks: addresses.map(({ network }) => network.name) };
    }
    const isNobody = others.length === 0;
    faults.push({
      name: place,
      value: names.join(' '),
      problem: isNobody ? 'no running container is meant by it' : `it may be any of ${[name, ...others].join(', ')}`,
      hint: isNobody ? 'start it, or correct the name' : 'write the whole name',
    });
    return undefined;
  };
  for (const policy of file.policies) {
    const { place, protocol, port } = policy;
    if (policy.kind === 'allow') {
      const transport = { ...(protocol && { protocol }), ...(port && { port }) };
      const sources = sideOf([policy.from], 'from');
      allow.push(
        ...sideOf(policy.to, 'to').flatMap((to) => sources.map((from) => ({ place, from, to, ...transport }))),
      );
      continue;
    }
    const to = containerOf(policy, policy.to);
    const within = policy.kind === 'inside' ? containerOf(policy, policy.inside)?.container : undefined;
    if (to === undefined) continue;
    const transport = { protocol: protocol ?? 'tcp', port: policy.port } as const;
    if (within !== undefined) inside.push({ place, container: within, to, ...transport });
    if (policy.kind !== 'on-interface') continue;
    const [network] = to.networks;
    forwards.push({
      place,
      interface: policy.interface,
      port: policy.port,
      protocols: [transport.protocol],
      to: { container: to.container.name, port: policy.port, ...(network === undefined ? {} : { network }) },
      hairpin: false,
    });
  }
  return { allow, forwards, inside, faults };
}

interface Lookup {
  readonly addresses: readonly KnownAddress[];
  readonly docker: DockerSnapshot;
}

type Meant =
  | { readonly kind: 'addresses'; readonly addresses: readonly KnownAddress[] }
  | { readonly kind: 'network'; readonly network: NetworkEntry }
  /** A name or address as it is, for Docker or the kernel. Nobody may have it. */
  | { readonly kind: 'docker'; readonly name: string };

/**
 * Whole names before beginnings: an entry of `ips` (by its address, `container_name`, then `selector`), a network of the
 * file, what Docker has; then entries of `ips` whose `container_name`, or else `selector`, begins so. A name of the file
 * whose address somebody else has is not taken for the beginning of another one.
 */
function lookUp(names: readonly string[], { ips, networks }: NetworksFile, { addresses, docker }: Lookup): Meant {
  const known = (entries: readonly AddressEntry[]) => addresses.filter(({ entry }) => entries.includes(entry));
  const asIs = (name: string | undefined): Meant => ({ kind: 'docker', name: name ?? names[0] ?? '' });
  const inDocker = names.find((name) => isKnown(name, docker));
  const whole = findFirst(names, [
    (name) => ips.filter(({ address }) => address.text === name),
    (name) => ips.filter(({ container }) => container === name),
    (name) => ips.filter(({ selector }) => selector === name),
  ]);
  if (whole.length > 0) {
    const found = known(whole);
    return found.length > 0 ? { kind: 'addresses', addresses: found } : asIs(inDocker);
  }
  const network = networks.find(({ key, name }) => names.includes(key) || names.includes(name));
  if (network !== undefined) return { kind: 'network', network };
  if (inDocker !== undefined) return asIs(inDocker);
  const begun = findFirst(names, [
    (name) => ips.filter(({ container }) => container?.startsWith(name)),
    (name) => ips.filter(({ selector }) => selector?.startsWith(name)),
  ]);
  const found = known(begun);
  return found.length > 0 ? { kind: 'addresses', addresses: found } : asIs(undefined);
}

function findFirst(
  names: readonly string[],
  ways: readonly ((name: string) => readonly AddressEntry[])[],
): readonly AddressEntry[] {
  for (const way of ways) {
    for (const name of names) {
      const found = way(name);
      if (found.length > 0) return found;
    }
  }
  return [];
}

function isKnown(name: string, { containers, networks }: DockerSnapshot): boolean {
  if (parseAddress(name) !== undefined || parseSubnet(name) !== undefined) return true;
  return [...containers, ...networks].some((one) => one.name === name);
}
