import ipaddr from 'ipaddr.js';

declare const brand: unique symbol;

/** A dotted-quad IPv4 address in canonical form, `172.22.0.1`. */
export type Ipv4 = string & { readonly [brand]: 'Ipv4' };
/** An IPv6 address as the kernel prints it (RFC 5952), without a zone: `fd00:7722::1`. */
export type Ipv6 = string & { readonly [brand]: 'Ipv6' };
export type Ip = Ipv4 | Ipv6;
export type IpFamily = 'ipv4' | 'ipv6';
/** A network interface's name, at most 15 bytes (IFNAMSIZ - 1), no slash or space. */
export type IfName = string & { readonly [brand]: 'IfName' };
/** A transport port, 1 to 65535. */
export type Port = number & { readonly [brand]: 'Port' };

/** An IPv4 address together with the prefix length of the subnet it lives in, `172.22.0.1/24`. */
export interface Ipv4Cidr {
  readonly address: Ipv4;
  /** Prefix length in bits, 0 to 32. */
  readonly prefixBits: number;
}

/** An IPv6 address together with the prefix length of its subnet, `fd00:7722::1/64`. */
export interface Ipv6Cidr {
  readonly address: Ipv6;
  /** Prefix length in bits, 0 to 128. */
  readonly prefixBits: number;
}

/** Parses a strict dotted quad (no octal, no short forms); undefined when it is not one. */
export function parseIpv4(text: string): Ipv4 | undefined {
  return ipaddr.IPv4.isValidFourPartDecimal(text) ? (text as Ipv4) : undefined;
}

/**
 * Parses an IPv6 address of whatever spelling into its one canonical form; undefined when it is not one. One that holds
 * an IPv4 address (::/96, ::ffff:0:0/96) is of no network.
 */
export function parseIpv6(text: string): Ipv6 | undefined {
  if (!/^[0-9a-f:]{2,39}$/i.test(text) || !ipaddr.IPv6.isValid(text)) return undefined;
  const address = ipaddr.IPv6.parse(text);
  const isHolder = address.isIPv4MappedAddress() || address.parts.slice(0, 6).every((part) => part === 0);
  return isHolder && !['unspecified', 'loopback'].includes(address.range())
    ? undefined
    : (address.toRFC5952String() as Ipv6);
}

/** Parses an address of either family; undefined when it is not one. */
export function parseIp(text: string): Ip | undefined {
  return parseIpv4(text) ?? parseIpv6(text);
}

/** Which family an address, or a subnet as text, is of. */
export function familyOf(text: string): IpFamily {
  return text.includes(':') ? 'ipv6' : 'ipv4';
}

export function isIpv6(address: Ip): address is Ipv6 {
  return familyOf(address) === 'ipv6';
}

export function isIpv4(address: Ip): address is Ipv4 {
  return familyOf(address) === 'ipv4';
}

/** Parses `address/n` of IPv6; undefined when it is not that. */
export function parseIpv6Cidr(text: string): Ipv6Cidr | undefined {
  const [addressText = '', prefixText = '', ...rest] = text.split('/');
  const address = parseIpv6(addressText);
  if (address === undefined || rest.length > 0 || !/^(0|[1-9]\d{0,2})$/.test(prefixText)) return undefined;
  const prefixBits = Number(prefixText);
  return prefixBits <= 128 ? { address, prefixBits } : undefined;
}

/** Parses `a.b.c.d/n`; undefined when it is not that. */
export function parseIpv4Cidr(text: string): Ipv4Cidr | undefined {
  const [addressText = '', prefixText = '', ...rest] = text.split('/');
  const address = parseIpv4(addressText);
  if (address === undefined || rest.length > 0 || !/^(0|[1-9]\d?)$/.test(prefixText)) return undefined;
  const prefixBits = Number(prefixText);
  return prefixBits <= 32 ? { address, prefixBits } : undefined;
}

/** Parses a decimal port without sign, spaces or leading zeros; undefined when it is not one. */
export function parsePort(text: string): Port | undefined {
  if (!/^[1-9]\d{0,4}$/.test(text)) return undefined;
  const port = Number(text);
  return port <= 65_535 ? (port as Port) : undefined;
}

/** Parses an interface name as the kernel takes it (dev_valid_name, Linux net/core/dev.c). */
export function parseIfName(text: string): IfName | undefined {
  // Printable ASCII only: the kernel counts bytes, and a quote would end the name in a rule.
  return /^[!#-.0-9;-~]{1,15}$/.test(text) && text !== '.' && text !== '..' ? (text as IfName) : undefined;
}

/** The subnet's own address: every host bit zero. */
export function networkOf(cidr: Ipv4Cidr): Ipv4 {
  return ipaddr.IPv4.networkAddressFromCIDR(renderCidr(cidr)).toString() as Ipv4;
}

/** The subnet's broadcast address: every host bit one. */
export function broadcastOf(cidr: Ipv4Cidr): Ipv4 {
  return ipaddr.IPv4.broadcastAddressFromCIDR(renderCidr(cidr)).toString() as Ipv4;
}

/** The subnet's first host address: its own with the last bit set. */
export function firstHostOf(cidr: Ipv6Cidr): Ipv6 {
  const network = ipaddr.IPv6.networkAddressFromCIDR(renderCidr(cidr));
  const parts = [...network.parts.slice(0, 7), (network.parts[7] ?? 0) + 1];
  return new ipaddr.IPv6(parts).toRFC5952String() as Ipv6;
}

/** The subnet's highest address that is not `cidr.address` itself. */
export function lastOtherOf(cidr: Ipv6Cidr): Ipv6 {
  const { parts } = ipaddr.IPv6.broadcastAddressFromCIDR(renderCidr(cidr));
  const withLast = (last: number) => new ipaddr.IPv6([...parts.slice(0, 7), last]).toRFC5952String() as Ipv6;
  const last = parts[7] ?? 0;
  return withLast(last) === cidr.address ? withLast(last - 1) : withLast(last);
}

/** The subnet's highest host address that is not `cidr.address` itself. */
export function lastHostOf(cidr: Ipv4Cidr): Ipv4 {
  const bytes = broadcastOf(cidr).split('.').map(Number);
  const withLast = (last: number) => [...bytes.slice(0, 3), last].join('.') as Ipv4;
  const broadcast = bytes[3] ?? 255;
  const highest = withLast(broadcast - 1);
  return highest === cidr.address ? withLast(broadcast - 2) : highest;
}

/** True when `address` lies in the subnet of `cidr`; one of the other family never does. */
export function contains(cidr: Ipv4Cidr | Ipv6Cidr, address: Ip): boolean {
  const [one, other] = [ipaddr.parse(address), ipaddr.parse(cidr.address)];
  return one.kind() === other.kind() && one.match(other, cidr.prefixBits);
}

/** True when the two subnets share an address. */
export function overlaps(one: Ipv4Cidr | Ipv6Cidr, other: Ipv4Cidr | Ipv6Cidr): boolean {
  const prefixBits = Math.min(one.prefixBits, other.prefixBits);
  return contains({ ...one, prefixBits }, other.address);
}

/** Renders `address/prefix` with the address as it stands. */
export function renderCidr(cidr: Ipv4Cidr | Ipv6Cidr): string {
  return `${cidr.address}/${cidr.prefixBits}`;
}

/** Renders the subnet, host bits cleared: `172.22.0.0/24`. */
export function renderSubnet(cidr: Ipv4Cidr | Ipv6Cidr): string {
  if (familyOf(cidr.address) === 'ipv4') return `${networkOf(cidr as Ipv4Cidr)}/${cidr.prefixBits}`;
  return `${ipaddr.IPv6.networkAddressFromCIDR(renderCidr(cidr)).toRFC5952String()}/${cidr.prefixBits}`;
}

/** Renders `address:port`, an IPv6 address in brackets. */
export function renderSocket(address: Ip, port: number): string {
  return `${isIpv6(address) ? `[${address}]` : address}:${port}`;
}

/** The address as one number, to count and to order by. */
export function toNumber(address: Ipv4): number {
  return address.split('.').reduce((sum, byte) => sum * 256 + Number(byte), 0);
}
