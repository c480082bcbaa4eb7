// Ethernet frames byte by byte, also those that no kernel would send for a program.

export interface Packet {
  readonly etherType: number;
  readonly bytes: Buffer;
}

export interface Ipv4Header {
  readonly source: string;
  readonly destination: string;
  readonly ttl: number;
  readonly protocol: number;
  readonly identification?: number;
  /** In bytes, a multiple of 8. */
  readonly fragmentOffset?: number;
  readonly moreFragments?: boolean;
  /** A multiple of 4 bytes. */
  readonly options?: Buffer;
}

export interface Ipv6Header {
  readonly source: string;
  readonly destination: string;
  readonly hopLimit: number;
  readonly nextHeader: number;
}

export const protocols = {
  hopByHop: 0,
  icmp: 1,
  igmp: 2,
  ipip: 4,
  tcp: 6,
  udp: 17,
  routing: 43,
  ipv6Fragment: 44,
  dccp: 33,
  gre: 47,
  esp: 50,
  icmp6: 58,
  destinationOptions: 60,
  sctp: 132,
  udplite: 136,
  experiment: 253,
} as const;
export const tcpFlags = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32 } as const;
const etherTypes = { ipv4: 0x0800, arp: 0x0806, vlan: 0x8100, ipv6: 0x86dd } as const;

export function ipv4(header: Ipv4Header, payload: Buffer): Packet {
  const options = header.options ?? Buffer.alloc(0);
  const head = Buffer.alloc(20);
  head[0] = 0x40 | ((20 + options.length) / 4);
  head.writeUInt16BE(20 + options.length + payload.length, 2);
  head.writeUInt16BE(header.identification ?? 0, 4);
  head.writeUInt16BE((header.moreFragments === true ? 0x2000 : 0) | ((header.fragmentOffset ?? 0) / 8), 6);
  head[8] = header.ttl;
  head[9] = header.protocol;
  ipv4Bytes(header.source).copy(head, 12);
  ipv4Bytes(header.destination).copy(head, 16);
  const whole = Buffer.concat([head, options]);
  whole.writeUInt16BE(checksum(whole), 10);
  return { etherType: etherTypes.ipv4, bytes: Buffer.concat([whole, payload]) };
}

/** Two fragments of one datagram, the first with `firstBytes` (a multiple of 8) of it. */
export function fragment(header: Ipv4Header, payload: Buffer, firstBytes: number): readonly [Packet, Packet] {
  return [
    ipv4({ ...header, moreFragments: true }, payload.subarray(0, firstBytes)),
    ipv4({ ...header, fragmentOffset: firstBytes }, payload.subarray(firstBytes)),
  ];
}

export function ipv6(header: Ipv6Header, payload: Buffer): Packet {
  const head = Buffer.alloc(40);
  head[0] = 0x60;
  head.writeUInt16BE(payload.length, 4);
  head[6] = header.nextHeader;
  head[7] = header.hopLimit;
  ipv6Bytes(header.source).copy(head, 8);
  ipv6Bytes(header.destination).copy(head, 24);
  return { etherType: etherTypes.ipv6, bytes: Buffer.concat([head, payload]) };
}

/** An extension header of IPv6 (RFC 8200): `body` is what follows its length, 8 n + 6 bytes of it. */
export function extension(nextHeader: number, body: Buffer, payload: Buffer): Buffer {
  return Buffer.concat([Buffer.from([nextHeader, (body.length - 6) / 8]), body, payload]);
}

/** Bytes of a routing header's `type` that has one address left to visit. */
export function sourceRoute6(type: number, addresses: readonly string[]): Buffer {
  const head = Buffer.from([type, 1, addresses.length - 1, 0, 0, 0]);
  return Buffer.concat([head, ...addresses.map(ipv6Bytes)]);
}

/** An option of IPv4 (RFC 791): `type` 131 is a loose and 137 a strict source route, at the first of its addresses or past the last. */
export function sourceRoute(type: number, addresses: readonly string[], at: 'first' | 'end'): Buffer {
  const length = 3 + 4 * addresses.length;
  const head = Buffer.from([type, length, at === 'first' ? 4 : length + 1]);
  return Buffer.concat([head, ...addresses.map(ipv4Bytes), Buffer.alloc(1)]);
}

/** Who has `target`?, as `source` asks it (RFC 826). */
export function arpQuestion(source: string, target: string): Packet {
  const head = Buffer.from('0001080006040001020000000bad', 'hex');
  const bytes = Buffer.concat([head, ipv4Bytes(source), Buffer.alloc(6), ipv4Bytes(target)]);
  return { etherType: etherTypes.arp, bytes };
}

/** The same packet with an IEEE 802.1Q tag. */
export function tagged(packet: Packet, vlan: number): Packet {
  const tag = Buffer.alloc(4);
  tag.writeUInt16BE(vlan, 0);
  tag.writeUInt16BE(packet.etherType, 2);
  return { etherType: etherTypes.vlan, bytes: Buffer.concat([tag, packet.bytes]) };
}

type Checksum = 'right' | 'wrong';

export interface Ends {
  readonly source: string;
  readonly destination: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

export function udp(ends: Ends, data: Buffer, checksumIs: Checksum = 'right'): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt16BE(ends.sourcePort, 0);
  head.writeUInt16BE(ends.destinationPort, 2);
  head.writeUInt16BE(8 + data.length, 4);
  return summed({ ends, protocol: protocols.udp, segment: Buffer.concat([head, data]), at: 6, checksumIs });
}

export function tcp(ends: Ends, flags: number, checksumIs: Checksum = 'right'): Buffer {
  const head = Buffer.alloc(20);
  head.writeUInt16BE(ends.sourcePort, 0);
  head.writeUInt16BE(ends.destinationPort, 2);
  head.writeUInt32BE(0x1020_3040, 4);
  head[12] = 0x50;
  head[13] = flags;
  head.writeUInt16BE(0xffff, 14);
  return summed({ ends, protocol: protocols.tcp, segment: head, at: 16, checksumIs });
}

export function icmp(type: number, code: number, rest: Buffer): Buffer {
  const message = Buffer.concat([Buffer.from([type, code, 0, 0]), rest]);
  message.writeUInt16BE(checksum(message), 2);
  return message;
}

export function icmp6(ends: Pick<Ends, 'source' | 'destination'>, type: number, rest: Buffer): Buffer {
  const segment = Buffer.concat([Buffer.from([type, 0, 0, 0]), rest]);
  return summed({ ends, protocol: protocols.icmp6, segment, at: 2, checksumIs: 'right' });
}

export function frame(to: Buffer, from: Buffer, { etherType, bytes }: Packet): Buffer {
  const type = Buffer.alloc(2);
  type.writeUInt16BE(etherType);
  return Buffer.concat([to, from, type, bytes]);
}

export function macBytes(address: string): Buffer {
  return Buffer.from(address.replaceAll(':', ''), 'hex');
}

function summed({
  ends,
  protocol,
  segment,
  at,
  checksumIs,
}: {
  readonly ends: Pick<Ends, 'source' | 'destination'>;
  readonly protocol: number;
  readonly segment: Buffer;
  readonly at: number;
  readonly checksumIs: Checksum;
}): Buffer {
  const addressBytes = ends.source.includes(':') ? ipv6Bytes : ipv4Bytes;
  const pseudo = Buffer.alloc(8);
  pseudo.writeUInt32BE(segment.length, 0);
  pseudo.writeUInt32BE(protocol, 4);
  const sum = checksum(Buffer.concat([addressBytes(ends.source), addressBytes(ends.destination), pseudo, segment]));
  segment.writeUInt16BE(checksumIs === 'right' ? sum : sum ^ 0x5555, at);
  return segment;
}

/** RFC 1071. */
function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function ipv4Bytes(address: string): Buffer {
  return Buffer.from(address.split('.').map(Number));
}

function ipv6Bytes(address: string): Buffer {
  const groups = (text: string) => (text === '' ? [] : text.split(':'));
  const [head = '', tail = ''] = address.split('::');
  const zeros = Array<string>(8 - groups(head).length - groups(tail).length).fill('0');
  const all = address.includes('::') ? [...groups(head), ...zeros, ...groups(tail)] : groups(head);
  return Buffer.from(all.map((group) => group.padStart(4, '0')).join(''), 'hex');
}
