// Who is where, and packets between them.
import { type Ends, fragment, ipv4, ipv6, type Packet, protocols, tcp, udp } from './frames.ts';

/** Who is where: what somebody must know who wants to get past the router. */
export interface Scene {
  readonly client: string;
  /** Another client. */
  readonly other: string;
  readonly gateway: string;
  readonly routerUplink: string;
  readonly isp: string;
  /** The VPN server, and its port. */
  readonly server: string;
  readonly serverPort: number;
  /** Something in the internet. */
  readonly web: string;
  /** A resolver that nobody told the client to ask. */
  readonly resolver: string;
  /** The router's address in the tunnel. */
  readonly tunnel: string;
  /** A connection from outside to a forwarded port of the client, as the client sees it. */
  readonly caller: { readonly address: string; readonly port: number; readonly forwardedPort: number };
}

export interface Round {
  readonly ttl: number;
  /** Differs from round to round, in a small range: flows come again, so that tables of flows do not fill up. */
  readonly number: number;
}

/** In every packet that has room for it, for whoever reads a capture. */
export const data = Buffer.from('sent by a client');
export const ula = {
  client: 'fd00:7722::128',
  other: 'fd00:7722::129',
  gateway: 'fd00:7722::1',
  web: '2001:db8:80::80',
  server: '2001:db8:203::10',
  routerUplink: '2001:db8:198::2',
  isp: '2001:db8:198::1',
  /** The router's address in the tunnel, and who calls there. */
  tunnel: 'fd00:8::1000',
  caller: 'fd00:8::1',
} as const;

export function datagram(
  scene: Scene,
  { ttl, number }: Round,
  destination: string,
  port: number,
  payload = data,
): Packet {
  const header = { ...pair(scene.client, destination), ttl, protocol: protocols.udp };
  return ipv4(header, udp(ends(scene.client, destination, { ttl, number }, port), payload));
}

export function segment(
  scene: Scene,
  { ttl, number }: Round,
  destination: string,
  port: number,
  flags: number,
): Packet {
  const header = { ...pair(scene.client, destination), ttl, protocol: protocols.tcp };
  return ipv4(header, tcp(ends(scene.client, destination, { ttl, number }, port), flags));
}

export function datagram6(source: string, destination: string, round: Round, port: number): Packet {
  const header = { ...pair(source, destination), hopLimit: round.ttl, nextHeader: protocols.udp };
  return ipv6(header, udp(ends(source, destination, round, port), data));
}

export function segment6(source: string, destination: string, round: Round, port: number, flags: number): Packet {
  const header = { ...pair(source, destination), hopLimit: round.ttl, nextHeader: protocols.tcp };
  return ipv6(header, tcp(ends(source, destination, round, port), flags));
}

export function fragments(scene: Scene, round: Round, destination: string, payload: Buffer, port: number) {
  const { ttl, number } = round;
  const header = { ...pair(scene.client, destination), ttl, protocol: protocols.udp };
  const whole = udp(ends(scene.client, destination, round, port), payload);
  return fragment({ ...header, identification: 0x1000 + port + number * 64 }, whole, 16);
}

export function pair(source: string, destination: string) {
  return { source, destination };
}

export function ends(source: string, destination: string, { number }: Round, destinationPort: number): Ends {
  return { source, destination, sourcePort: 40_000 + number, destinationPort };
}

export function words(first: number, second: number, rest: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt16BE(first, 0);
  head.writeUInt16BE(second, 2);
  return Buffer.concat([head, rest]);
}
