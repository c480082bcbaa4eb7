import type { RouterConfig } from '../config/router-config.ts';
import { isOwnNetwork } from '../config/sidecar.ts';
import { type Fault, faulty, ok, type Parsed } from '../errors.ts';
import {
  contains,
  firstHostOf,
  type IfName,
  type Ipv4,
  type Ipv4Cidr,
  type Ipv6,
  type Ipv6Cidr,
  networkOf,
  overlaps,
  parseIfName,
  parseIpv4,
  parseIpv4Cidr,
  parseIpv6,
  parseIpv6Cidr,
  renderCidr,
  renderSubnet,
  toNumber,
} from '../net/address.ts';
import type { UplinkIpv6 } from './facts.ts';
import { loopback } from './lockdown.ts';

/** What the kernel says of one interface; loopback and tunnel devices are left out. */
export interface SeenInterface {
  readonly name: string;
  readonly ipv4: readonly string[];
  /** Global addresses only. */
  readonly ipv6?: readonly string[];
}

/** A default route of the main table, of either family. */
export interface SeenDefault {
  readonly device: string;
  readonly gateway: string;
}

/** The two networks of the router, found by subnet. */
export interface RouterInterfaces {
  readonly lan: { readonly name: IfName };
  readonly uplink: { readonly name: IfName; readonly cidr?: Ipv4Cidr; readonly ipv6?: UplinkIpv6 };
  /** Next hops to be tried, the likeliest first; the first that answers is used. None where the uplink has IPv6 alone. */
  readonly gateways: readonly Ipv4[];
}

interface Candidate {
  readonly name: IfName;
  readonly cidrs: readonly Ipv4Cidr[];
  readonly ipv6Cidrs: readonly Ipv6Cidr[];
}

/**
 * Finds the isolated network by the subnet of IP_ADDR and the uplink as the other interface, whatever their names and
 * order; a sidecar has the uplink alone. Docker may have given the router a default route through itself (the network that
 * comes first by name wins): such a route says nothing about the uplink.
 */
export function findInterfaces({
  gateway,
  ipv6,
  uplinkGateway,
  uplinkGateway6,
  interfaces,
  defaults,
}: {
  readonly gateway: Ipv4Cidr;
  readonly ipv6?: RouterConfig['ipv6'];
  readonly uplinkGateway?: Ipv4 | undefined;
  readonly uplinkGateway6?: Ipv6 | undefined;
  readonly interfaces: readonly SeenInterface[];
  readonly defaults: readonly SeenDefault[];
}): Parsed<RouterInterfaces> {
  const candidates = interfaces.flatMap(parseCandidate);
  const seen =
    candidates
      .map(({ name, cidrs, ipv6Cidrs }) => `${name} ${[...cidrs, ...ipv6Cidrs].map(renderCidr).join(' ')}`)
      .join(', ') || 'none';
  const isolated = isOwnNetwork(gateway) ? undefined : findIsolated({ gateway, ipv6, candidates, seen });
  if (isolated?.kind === 'faults') return isolated;
  const lan = isolated?.value ?? { name: loopback };
  const uplinks = candidates.filter((candidate) => candidate !== lan);
  const uplink = chooseUplink({ uplinks, uplinkGateway, defaults, seen });
  if (uplink.kind === 'faults') return uplink;
  const { name, cidrs, ipv6Cidrs } = uplink.value;
  const uplinkIpv6 = findIpv6({ name, ipv6Cidrs, uplinkGateway6, defaults });
  if (ipv6Cidrs.some((own) => ipv6 !== undefined && overlaps(own, ipv6.gateway))) {
    return faulty({
      name: 'IP6_ADDR',
      value: ipv6 === undefined ? '' : renderCidr(ipv6.gateway),
      problem: `the isolated network and the uplink ${name} share addresses (interfaces: ${seen})`,
      hint: 'give one of the two networks another subnet',
    });
  }
  const over6 = uplinkIpv6 === undefined ? {} : { ipv6: uplinkIpv6 };
  if (cidrs.length === 0 && uplinkIpv6 !== undefined) {
    return ok({ lan: { name: lan.name }, uplink: { name, ...over6 }, gateways: [] });
  }
  const known = uplinkGateway ?? knownGateway({ name, defaults });
  const cidr = cidrs.find((one) => known !== undefined && contains(one, known)) ?? cidrs[0];
  if (cidr === undefined) return faulty(noUplink(seen));
  if (overlaps(cidr, gateway)) {
    return faulty({
      name: 'IP_ADDR',
      value: renderCidr(gateway),
      problem: `the isolated network and the uplink ${name} ${renderCidr(cidr)} share addresses`,
      hint: 'give one of the two networks another subnet',
    });
  }
  const gateways = known === undefined ? likelyGateways(cidr) : [known];
  const [first, ...rest] = gateways.filter((address) => !cidrs.some((own) => own.address === address));
  if (first === undefined) {
    return faulty({
      name: 'UPLINK_GATEWAY',
      ...(uplinkGateway === undefined ? {} : { value: uplinkGateway }),
      problem:
        known === undefined
          ? `the gateway of ${name} ${renderCidr(cidr)} cannot be found out`
          : `${known} is the address of this container on ${name}, not of a gateway`,
      hint: 'set UPLINK_GATEWAY to the gateway address of the uplink network, which has to lie in its subnet',
    });
  }
  return ok({ lan: { name: lan.name }, uplink: { name, cidr, ...over6 }, gateways: [first, ...rest] });
}

/** The isolated network's interface, found by its subnets. */
function findIsolated({
  gateway,
  ipv6,
  candidates,
  seen,
}: {
  readonly gateway: Ipv4Cidr;
  readonly ipv6: RouterConfig['ipv6'] | undefined;
  readonly candidates: readonly Candidate[];
  readonly seen: string;
}): Parsed<Candidate> {
  const isInside = ({ cidrs }: Candidate) => cidrs.some(({ address }) => contains(gateway, address));
  // The gateway address is one that the router claimed itself: by it alone a device is the isolated network's only where no other is.
  const isOwn = (candidate: Candidate) =>
    isInside({ ...candidate, cidrs: candidate.cidrs.filter(({ address }) => address !== gateway.address) });
  const inside = candidates.filter(isInside);
  const own = inside.filter(isOwn);
  const [lan, ...otherLans] = own.length > 0 ? own : inside;
  if (lan === undefined) {
    return faulty({
      name: 'IP_ADDR',
      value: renderCidr(gateway),
      problem: `no interface of this container is in ${renderSubnet(gateway)} (interfaces: ${seen})`,
      hint: 'attach the router to the isolated network, or set IP_ADDR to an address of that network',
    });
  }
  if (otherLans.length > 0) {
    return faulty({
      name: 'IP_ADDR',
      value: renderCidr(gateway),
      problem: `more than one interface is in ${renderSubnet(gateway)} (interfaces: ${seen})`,
      hint: 'give the networks of this container different subnets',
    });
  }
  const lanCidr = lan.cidrs.find(({ address }) => contains(gateway, address));
  if (lanCidr !== undefined && lanCidr.prefixBits !== gateway.prefixBits) {
    return faulty({
      name: 'IP_ADDR',
      value: renderCidr(gateway),
      problem: `the isolated network is ${renderSubnet(lanCidr)}, a subnet of another size`,
      hint: `use a free address of ${renderSubnet(lanCidr)}, with its prefix length`,
    });
  }
  const lanIpv6 = lan.ipv6Cidrs.find((own) => ipv6 !== undefined && contains(ipv6.gateway, own.address));
  if (ipv6 !== undefined && lanIpv6?.prefixBits !== ipv6.gateway.prefixBits) {
    return faulty({
      name: 'IP6_ADDR',
      value: renderCidr(ipv6.gateway),
      problem: `the isolated network has no subnet ${renderSubnet(ipv6.gateway)} (interfaces: ${seen})`,
      hint: 'make the network with --ipv6 and that subnet, or set IP6_ADDR to a free address of its own',
    });
  }
  return ok(lan);
}

/**
 * The uplink's IPv6, where it has any. Its next hop is the one that Docker or a router advertisement gave; else the
 * network's first address, which is Docker's rule. It is not asked, because the locks keep its answer out.
 */
function findIpv6({
  name,
  ipv6Cidrs,
  uplinkGateway6,
  defaults,
}: Pick<Candidate, 'name' | 'ipv6Cidrs'> & {
  readonly uplinkGateway6?: Ipv6 | undefined;
  readonly defaults: readonly SeenDefault[];
}): UplinkIpv6 | undefined {
  const [first, ...others] = ipv6Cidrs;
  if (first === undefined) return undefined;
  const known = defaults.flatMap(({ device, gateway }) => (device === name ? (parseIpv6(gateway) ?? []) : []))[0];
  const gateway = uplinkGateway6 ?? known ?? firstHostOf(first);
  const isOwn = ipv6Cidrs.some(({ address }) => address === gateway);
  return isOwn ? undefined : { cidrs: [first, ...others], gateway };
}

function chooseUplink({
  uplinks,
  uplinkGateway,
  defaults,
  seen,
}: {
  readonly uplinks: readonly Candidate[];
  readonly uplinkGateway?: Ipv4 | undefined;
  readonly defaults: readonly SeenDefault[];
  readonly seen: string;
}): Parsed<Candidate> {
  if (uplinkGateway !== undefined) {
    const named = uplinks.find(({ cidrs }) => cidrs.some((cidr) => contains(cidr, uplinkGateway)));
    if (named !== undefined) return ok(named);
    return faulty({
      name: 'UPLINK_GATEWAY',
      value: uplinkGateway,
      problem: `no interface besides the isolated network's is in its subnet (interfaces: ${seen})`,
      hint: 'set it to the gateway of the uplink network, or leave it out',
    });
  }
  // One with IPv6 alone counts only where there is no other.
  const overIpv4 = uplinks.filter(({ cidrs }) => cidrs.length > 0);
  const [only, ...others] = overIpv4.length > 0 ? overIpv4 : uplinks;
  if (only === undefined) return faulty(noUplink(seen));
  if (others.length === 0) return ok(only);
  const [withDefault, ...ambiguous] = uplinks.filter(({ name }) => defaults.some(({ device }) => device === name));
  if (withDefault !== undefined && ambiguous.length === 0) return ok(withDefault);
  return faulty({
    name: 'UPLINK_GATEWAY',
    problem: `more than one interface could be the uplink (interfaces: ${seen})`,
    hint: 'set UPLINK_GATEWAY to the gateway address of the network that leads to the VPN server',
  });
}

function noUplink(seen: string): Fault {
  return {
    name: 'networks',
    problem: `there is no uplink${seen === 'none' ? '' : ': the isolated network is the only one'} (interfaces: ${seen})`,
    hint: `attach the router to a ${seen === 'none' ? '' : 'second '}network that reaches the VPN server`,
  };
}

function knownGateway({ name, defaults }: { name: IfName; defaults: readonly SeenDefault[] }): Ipv4 | undefined {
  return defaults.flatMap(({ device, gateway }) => (device === name ? (parseIpv4(gateway) ?? []) : []))[0];
}

/** Docker gives a network's first address to its gateway unless told otherwise; some set-ups use the last one. */
function likelyGateways(cidr: Ipv4Cidr): readonly Ipv4[] {
  if (cidr.prefixBits > 30) return [];
  const network = toNumber(networkOf(cidr));
  const last = network + 2 ** (32 - cidr.prefixBits) - 2;
  return [toAddress(network + 1), toAddress(last)];
}

function parseCandidate({ name, ipv4, ipv6 = [] }: SeenInterface): readonly Candidate[] {
  const parsedName = parseIfName(name);
  const cidrs = ipv4.flatMap((text) => parseIpv4Cidr(text) ?? []);
  const ipv6Cidrs = ipv6.flatMap((text) => parseIpv6Cidr(text) ?? []);
  const isBare = cidrs.length === 0 && ipv6Cidrs.length === 0;
  return parsedName === undefined || isBare ? [] : [{ name: parsedName, cidrs, ipv6Cidrs }];
}

function toAddress(value: number): Ipv4 {
  return [24, 16, 8, 0].map((bits) => Math.floor(value / 2 ** bits) % 256).join('.') as Ipv4;
}
