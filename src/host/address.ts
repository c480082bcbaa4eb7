import ipaddr from 'ipaddr.js';
import type { Address, Family, Subnet } from './resource.ts';

/** Reads an address of either family, as Docker or a user writes it; undefined when it is none. */
export function parseAddress(text: string): Address | undefined {
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return { family: 'ipv4', text };
  // A zone (`fe80::1%eth0`) means nothing in a rule.
  if (!text.includes(':') || text.includes('%') || !ipaddr.IPv6.isValid(text)) return undefined;
  if (holdsIpv4(ipaddr.IPv6.parse(text))) return undefined;
  return { family: 'ipv6', text: ipaddr.IPv6.parse(text).toRFC5952String() };
}

/**
 * `::ffff:192.0.2.1` and, long given up, `::192.0.2.1`. No packet has such an address, and iptables-save spells them in its
 * own way, so a rule with one would be written again for ever.
 */
function holdsIpv4({ parts }: ipaddr.IPv6): boolean {
  const [marker = 0, high = 0] = parts.slice(5);
  return parts.slice(0, 5).every((part) => part === 0) && (marker === 0xffff || (marker === 0 && high !== 0));
}

/** Reads `address/bits` and clears the host bits; undefined when it is not that. */
export function parseSubnet(text: string): Subnet | undefined {
  const [addressText = '', bitsText = '', ...rest] = text.split('/');
  const address = parseAddress(addressText);
  if (address === undefined || rest.length > 0 || !/^(0|[1-9]\d{0,2})$/.test(bitsText)) return undefined;
  const bits = Number(bitsText);
  if (bits > (address.family === 'ipv4' ? 32 : 128)) return undefined;
  const cidr = `${address.text}/${bits}`;
  const network =
    address.family === 'ipv4'
      ? ipaddr.IPv4.networkAddressFromCIDR(cidr).toString()
      : ipaddr.IPv6.networkAddressFromCIDR(cidr).toRFC5952String();
  return { family: address.family, text: `${network}/${bits}` };
}

/** The address as a subnet of its own, as rules name it. */
export function asSubnet({ family, text }: Address): Subnet {
  return { family, text: `${text}/${family === 'ipv4' ? 32 : 128}` };
}

/** True when the address lies in the subnet; false for another family. */
export function isWithin(address: Address, subnet: Subnet): boolean {
  if (address.family !== subnet.family) return false;
  const [network, bits] = ipaddr.parseCIDR(subnet.text);
  return ipaddr.parse(address.text).match(network, bits);
}

/** 127.0.0.0/8 and ::1, which mean this machine to itself alone. */
export function isLoopback({ family, text }: Address): boolean {
  return family === 'ipv4' ? text.startsWith('127.') : text === '::1';
}

/** `0.0.0.0` and `::`, which stand for every address of their family. */
export function isUnspecified({ text }: Address): boolean {
  return text === '0.0.0.0' || text === '::';
}

/**
 * True for a name of an interface that means just that in the input of iptables-restore: quotes would end a word there, and
 * a plus stands for any ending. Labels with such names may come with an image.
 */
export function isDevice(text: string): boolean {
  return /^\w[\w.@-]{0,14}$/.test(text);
}

export const families: readonly Family[] = ['ipv4', 'ipv6'];

/** True when an address lies in both. */
export function overlaps(one: Subnet, other: Subnet): boolean {
  const [first, second] = [one, other].map(({ family, text }) => ({ family, text: text.replace(/\/.*$/, '') }));
  return first !== undefined && second !== undefined && (isWithin(first, other) || isWithin(second, one));
}

/** True when a host may have the IPv4 address in the subnet: it lies within, and is neither its first nor its last. */
export function isHostOf(address: Address, subnet: Subnet): boolean {
  if (!isWithin(address, subnet)) return false;
  const [first, last] = [
    ipaddr.IPv4.networkAddressFromCIDR(subnet.text).toString(),
    ipaddr.IPv4.broadcastAddressFromCIDR(subnet.text).toString(),
  ];
  // RFC 3021: a subnet of two addresses has only hosts.
  return Number(subnet.text.split('/')[1]) >= 31 || (address.text !== first && address.text !== last);
}
