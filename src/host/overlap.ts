import type { Fault } from '../errors.ts';
import { overlaps, parseSubnet } from './address.ts';
import { subnetsOf } from './resolve-bridges.ts';
import type { Forward, RoutedBridge, Subnet } from './resource.ts';
import type { DockerSnapshot, HostLink } from './snapshot.ts';

/** A network that this role has to do with. */
export interface UsedNetwork {
  readonly place: string;
  readonly name: string;
  /** Empty: Docker has yet to make it. */
  readonly bridge: string;
  readonly subnets: readonly Subnet[];
}

interface Surroundings {
  readonly docker: DockerSnapshot;
  readonly links: readonly HostLink[];
}

/** Networks that are shut or that something is forwarded into, each once. */
export function findUsed(
  bridges: readonly RoutedBridge[],
  forwards: readonly Forward[],
  { networks }: DockerSnapshot,
): readonly UsedNetwork[] {
  const used = new Map<string, UsedNetwork>();
  for (const { network: name, bridge, subnets, origin } of bridges) {
    used.set(bridge, { place: origin.place, name, bridge, subnets });
  }
  for (const { origin, to } of forwards) {
    const network = used.has(to.bridge) ? undefined : networks.find(({ bridge }) => bridge === to.bridge);
    if (network === undefined) continue;
    used.set(to.bridge, { place: origin.place, name: network.name, bridge: to.bridge, subnets: subnetsOf(network) });
  }
  return [...used.values()];
}

/** Those that share addresses with another network, or with an interface of the machine: packets for the one go astray. */
export function findOverlaps(used: readonly UsedNetwork[], { docker, links }: Surroundings): readonly Fault[] {
  if (used.length === 0) return [];
  const bridges = docker.networks.filter(({ driver }) => driver === 'bridge');
  const others = [
    ...bridges.map((one) => ({ bridge: one.bridge, label: `the network ${one.name}`, subnets: subnetsOf(one) })),
    ...links
      .filter(({ name }) => !bridges.some(({ bridge }) => bridge === name))
      .map(({ name, addresses }) => {
        // Each link of IPv6 has a link-local one, a thousand containers a thousand.
        const routed = addresses.filter((text) => !text.startsWith('fe80:'));
        const subnets = routed.flatMap((text) => parseSubnet(text) ?? []);
        return { bridge: name, label: `the interface ${name}`, subnets };
      }),
  ];
  return used.flatMap(({ place, name, bridge, subnets }) =>
    others.flatMap((other) => {
      const pairs = subnets.flatMap((own) => other.subnets.map((theirs) => ({ own, theirs })));
      const found = other.bridge === bridge ? undefined : pairs.find(({ own, theirs }) => overlaps(own, theirs));
      if (found === undefined) return [];
      return [
        {
          name: place,
          value: found.own.text,
          problem: `the subnet of the network ${name} overlaps with ${found.theirs.text} of ${other.label}`,
          hint: 'give one of them other addresses: packets for the one may go to the other',
        },
      ];
    }),
  );
}
