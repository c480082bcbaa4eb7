import { asSubnet, isLoopback, isUnspecified, parseAddress } from './address.ts';
import { findReaches } from './resolve-forwards.ts';
import type { Family } from './resource.ts';
import type { DockerContainer, HostSnapshot, PublishedPort } from './snapshot.ts';
import { labels } from './wanted-networks.ts';
import { isKnown, renderRule, socketAddress } from './words.ts';

/** docker_iptables' name for a container's file, in each of its folders. */
export function forwardFileName(container: string): string {
  return `11-docker-container_${container}`;
}

/** What names a container and may be part of a file's name. */
export function isContainerName(text: string): boolean {
  return /^[a-zA-Z0-9][\w.-]{0,200}$/.test(text);
}

/** As iptables takes it. Docker empties a chain named DOCKER when it starts, also with `--iptables=false`. */
export function isForwardChain(text: string): boolean {
  return /^[a-zA-Z][\w-]{0,27}$/.test(text) && !/^(DOCKER|PREROUTING|INPUT|OUTPUT|FORWARD|POSTROUTING)$/.test(text);
}

export interface ForwardFileOptions {
  readonly container: DockerContainer;
  readonly family: Family;
  /** Chain of the nat table that what is addressed to this machine goes through. */
  readonly chain: string;
}

/**
 * A container's published ports as a piece of input for `iptables-restore --noflush`, which declares no chain.
 * @returns empty when it publishes none in this family; `unreachable` when this machine has no network with it
 */
export function renderForwardFile(
  { container, family, chain }: ForwardFileOptions,
  snapshot: { readonly docker: HostSnapshot['docker']; readonly kernel: Pick<HostSnapshot['kernel'], 'links'> },
): string | 'unreachable' {
  const ports = container.ports.filter((port) => isForwarded(port, family));
  if (ports.length === 0) return '';
  const reaches = findReaches(container, snapshot, container.labels[labels.network]);
  const reach = reaches.find(({ address }) => address.family === family);
  // Docker's proxy listens at IPv6 addresses also for containers without one.
  if (reach === undefined) return reaches.length === 0 ? 'unreachable' : '';
  const { address, network } = reach;
  const { bridge } = network;
  const nat: string[] = [];
  const filter: string[] = [];
  for (const { hostIp, hostPort, containerPort, protocol } of ports) {
    const origin = { place: '', id: `forward ${container.name} ${hostPort}/${protocol}` };
    const own = hostAddress(hostIp);
    const rule = (words: Omit<Parameters<typeof renderRule>[0], 'transport'>, side: 'dport' | 'sport', port: number) =>
      renderRule({ ...words, transport: { protocol, side, port } }, origin);
    const at = own === undefined || isUnspecified(own) ? {} : { destination: asSubnet(own) };
    const target = `DNAT --to-destination ${socketAddress(address, containerPort)}`;
    nat.push(`-A ${chain} ${rule({ ...at, notIn: bridge, target }, 'dport', hostPort)}`);
    const there = { destination: asSubnet(address), notIn: bridge, out: bridge, target: 'ACCEPT' };
    filter.push(`-A FORWARD ${rule(there, 'dport', containerPort)}`);
    // The base file lets docker0's containers answer, and knows of no other bridge.
    if (network.name === 'bridge') continue;
    const back = { source: asSubnet(address), in: bridge, notOut: bridge, matches: [isKnown], target: 'ACCEPT' };
    filter.push(`-A FORWARD ${rule(back, 'sport', containerPort)}`);
  }
  const table = (name: string, rules: readonly string[]) => `*${name}\n${[...new Set(rules)].join('\n')}\nCOMMIT\n`;
  return table('nat', nat) + table('filter', filter);
}

function hostAddress(hostIp: string) {
  return parseAddress(hostIp === '' ? '0.0.0.0' : hostIp);
}

/** A port on a loopback address is for this machine alone: Docker's proxy serves it. */
function isForwarded({ hostIp }: PublishedPort, family: Family): boolean {
  const own = hostAddress(hostIp);
  return own?.family === family && !isLoopback(own);
}
