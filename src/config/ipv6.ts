import ipaddr from 'ipaddr.js';
import { faulty, ok, type Parsed } from '../errors.ts';
import { contains, type Ipv6, type Ipv6Cidr, parseIpv6, parseIpv6Cidr, renderSubnet } from '../net/address.ts';
import type { Complaint } from './address-fault.ts';

/** What other settings know of clients' IPv6; undefined where IPV6 is off. */
export interface IsolatedIpv6 {
  /** Undefined when IP6_ADDR is faulty itself; then the subnet is not checked. */
  readonly gateway: Ipv6Cidr | undefined;
}

/** Docker takes no wider one for a network. */
const widestPrefixBits = 48;
/** A /127 has no room for a gateway, a client and Docker's own address. */
const narrowestPrefixBits = 126;

export const ipv6OffComplaint: Complaint = {
  problem: 'is an IPv6 address, and IPV6 is off',
  hint: 'give an IPv4 address, or set IPV6=tunnel',
};

/** Parses IP6_ADDR: the gateway address of clients' IPv6, with the prefix length of the isolated network. */
export function parseIpv6Gateway(text: string): Parsed<Ipv6Cidr> {
  const fault = (problem: string, hint: string) => faulty({ name: 'IP6_ADDR', value: text, problem, hint });
  const cidr = parseIpv6Cidr(text);
  if (cidr === undefined) {
    return fault('is no IPv6 address with a prefix length', 'write the gateway address like fd00:7722::1/64');
  }
  const problem = problemOfAddress(cidr.address);
  const hint = 'give the address that the isolated network reserves for its gateway';
  if (problem !== undefined) return fault(problem, hint);
  if (cidr.prefixBits < widestPrefixBits || cidr.prefixBits > narrowestPrefixBits) {
    return fault(`has a prefix length outside ${widestPrefixBits} to ${narrowestPrefixBits}`, 'mostly it is 64');
  }
  if (renderSubnet(cidr) === `${cidr.address}/${cidr.prefixBits}`) {
    return fault('is the address of the subnet itself', hint);
  }
  return ok(cidr);
}

/** Parses UPLINK_GATEWAY6: the next hop towards the VPN server, often a link-local address. */
export function parseUplinkGateway6(text: string): Parsed<Ipv6> {
  const address = parseIpv6(text);
  const range = address === undefined ? undefined : ipaddr.IPv6.parse(address).range();
  if (address !== undefined && (range === 'linkLocal' || problemOfAddress(address) === undefined)) return ok(address);
  return faulty({
    name: 'UPLINK_GATEWAY6',
    value: text,
    problem: 'is not the IPv6 address of a host',
    hint: 'give the next hop on the network that leads to the VPN server, without a prefix length',
  });
}

/** An IPv6 address of a host outside of the isolated network, or what is wrong with it. */
export function parseOutsideIpv6(text: string, { gateway }: IsolatedIpv6): Ipv6 | Complaint {
  const hint = 'give the address of a resolver beyond the tunnel, or vpn';
  const address = parseIpv6(text);
  if (address === undefined) return { problem: 'is not an IPv6 address', hint };
  const problem = problemOfAddress(address);
  if (problem !== undefined) return { problem, hint };
  if (gateway === undefined || !contains(gateway, address)) return address;
  const subnet = renderSubnet(gateway);
  return { problem: `lies in the isolated network ${subnet}, so it cannot be reached through the tunnel`, hint };
}

function problemOfAddress(address: Ipv6): string | undefined {
  const range = ipaddr.IPv6.parse(address).range();
  if (range === 'linkLocal') return 'is a link-local address, which no router forwards';
  return ['unspecified', 'loopback', 'multicast'].includes(range) ? `is a ${range} address` : undefined;
}
