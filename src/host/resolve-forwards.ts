import type { Fault } from '../errors.ts';
import { isDevice, isLoopback, isUnspecified, isWithin, parseAddress } from './address.ts';
import type { ForwardEntry, HostConfig, PublishedEntry } from './host-config.ts';
import { subnetsOf } from './resolve-bridges.ts';
import type { Address, Forward, ForwardSource, Subnet } from './resource.ts';
import type { DockerContainer, DockerNetwork, DockerSnapshot, HostSnapshot, PublishedPort } from './snapshot.ts';
import { findIsolated, labels } from './wanted-networks.ts';

/** A place where a container can be reached from this machine. */
export interface Reach {
  readonly network: DockerNetwork;
  readonly address: Address;
  readonly isReflected: boolean;
  /** Of the network, of the address's family. */
  readonly subnets: readonly Subnet[];
}

/**
 * Forwards that the host file lists, then those that are translated for a bridge, then one for each published port; where
 * two want one port, the first has it.
 */
export function resolveForwards(
  config: HostConfig,
  { translated, docker, kernel }: HostSnapshot & { readonly translated: readonly Forward[] },
): { readonly resources: readonly Forward[]; readonly faults: readonly Fault[] } {
  const { containers } = docker;
  // What goes there from this machine is dropped.
  const isolated = findIsolated(config, docker.networks).map(({ network }) => network);
  const open = docker.networks.filter((network) => !isolated.includes(network));
  const snapshot = { docker: { ...docker, networks: open }, kernel };
  const faults: Fault[] = [];
  const wanted = [
    ...config.forwards.flatMap((entry) => resolveEntry(entry, snapshot, faults)),
    ...translated,
    ...containers.flatMap((container) => resolvePublished(container, config.published, snapshot, faults)),
  ];
  return { resources: dropConflicts(wanted, faults), faults };
}

function resolveEntry(entry: ForwardEntry, snapshot: HostSnapshot, faults: Fault[]): readonly Forward[] {
  const { place, to } = entry;
  const container = snapshot.docker.containers.find(({ name, id }) => name === to.container || id === to.container);
  const refuse = (value: string, problem: string, hint: string) => {
    faults.push({ name: place, value, problem, hint });
    return [];
  };
  if (container === undefined) {
    return refuse(to.container, 'no running container has that name', 'start it, or correct the name');
  }
  const address = entry.address === undefined ? undefined : parseAddress(entry.address);
  const reaches = findReaches(container, snapshot, to.network);
  const reach = reaches.find((one) => address === undefined || one.address.family === address.family);
  if (reach === undefined) {
    return refuse(
      to.network ?? to.container,
      'the container has no network by which this machine could reach it',
      'attach it to an ordinary bridge network; a port of an isolated one is forwarded by its router (PORT_FWD)',
    );
  }
  return entry.protocols.map((protocol) => ({
    kind: 'forward',
    origin: { place, id: `forward ${container.name} ${entry.port}/${protocol} ${container.id.slice(0, 12)}` },
    family: reach.address.family,
    protocol,
    from: {
      port: entry.port,
      ...(entry.interface === undefined ? {} : { interface: entry.interface }),
      ...(address === undefined ? {} : { address }),
    },
    to: target(container, reach, to.port),
    hairpin: entry.hairpin,
  }));
}

/** What docknat does: the ports that `docker run -p` published, on interfaces of the user's choice. */
function resolvePublished(
  container: DockerContainer,
  everywhere: PublishedEntry | undefined,
  snapshot: HostSnapshot,
  faults: Fault[],
): readonly Forward[] {
  const label = container.labels[labels.published]?.trim();
  const interfaces = label === undefined ? everywhere?.interfaces : parsePublished(label);
  if (interfaces === undefined || container.ports.length === 0) return [];
  const place = label === undefined ? (everywhere?.place ?? '') : `label of container ${container.name}`;
  const unknown = interfaces === 'local' ? undefined : interfaces.find((name) => !isDevice(name));
  if (unknown !== undefined) {
    faults.push({
      name: place,
      value: unknown,
      problem: 'is no name of an interface',
      hint: `set ${labels.published} to off, local or names of interfaces`,
    });
    return [];
  }
  const reaches = findReaches(container, snapshot, container.labels[labels.network]);
  if (reaches.length === 0) {
    faults.push({
      name: place,
      value: container.name,
      problem: 'it publishes ports and has no network by which this machine could reach it',
      hint: 'attach it to an ordinary bridge network; a port of an isolated one is forwarded by its router (PORT_FWD)',
    });
    return [];
  }
  const hostIps = parseHostIps(container, '0.0.0.0');
  return container.ports.flatMap((port) => {
    const hostIp = hostIps.get(port.hostIp);
    // A port on a loopback address is for this machine alone.
    if (hostIp === undefined || isLoopback(hostIp)) return [];
    const reach = reaches.find(({ address }) => address.family === hostIp.family);
    if (reach === undefined) return [];
    const address = isUnspecified(hostIp) ? {} : { address: hostIp };
    return (interfaces === 'local' ? [undefined] : interfaces).map((name): Forward => {
      const source = { port: port.hostPort, ...address, ...(name === undefined ? {} : { interface: name }) };
      return {
        kind: 'forward',
        origin: { place, id: publishedId(container, port) },
        family: hostIp.family,
        protocol: port.protocol,
        from: source,
        to: target(container, reach, port.containerPort),
        hairpin: everywhere?.hairpin ?? false,
      };
    });
  });
}

/** Addresses that ports are published on, each read once: there may be thousands of ports, and reading takes its time. */
export function parseHostIps(
  { ports }: DockerContainer,
  empty: '0.0.0.0' | '::',
): ReadonlyMap<string, Address | undefined> {
  const texts = new Set(ports.map(({ hostIp }) => hostIp));
  return new Map([...texts].map((text) => [text, parseAddress(text === '' ? empty : text)]));
}

/** Goes into the comment of each rule of a published port. */
export function publishedId({ name, id }: DockerContainer, { hostPort, protocol }: PublishedPort): string {
  return `published ${name} ${hostPort}/${protocol} ${id.slice(0, 12)}`;
}

/** Undefined: none. */
function parsePublished(label: string): PublishedEntry['interfaces'] | undefined {
  if (/^(off|false|no|none|)$/i.test(label)) return undefined;
  return label === 'local' ? 'local' : label.split(/[\s,]+/).filter((name) => name !== '');
}

/** What a forward to that container's port leads to. */
export function target(
  container: DockerContainer,
  { network, address, isReflected, subnets }: Reach,
  port: number,
): Forward['to'] {
  return {
    container: container.name,
    containerId: container.id,
    address,
    port,
    bridge: network.bridge,
    isReflected,
    subnets,
  };
}

/**
 * Addresses by which this machine reaches a container, in the order in which Docker chooses among networks for published
 * ports: by `gw_priority`, then by name (moby, libnetwork/endpoint.go, Less). Internal networks and those where the
 * machine has no address do not count, though Docker may choose them.
 */
export function findReaches(
  { endpoints }: DockerContainer,
  { docker, kernel }: { readonly docker: DockerSnapshot; readonly kernel: Pick<HostSnapshot['kernel'], 'links'> },
  only: string | undefined,
): readonly Reach[] {
  return (
    endpoints
      .filter(({ network }) => only === undefined || network === only)
      // They come by name, and this keeps the order of equals.
      .toSorted((one, other) => other.gatewayPriority - one.gatewayPriority)
      .flatMap(({ network: name, ipv4, ipv6 }) => {
        const network = docker.networks.find((one) => one.name === name);
        if (network === undefined || network.driver !== 'bridge' || network.isInternal || !isDevice(network.bridge)) {
          return [];
        }
        const own = kernel.links.find((link) => link.name === network.bridge)?.addresses ?? [];
        const subnets = subnetsOf(network);
        const isReflected = kernel.links.some(({ reflectedBy }) => reflectedBy === network.bridge);
        return [ipv4, ipv6].flatMap((text) => {
          const address = parseAddress(text);
          const isReached =
            address !== undefined &&
            own.some((one) => {
              const subnet = subnets.find((range) => isWithin(address, range));
              const local = parseAddress(one.replace(/\/.*$/, ''));
              return subnet !== undefined && local !== undefined && isWithin(local, subnet);
            });
          return isReached
            ? [{ network, address, isReflected, subnets: subnets.filter(({ family }) => family === address.family) }]
            : [];
        });
      })
  );
}

function dropConflicts(forwards: readonly Forward[], faults: Fault[]): readonly Forward[] {
  const taken = new Map<string, Forward[]>();
  return forwards.filter((forward) => {
    const key = `${forward.family} ${forward.protocol} ${forward.from.port}`;
    const others = taken.get(key) ?? [];
    const met = others.filter((other) => meets(other.from, forward.from));
    const rival = met.find(({ to }) => to.containerId !== forward.to.containerId || to.port !== forward.to.port);
    // Docker lists a port twice when it is published for 0.0.0.0 and for an address of its own.
    if (rival === undefined && !met.some((other) => covers(other.from, forward.from))) {
      taken.set(key, [...others, forward]);
      return true;
    }
    if (rival !== undefined) {
      faults.push({
        name: forward.origin.place,
        value: `${forward.from.port}/${forward.protocol}`,
        problem: `${forward.to.container} wants the port that ${rival.to.container} has (${rival.origin.place})`,
        hint: 'give one of them another port, interface or address',
      });
    }
    return false;
  });
}

/** True when whatever is meant for the other one is meant for this one. */
function covers(one: ForwardSource, other: ForwardSource): boolean {
  const holds = (left: string | undefined, right: string | undefined) => left === undefined || left === right;
  return holds(one.interface, other.interface) && holds(one.address?.text, other.address?.text);
}

/** True when one packet could be meant for both. */
function meets(one: ForwardSource, other: ForwardSource): boolean {
  const isSame = (left: string | undefined, right: string | undefined) =>
    left === undefined || right === undefined || left === right;
  return isSame(one.interface, other.interface) && isSame(one.address?.text, other.address?.text);
}
