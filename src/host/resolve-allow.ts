import type { Fault } from '../errors.ts';
import { asSubnet, parseAddress, parseSubnet } from './address.ts';
import type { AllowEntry } from './host-config.ts';
import { subnetsOf } from './resolve-bridges.ts';
import type { Allow, Subnet } from './resource.ts';
import type { DockerSnapshot } from './snapshot.ts';

/** Looks up who may talk to whom. */
export function resolveAllow(
  entries: readonly AllowEntry[],
  docker: DockerSnapshot,
): { readonly resources: readonly Allow[]; readonly faults: readonly Fault[] } {
  const faults: Fault[] = [];
  const resources = entries.flatMap((entry): readonly Allow[] => {
    const [from, to] = [entry.from, entry.to].map((side) => {
      const subnets = resolveSide(side, docker);
      if (subnets.length === 0) {
        faults.push({
          name: entry.place,
          value: side,
          problem: 'no running container, no network and no address is meant by it',
          hint: 'name a container, a network, an address or a subnet',
        });
      }
      return subnets;
    });
    if (from === undefined || to === undefined || from.length === 0 || to.length === 0) return [];
    const { protocol, port } = entry;
    const transport =
      protocol === undefined ? {} : { transport: { protocol, ...(port === undefined ? {} : { port }) } };
    return [
      {
        kind: 'allow',
        origin: { place: entry.place, id: `allow ${entry.from} to ${entry.to}` },
        from,
        to,
        ...transport,
      },
    ];
  });
  return { resources, faults };
}

function resolveSide(side: string, { containers, networks }: DockerSnapshot): readonly Subnet[] {
  const address = parseAddress(side);
  if (address !== undefined) return [asSubnet(address)];
  const subnet = parseSubnet(side);
  if (subnet !== undefined) return [subnet];
  const container = containers.find(({ name, id }) => name === side || id === side);
  if (container !== undefined) {
    return container.endpoints.flatMap(({ ipv4, ipv6 }) =>
      [ipv4, ipv6].flatMap((text) => {
        const own = parseAddress(text);
        return own === undefined ? [] : [asSubnet(own)];
      }),
    );
  }
  const network = networks.find(({ name, id }) => name === side || id === side);
  return network === undefined ? [] : subnetsOf(network);
}
