import type { HostConfig, IsolatedEntry } from './host-config.ts';
import type { DockerNetwork, DockerSnapshot } from './snapshot.ts';

/** What a user writes on networks and containers. The values are the user's. */
export const labels = {
  /** On a network: `true`. */
  isolated: 'underbridge.isolated',
  /** On an isolated network: the router's address, where Docker does not know it. */
  router: 'underbridge.router',
  /** On a container: `off`, `local` or interfaces. */
  published: 'underbridge.published',
  /** On a container: the network by which its published ports are reached. */
  network: 'underbridge.network',
} as const;

/** A network to be made airtight, and who asked for it. */
export interface WantedBridge {
  readonly entry: IsolatedEntry;
  /** Absent: Docker does not have it. */
  readonly network?: DockerNetwork;
}

/** Networks of the host file, then those with the label; each once. */
export function findIsolated(
  { isolated }: Pick<HostConfig, 'isolated'>,
  networks: readonly DockerNetwork[],
): readonly WantedBridge[] {
  const listed = isolated.flatMap((entry): readonly WantedBridge[] => {
    // Docker up to 24 may have several of one name.
    const found = networks.filter(({ name, id }) => name === entry.network || id === entry.network);
    return found.length === 0 ? [{ entry }] : found.map((network) => ({ entry, network }));
  });
  const labelled = networks
    .filter((network) => isTrue(network.labels[labels.isolated]) && !listed.some((one) => one.network === network))
    .map((network) => {
      const router = network.labels[labels.router];
      const entry = { place: `label of network ${network.name}`, network: network.name };
      return { network, entry: router === undefined ? entry : { ...entry, router } };
    });
  return [...listed, ...labelled];
}

/** Ids of containers that have to be inspected before a plan can be made. */
export function findInspected(config: Pick<HostConfig, 'isolated'>, docker: DockerSnapshot): readonly string[] {
  const isolated = new Set(findIsolated(config, docker.networks).map(({ network }) => network?.name));
  return docker.containers
    .filter(({ endpoints }) => endpoints.some(({ network }) => isolated.has(network)))
    .map(({ id }) => id);
}

function isTrue(label: string | undefined): boolean {
  return label !== undefined && /^(true|1|yes|on)$/i.test(label.trim());
}
