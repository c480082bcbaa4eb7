import type { Fault } from '../errors.ts';
import { isDevice, isLoopback, isUnspecified, isWithin, parseAddress, parseSubnet } from './address.ts';
import type { HostConfig } from './host-config.ts';
import type { HostFinding } from './host-plan.ts';
import { subnetsOf } from './resolve-bridges.ts';
import { findReaches, parseHostIps, publishedId, target } from './resolve-forwards.ts';
import type { BridgeBase, Forward } from './resource.ts';
import type { DockerContainer, DockerNetwork, DockerSnapshot, HostKernel, HostSnapshot } from './snapshot.ts';
import { findIsolated, labels } from './wanted-networks.ts';

/** Addresses that mean nothing beyond a site (RFC 4193), so what comes from them needs another one outside. */
const uniqueLocal = parseSubnet('fc00::/7');
const option = (name: string) => `com.docker.network.bridge.${name}`;

interface ResolvedBases {
  readonly resources: readonly BridgeBase[];
  readonly faults: readonly Fault[];
  readonly findings: readonly HostFinding[];
}

/**
 * What docker-ipv6nat does: bridges with unique local IPv6 addresses, of networks that Docker has no IPv6 rules for.
 * Isolated networks stay as they are.
 */
export function resolveBridgeBases(
  config: Pick<HostConfig, 'ipv6nat' | 'isolated'>,
  { docker, kernel }: HostSnapshot,
): ResolvedBases {
  const { ipv6nat } = config;
  if (ipv6nat === undefined) return { resources: [], faults: [], findings: [] };
  const isolated = findIsolated(config, docker.networks).map(({ network }) => network);
  const local = docker.networks.filter((one) => !isolated.includes(one) && isDevice(one.bridge) && isTranslated(one));
  const byDocker = local.filter(({ bridge }) => hasDockerRules(bridge, kernel));
  const faults: Fault[] = [];
  const resources = local.filter((one) => !byDocker.includes(one)).map((one) => toBase(one, ipv6nat.place, faults));
  return { resources, faults, findings: [...findDocker(byDocker, docker), ...findForwarding(resources, kernel)] };
}

function isTranslated(network: DockerNetwork): boolean {
  const mode = network.options[option('gateway_mode_ipv6')] ?? 'nat';
  return network.driver === 'bridge' && mode === 'nat' && localSubnets(network).length > 0;
}

function localSubnets(network: DockerNetwork) {
  return subnetsOf(network).filter(({ text }) => {
    const address = parseAddress(text.replace(/\/.*$/, ''));
    return address !== undefined && uniqueLocal !== undefined && isWithin(address, uniqueLocal);
  });
}

/**
 * Docker says nowhere whether it writes IPv6 rules (`ip6tables` in its settings); where it does, its chains in the table
 * filter name each of its bridges. DOCKER-USER is the user's.
 */
function hasDockerRules(bridge: string, { saved }: HostKernel): boolean {
  const names = new RegExp(`(?:^| )-[io] ${bridge.replaceAll('.', '\\.')}(?: |$)`);
  return [...(saved.ipv6?.get('filter')?.chains ?? [])].some(([chain, rules]) =>
    rules.some((rule) => (isOfDocker(chain) || isOfDocker(/ -j (\S+)/.exec(rule)?.[1] ?? '')) && names.test(rule)),
  );
}

function isOfDocker(chain: string): boolean {
  return chain.startsWith('DOCKER') && chain !== 'DOCKER-USER';
}

function toBase(network: DockerNetwork, place: string, faults: Fault[]): BridgeBase {
  const { name, bridge, isInternal, options } = network;
  const stated = options[option('host_binding_ipv6')] ?? '::';
  const binding = parseAddress(stated);
  if (binding?.family !== 'ipv6') {
    faults.push({
      name: `option of network ${name}`,
      value: stated,
      problem: 'host_binding_ipv6 is no IPv6 address, so ports that name no address stay closed on this network',
      hint: 'give an address without a prefix length',
    });
  }
  return {
    kind: 'bridge-base',
    origin: { place, id: `bridge ${name}` },
    family: 'ipv6',
    network: name,
    bridge,
    subnets: localSubnets(network),
    masquerade: isOn(options[option('enable_ip_masquerade')]),
    interContainer: isOn(options[option('enable_icc')]),
    isInternal,
    ...(binding?.family === 'ipv6' ? { binding } : {}),
  };
}

/** As Go reads it, which Docker does; both are on where nothing is said. */
function isOn(text: string | undefined): boolean {
  return text === undefined || !/^(0|f|false)$/i.test(text);
}

function findDocker(networks: readonly DockerNetwork[], { version }: DockerSnapshot): readonly HostFinding[] {
  if (networks.length === 0) return [];
  return [
    {
      code: 'ipv6nat-by-docker',
      subject: networks.map(({ name }) => name).join(', '),
      problem: `Docker ${version} writes IPv6 rules for it by itself (ip6tables is on), so nothing is done here`,
      hint: 'leave `ipv6nat` out; Docker 27 and later do without it, unless their settings say `"ip6tables": false`',
    },
  ];
}

function findForwarding(bases: readonly BridgeBase[], { ipv6Forwarding }: HostKernel): readonly HostFinding[] {
  if (bases.length === 0 || ipv6Forwarding !== false) return [];
  return [
    {
      code: 'ipv6-forwarding-off',
      subject: 'net.ipv6.conf.all.forwarding',
      problem: 'it is 0, so no IPv6 passes through this machine, whatever the rules say',
      hint: 'set it to 1, and accept_ra to 2 on the interface whose addresses come by router advertisements',
    },
  ];
}

/** Published ports of containers that such a bridge leads to. */
export function resolveTranslated(bases: readonly BridgeBase[], snapshot: HostSnapshot): readonly Forward[] {
  return bases.length === 0
    ? []
    : snapshot.docker.containers.flatMap((container) => resolveContainer(container, bases, snapshot));
}

function resolveContainer(
  container: DockerContainer,
  bases: readonly BridgeBase[],
  snapshot: HostSnapshot,
): readonly Forward[] {
  if (container.ports.length === 0) return [];
  const [found] = findReaches(container, snapshot, container.labels[labels.network]).flatMap((reach) => {
    const base = bases.find(({ network }) => network === reach.network.name);
    return base === undefined || reach.address.family !== base.family ? [] : [{ reach, base }];
  });
  if (found === undefined) return [];
  const { reach, base } = found;
  const hostIps = parseHostIps(container, '::');
  return container.ports.flatMap((port): readonly Forward[] => {
    const asked = hostIps.get(port.hostIp);
    if (asked === undefined || asked.family !== base.family || isLoopback(asked)) return [];
    const address = isUnspecified(asked) ? base.binding : asked;
    if (address === undefined || isLoopback(address)) return [];
    return [
      {
        kind: 'forward',
        origin: { place: base.origin.place, id: publishedId(container, port) },
        family: base.family,
        protocol: port.protocol,
        from: { port: port.hostPort, ...(isUnspecified(address) ? {} : { address }) },
        to: target(container, reach, port.containerPort),
        // As Docker has it: without its proxy, neighbours have nobody else to bring them there.
        hairpin: reach.isReflected,
      },
    ];
  });
}
