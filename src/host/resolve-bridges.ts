import type { Fault } from '../errors.ts';
import { isDevice, isWithin, parseAddress, parseSubnet } from './address.ts';
import type { HostConfig, IsolatedEntry } from './host-config.ts';
import type { Address, ClientRisk, RoutedBridge, RoutedClient, Subnet } from './resource.ts';
import type { DockerContainer, DockerNetwork, DockerSnapshot, HostLink } from './snapshot.ts';
import { findIsolated, type WantedBridge } from './wanted-networks.ts';

interface Resolved<T> {
  readonly resources: readonly T[];
  readonly faults: readonly Fault[];
}

/** Looks up the networks that are to be airtight, with who lives there. */
export function resolveBridges(
  config: HostConfig,
  { docker, links }: { readonly docker: DockerSnapshot; readonly links: readonly HostLink[] },
): Resolved<RoutedBridge> {
  const wanted = findIsolated(config, docker.networks);
  // Others cannot be shut, so they are a way out.
  const isolated = new Set(
    wanted.flatMap(({ network }) => (network?.driver === 'bridge' && isDevice(network.bridge) ? network.name : [])),
  );
  const resources: RoutedBridge[] = [];
  const faults: Fault[] = [];
  const holders = new Map<string, IsolatedEntry>();
  for (const one of wanted) {
    const { entry, network } = one;
    const bridge = network?.driver === 'bridge' ? network.bridge : entry.bridge;
    const holder = holders.get(bridge ?? '');
    // Docker takes nothing but a bridge. A user may mistake the name of his uplink for one.
    const isOther = network === undefined && links.some(({ name, isBridge }) => name === bridge && isBridge === false);
    const fault = checkWanted(one) ?? checkBridge(entry, { bridge, isOther, holder });
    if (fault !== undefined) faults.push(fault);
    if (bridge === undefined || !isDevice(bridge) || holder !== undefined || isOther) continue;
    holders.set(bridge, entry);
    resources.push(resolveBridge({ wanted: one, bridge, docker, isolated, unsafe: config.clients }));
  }
  return { resources, faults };
}

/** Whether rules for the bridge would shut what was meant. */
function checkBridge(
  { place: name, network: value }: IsolatedEntry,
  { bridge, isOther, holder }: { bridge: string | undefined; isOther: boolean; holder: IsolatedEntry | undefined },
): Fault | undefined {
  if (isOther) {
    const problem = `${bridge} is an interface of this machine and no bridge, so it is not shut`;
    return { name, value, problem, hint: "name the network's own bridge, or leave `bridge` out" };
  }
  if (holder === undefined) return undefined;
  const problem = `its bridge ${bridge} is shut already (${holder.place}), and what is said there holds`;
  return { name, value, problem, hint: 'take one of them out' };
}

function checkWanted({ entry, network }: WantedBridge): Fault | undefined {
  const { place: name } = entry;
  if (network === undefined) {
    if (entry.bridge !== undefined) return undefined;
    return {
      name,
      value: entry.network,
      problem: 'there is no network of that name, so nothing can be shut',
      hint: 'create it, or name its `bridge`, whose rules then stand before it is there',
    };
  }
  if (network.driver !== 'bridge') {
    return {
      name,
      value: entry.network,
      problem: `its driver is ${network.driver}, and only a bridge can be shut from here`,
      hint: 'create it with the driver bridge',
    };
  }
  if (!isDevice(network.bridge)) {
    return {
      name,
      value: network.bridge,
      problem: `the bridge of the network ${network.name} has a name that no rule can hold`,
      hint: 'create it with letters, digits, dots and hyphens in com.docker.network.bridge.name',
    };
  }
  if (entry.router === undefined) return undefined;
  const router = parseAddress(entry.router);
  const isThere = router !== undefined && subnetsOf(network).some((subnet) => isWithin(router, subnet));
  if (isThere) return undefined;
  return {
    name,
    value: entry.router,
    problem: `the router's address is not in the network ${network.name}`,
    hint: `give an address of ${subnetsOf(network)
      .map(({ text }) => text)
      .join(', ')}`,
  };
}

function resolveBridge({
  wanted: { entry, network },
  bridge,
  docker,
  isolated,
  unsafe,
}: {
  readonly wanted: WantedBridge;
  readonly bridge: string;
  readonly docker: DockerSnapshot;
  readonly isolated: ReadonlySet<string>;
  readonly unsafe: HostConfig['clients'];
}): RoutedBridge {
  const subnets = network === undefined ? [] : subnetsOf(network);
  const attached = docker.containers.filter(({ endpoints }) => endpoints.some((one) => one.network === network?.name));
  const routers = attached.filter((container) => isRouterOf(container, subnets));
  const router = routerAddress({ stated: entry.router, network, routers, subnets });
  const isOpen = (name: string) => !isolated.has(name) && !isInternal(docker.networks, name);
  return {
    kind: 'routed-bridge',
    origin: { place: entry.place, id: `isolated ${entry.network}` },
    network: entry.network,
    bridge,
    subnets,
    isInternal: network?.isInternal ?? false,
    ...(router === undefined ? {} : { router }),
    hasRouter: routers.length > 0,
    hasSilent: attached.some(({ isSilent }) => isSilent),
    clients: attached.filter((one) => !routers.includes(one)).flatMap((one) => resolveClient(one, isOpen)),
    unsafe,
  };
}

/** Where the user said so; where Docker hands it out; where it is reserved; where a router says that it claims it. */
function routerAddress({
  stated,
  network,
  routers,
  subnets,
}: {
  readonly stated: string | undefined;
  readonly network: DockerNetwork | undefined;
  readonly routers: readonly DockerContainer[];
  readonly subnets: readonly Subnet[];
}): Address | undefined {
  const auxiliary = network?.ranges.flatMap((range) => [range.auxiliary.DefaultGatewayIPv4, range.auxiliary.router]);
  const claimed = routers.map(({ details }) => details?.ipAddr?.replace(/\/.*$/, ''));
  return [stated, ...(auxiliary ?? []), ...claimed]
    .map((text) => (text === undefined ? undefined : parseAddress(text)))
    .find((address) => address !== undefined && subnets.some((subnet) => isWithin(address, subnet)));
}

function isRouterOf({ details }: DockerContainer, subnets: readonly Subnet[]): boolean {
  if (details?.isRouter !== true) return false;
  const address = parseAddress(details.ipAddr?.replace(/\/.*$/, '') ?? '');
  return address === undefined || subnets.some((subnet) => isWithin(address, subnet));
}

function resolveClient(
  { name, id, details, endpoints }: DockerContainer,
  isOpen: (network: string) => boolean,
): readonly RoutedClient[] {
  // It ended between the listing and the look at it; or Docker does not tell.
  if (details === undefined || details.pid === 0) return [];
  const risks: ClientRisk[] = [
    ...(details.dns.length === 0 ? [{ kind: 'dns' } as const] : []),
    ...endpoints
      .filter(({ network }) => isOpen(network))
      .map(({ network }) => ({ kind: 'second-way', network }) as const),
  ];
  return [{ container: name, containerId: id, pid: details.pid, risks }];
}

function isInternal(networks: readonly DockerNetwork[], name: string): boolean {
  return networks.some((network) => network.name === name && network.isInternal);
}

/** Subnets of a network, as rules name them. */
export function subnetsOf({ ranges }: DockerNetwork): readonly Subnet[] {
  return ranges.flatMap(({ subnet }) => parseSubnet(subnet) ?? []);
}
