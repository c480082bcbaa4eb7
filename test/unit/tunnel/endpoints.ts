import { type IfName, type Ipv4, type Port, parseIfName, parseIpv4, parsePort } from '../../../src/net/address.ts';
import type { Endpoint, TunnelLink } from '../../../src/tunnel/policy.ts';

/** An address that a test states as text. */
export function ipv4(text: string): Ipv4 {
  return stated(parseIpv4(text), text);
}

export function ifName(text: string): IfName {
  return stated(parseIfName(text), text);
}

export function port(number: number): Port {
  return stated(parsePort(`${number}`), number);
}

/** A VPN server, told by the last number of its address. */
export function endpoint(last: number, overrides: Partial<Endpoint> = {}): Endpoint {
  return { address: ipv4(`198.51.100.${last}`), port: port(1194), transport: 'udp', remoteIndex: 0, ...overrides };
}

/** A tunnel as a server set it up, told by the last number of its address. */
export function tunnelLink(last: number, overrides: Partial<TunnelLink> = {}): TunnelLink {
  return { name: ifName('tun0'), address: ipv4(`10.8.0.${last}`), mtuBytes: 1500, pushedDns: [], ...overrides };
}

function stated<T>(parsed: T | undefined, given: unknown): T {
  if (parsed === undefined) throw new TypeError(`a test states ${given}`);
  return parsed;
}
