import type { Fault } from '../errors.ts';
import { isHostOf, isWithin, overlaps } from './address.ts';
import type { DockerStep } from './host-plan.ts';
import type { AddressEntry, NetworkEntry, NetworksFile } from './networks-file.ts';
import { findOverlaps } from './overlap.ts';
import { subnetsOf } from './resolve-bridges.ts';
import type { Attachment, Network } from './resource.ts';
import type { DockerContainer, DockerSnapshot, HostLink } from './snapshot.ts';

/** What `networks.json` wants of Docker, and whose its addresses are. */
export interface ResolvedNetworks {
  readonly resources: readonly (Network | Attachment)[];
  readonly steps: readonly DockerStep[];
  readonly addresses: readonly KnownAddress[];
  readonly faults: readonly Fault[];
}

/** An entry of `ips` whose address nobody else has. */
export interface KnownAddress {
  readonly entry: AddressEntry;
  readonly network: NetworkEntry;
  /** Absent: it does not run. */
  readonly container?: DockerContainer;
}

/** Looks up networks and static addresses. Of two entries that cannot both be, the first one holds. */
export function resolveNetworks(file: NetworksFile, { docker, links }: Machine): ResolvedNetworks {
  const faults: Fault[] = [];
  const networks = file.networks.filter((entry, index) => {
    const { name, place, subnet } = entry;
    const fault = checkNetwork(entry, file.networks.slice(0, index), docker);
    const there = docker.networks.find((one) => one.name === name);
    const used = { place, name, bridge: there?.bridge ?? '', subnets: [subnet] };
    const overlapping = fault === undefined ? findOverlaps([used], { docker, links }) : [fault];
    faults.push(...overlapping);
    // Where Docker has it already, leaving it out would mend nothing.
    return overlapping.length === 0 || (fault === undefined && there !== undefined);
  });
  const addresses = file.ips.flatMap((entry) => resolveAddress(entry, { file, networks, docker, faults }));
  const attached = addresses.flatMap(({ entry, network, container }): readonly Attached[] => {
    if (container === undefined) return [];
    const first = addresses.find((one) => one.container === container && one.network === network);
    if (first?.entry === entry) return [{ entry, network, container }];
    faults.push({
      name: entry.place,
      value: entry.address.text,
      problem: `${container.name} has another address in the network ${network.name} (${first?.entry.place})`,
      hint: 'take one of them out: a container has one address in a network',
    });
    return [];
  });
  return {
    resources: [...networks.map(toNetwork), ...attached.map(toAttachment)],
    steps: [
      ...networks
        .filter(({ name }) => !docker.networks.some((one) => one.name === name))
        .map(({ name, subnet, gateway }): DockerStep => {
          return { kind: 'create-network', name, subnet: subnet.text, gateway: gateway.text };
        }),
      ...attached.flatMap(toSteps),
    ],
    addresses,
    faults,
  };
}

interface Machine {
  readonly docker: DockerSnapshot;
  readonly links: readonly HostLink[];
}

type Attached = Required<KnownAddress>;

function checkNetwork(
  { place, name, subnet, gateway }: NetworkEntry,
  before: readonly NetworkEntry[],
  { networks }: DockerSnapshot,
): Fault | undefined {
  const refuse = (value: string, problem: string, hint: string) => ({ name: place, value, problem, hint });
  if (!isHostOf(gateway, subnet)) {
    return refuse(gateway.text, `the gateway is no address of a host in ${subnet.text}`, 'give one of its addresses');
  }
  const twin = before.find((one) => one.name === name);
  if (twin !== undefined) return refuse(name, `is listed already (${twin.place})`, 'take one of them out');
  const sharing = before.find((one) => overlaps(one.subnet, subnet));
  if (sharing !== undefined) {
    const problem = `overlaps with ${sharing.subnet.text} of ${sharing.name} (${sharing.place})`;
    return refuse(subnet.text, problem, 'give each network a subnet of its own');
  }
  const there = networks.find((one) => one.name === name);
  if (there === undefined) return undefined;
  if (there.driver !== 'bridge') {
    return refuse(name, `is a network of the driver ${there.driver}`, 'give it another name, or remove that network');
  }
  const own = subnetsOf(there);
  if (own.some(({ text }) => text === subnet.text)) return undefined;
  const has = own.map(({ text }) => text).join(', ') || 'none';
  return refuse(subnet.text, `Docker has ${name} with another subnet: ${has}`, `write that, or remove the network`);
}

interface Lookup {
  readonly file: NetworksFile;
  /** Those that hold. */
  readonly networks: readonly NetworkEntry[];
  readonly docker: DockerSnapshot;
  readonly faults: Fault[];
}

function resolveAddress(entry: AddressEntry, { file, networks, docker, faults }: Lookup): readonly KnownAddress[] {
  const { place, address } = entry;
  const tell = (problem: string, hint: string) => {
    faults.push({ name: place, value: address.text, problem, hint });
    return [];
  };
  const network = networks.find(({ subnet }) => isWithin(address, subnet));
  if (network === undefined) {
    const leftOut = file.networks.find(({ subnet }) => isWithin(address, subnet));
    return leftOut === undefined
      ? tell('is in no network of this file', 'correct the address, or list its network')
      : tell(`its network ${leftOut.name} is left out`, `correct that one first (${leftOut.place})`);
  }
  if (!isHostOf(address, network.subnet) || address.text === network.gateway.text) {
    return tell(
      `is no address for a container in ${network.name}`,
      "take another one than the gateway's, the first and the last",
    );
  }
  const ranges = docker.networks.find((one) => one.name === network.name)?.ranges ?? [];
  if (ranges.some(({ gateway, auxiliary }) => [gateway, ...Object.values(auxiliary)].includes(address.text))) {
    // Else the container would be taken off its network, and not get back.
    return tell(`is kept by Docker: it is the gateway's or reserved in ${network.name}`, 'take another one');
  }
  const name = entry.container ?? entry.selector ?? '';
  const [container, ...others] = findContainers(entry, docker.containers);
  const holder = docker.containers.find(({ endpoints }) =>
    endpoints.some((one) => one.network === network.name && one.ipv4 === address.text),
  );
  if (holder !== undefined && (holder !== container || others.length > 0)) {
    return tell(`is taken by the container ${holder.name}`, `give that one an address of its own, or correct ${name}`);
  }
  if (container === undefined) tell(`no running container is called ${name}`, 'start it, or correct the name');
  if (container === undefined) return [{ entry, network }];
  if (others.length > 0) {
    const names = [container, ...others].map((one) => one.name).join(', ');
    return tell(`${name} may be any of ${names}`, 'write the whole name');
  }
  if (/^(host|none|container:.*)$/.test(container.networkMode)) {
    const problem = `${container.name} runs with the network ${container.networkMode.split(':')[0]}, and can be in no other`;
    return tell(problem, 'start it on a network of its own');
  }
  return [{ entry, network, container }];
}

/** By its name as it is, else by the beginning of its name. More than one: it is not known which. */
function findContainers(
  { container, selector }: AddressEntry,
  containers: readonly DockerContainer[],
): readonly DockerContainer[] {
  const names = [container, selector].filter((name) => name !== undefined);
  for (const matches of [
    (one: string, name: string) => one === name,
    (one: string, name: string) => one.startsWith(name),
  ]) {
    for (const name of names) {
      const found = containers.filter((one) => matches(one.name, name));
      if (found.length > 0) return found;
    }
  }
  return [];
}

function toNetwork({ place, name, subnet, gateway }: NetworkEntry): Network {
  return { kind: 'network', origin: { place, id: `network ${name}` }, name, subnet, gateway };
}

function toAttachment({ entry: { place, address }, network, container }: Attached): Attachment {
  return {
    kind: 'attachment',
    origin: { place, id: `attachment ${container.name} ${container.id.slice(0, 12)}` },
    container: container.name,
    containerId: container.id,
    network: network.name,
    address,
  };
}

function toSteps({ entry: { address }, network: { name: network }, container }: Attached): readonly DockerStep[] {
  const endpoint = container.endpoints.find((one) => one.network === network);
  if (endpoint?.ipv4 === address.text) return [];
  const kind = endpoint === undefined ? 'connect' : 'move';
  return [{ kind, network, container: container.name, containerId: container.id, address }];
}
