import {
  contains,
  type Ipv4Cidr,
  type Ipv6Cidr,
  lastHostOf,
  lastOtherOf,
  overlaps,
  parseIpv4Cidr,
  parseIpv6,
  parseIpv6Cidr,
  renderCidr,
  renderSubnet,
} from '../net/address.ts';
import type { DockerWorld, SeenNetwork, SeenRange } from './docker-world.ts';
import type { Finding } from './finding.ts';
import { quoteWord } from './shell-word.ts';

/** The isolated network of a router, found by the subnet of its IP_ADDR. */
export interface IsolatedNetwork {
  readonly network: SeenNetwork;
  readonly range: SeenRange;
  readonly subnet: Ipv4Cidr;
  /** IP_ADDR. */
  readonly gateway: Ipv4Cidr;
  /** IP6_ADDR, where IPV6=tunnel. */
  readonly gateway6?: Ipv6Cidr;
}

/** What is wrong with the isolated network itself, whoever is attached to it. */
export function checkNetwork(isolated: IsolatedNetwork, world: DockerWorld): readonly Finding[] {
  return [...checkRecipe(isolated, world), ...checkOverlaps(isolated, world)];
}

/** The options of a network that is no plain bridge mean something else, or nothing: they are not looked at then. */
function checkRecipe(isolated: IsolatedNetwork, { version }: DockerWorld): readonly Finding[] {
  const { network } = isolated;
  const remedy = renderRecipe(isolated);
  if (network.driver !== 'bridge') {
    return [
      {
        code: 'UB_DOCTOR_NETWORK_DRIVER',
        severity: 'leak',
        what: `the isolated network ${network.name} has the driver ${network.driver}`,
        why: 'its clients reach other machines past the router; only a bridge of this machine can be closed',
        remedy,
      },
    ];
  }
  if (network.isInternal) {
    return [
      {
        code: 'UB_DOCTOR_NETWORK_INTERNAL',
        severity: 'break',
        what: `the isolated network ${network.name} was made with --internal`,
        why: `Docker ${version} drops what clients send out of it, and from 25.0 on it gives them no default route at all`,
        remedy,
      },
    ];
  }
  return [
    ...checkIcc(isolated),
    ...checkIpv6(isolated),
    ...checkHostAddress(isolated),
    ...checkMasquerade(isolated, version),
    ...checkGateway(isolated),
  ];
}

function checkIcc(isolated: IsolatedNetwork): readonly Finding[] {
  const { name, options } = isolated.network;
  const icc = options['com.docker.network.bridge.enable_icc'];
  if (icc === undefined || isOn(icc)) return [];
  return [
    {
      code: 'UB_DOCTOR_NETWORK_ICC',
      severity: 'break',
      what: `the isolated network ${name} was made with enable_icc=false`,
      why: 'the machine drops what clients send to each other, and so what they send to the router',
      remedy: renderRecipe(isolated),
    },
  ];
}

function checkIpv6(isolated: IsolatedNetwork): readonly Finding[] {
  const { network, gateway6 } = isolated;
  const finding = { code: 'UB_DOCTOR_NETWORK_IPV6', remedy: renderRecipe(isolated) } as const;
  if (!network.hasIpv6) {
    if (gateway6 === undefined) return [];
    const what = `the isolated network ${network.name} has no IPv6, and the router has IPV6=tunnel`;
    return [{ ...finding, severity: 'break', what, why: 'its clients get no IPv6 address' }];
  }
  const why = 'Docker makes the machine the IPv6 gateway of its clients, so their IPv6 goes out past the router';
  if (gateway6 === undefined)
    return [{ ...finding, severity: 'leak', what: `the isolated network ${network.name} has IPv6`, why }];
  const { defaultGateway = '' } = rangeOf(network, gateway6) ?? {};
  if (parseIpv6(defaultGateway) === gateway6.address) return [];
  const what = `the isolated network ${network.name} does not tell its clients that ${renderCidr(gateway6)} is their IPv6 gateway`;
  return [{ ...finding, severity: 'leak', what, why }];
}

/** The IPv6 subnet of a network that holds a gateway address. */
export function rangeOf({ ranges }: SeenNetwork, { address }: Ipv6Cidr): SeenRange | undefined {
  return ranges.find(({ subnet }) => {
    const cidr = parseIpv6Cidr(subnet);
    return cidr !== undefined && contains(cidr, address);
  });
}

function checkHostAddress(isolated: IsolatedNetwork): readonly Finding[] {
  const { network, range } = isolated;
  const why = 'clients reach the machine itself, and one that takes it for its gateway is forwarded past the router';
  if (isOn(network.options['com.docker.network.bridge.inhibit_ipv4'])) {
    // Docker 28 leaves the bridge, with an address, of a network that it refused to make, and takes it for the next one.
    const { name = '', ipv4 = [] } = network.bridge ?? {};
    return ipv4.map((address) => ({
      code: 'UB_DOCTOR_NETWORK_HOST_ADDRESS',
      severity: 'leak',
      what: `the machine has the address ${address} on ${name}, the bridge of the isolated network ${network.name}, though Docker was told not to`,
      why,
      remedy: `ip address del ${address} dev ${name}`,
    }));
  }
  return [
    {
      code: 'UB_DOCTOR_NETWORK_HOST_ADDRESS',
      severity: 'leak',
      what: `the machine has an address${range.gateway === undefined ? '' : ` (${range.gateway})`} in the isolated network ${network.name}`,
      why,
      remedy: renderRecipe(isolated),
    },
  ];
}

function checkMasquerade(isolated: IsolatedNetwork, version: string): readonly Finding[] {
  const { name, options } = isolated.network;
  // Docker 27 and later do not masquerade a routed network; earlier ones take the option and ignore it.
  const isRouted =
    Number.parseInt(version, 10) >= 27 && options['com.docker.network.bridge.gateway_mode_ipv4'] === 'routed';
  const masquerade = options['com.docker.network.bridge.enable_ip_masquerade'];
  if (isRouted || (masquerade !== undefined && !isOn(masquerade))) return [];
  return [
    {
      code: 'UB_DOCTOR_NETWORK_MASQUERADE',
      severity: 'leak',
      what: `the machine masquerades the isolated network ${name}`,
      why: "what a client gets past the router by a forged frame leaves with the machine's address, and is answered",
      remedy: renderRecipe(isolated),
    },
  ];
}

function checkGateway(isolated: IsolatedNetwork): readonly Finding[] {
  const { network, range, gateway } = isolated;
  const given = range.defaultGateway ?? range.gateway;
  if (given === undefined || given === gateway.address) return [];
  return [
    {
      code: 'UB_DOCTOR_NETWORK_GATEWAY',
      severity: 'break',
      what: `the isolated network ${network.name} tells its clients that ${given} is their gateway, and the router is ${gateway.address}`,
      why: 'clients do not find the router, and Docker may give its address to one of them',
      remedy: renderRecipe(isolated),
    },
  ];
}

function checkOverlaps({ network, subnet, gateway }: IsolatedNetwork, { networks }: DockerWorld): readonly Finding[] {
  return networks
    .filter(({ name }) => name !== network.name)
    .flatMap(({ name, ranges }) => ranges.flatMap((range) => ({ name, other: parseIpv4Cidr(range.subnet) })))
    .flatMap(({ name, other }) =>
      other === undefined || !overlaps(subnet, other)
        ? []
        : [
            {
              code: 'UB_DOCTOR_SUBNETS_OVERLAP',
              severity: 'break',
              what: `the networks ${network.name} (${renderSubnet(subnet)}) and ${name} (${renderSubnet(other)}) share addresses`,
              why: 'a router or a client with both sends to the wrong one',
              remedy: `docker network rm ${quoteWord(name)}, and make it anew with a subnet outside of ${renderSubnet(gateway)}`,
            },
          ],
    );
}

/** Docker reads these options with Go's strconv.ParseBool. */
function isOn(option: string | undefined): boolean {
  return ['1', 't', 'T', 'true', 'True', 'TRUE'].includes(option ?? '');
}

/** The commands that make the network anew, closed. Containers that are in it would keep the old one alive. */
function renderRecipe({ network, subnet, gateway, gateway6 }: IsolatedNetwork): string {
  const name = quoteWord(network.name);
  return [
    `remove its containers (docker compose down), then: docker network rm ${name}; docker network create -d bridge -o com.docker.network.bridge.inhibit_ipv4=true`,
    '-o com.docker.network.bridge.enable_ip_masquerade=false',
    `--subnet ${renderSubnet(subnet)} --gateway ${lastHostOf(gateway)}`,
    `--aux-address DefaultGatewayIPv4=${gateway.address}`,
    ...(gateway6 === undefined
      ? []
      : [
          `--ipv6 --subnet ${renderSubnet(gateway6)} --gateway ${lastOtherOf(gateway6)}`,
          `--aux-address DefaultGatewayIPv6=${gateway6.address}`,
        ]),
    name,
  ].join(' ');
}
