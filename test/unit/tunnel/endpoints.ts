import {
  type IfName,
  type Ipv4,
  type Ipv6,
  type Port,
  parseIfName,
  parseIpv4,
  parseIpv6,
  parsePort,
} from '../../../src/net/address.ts';
import type { EndpointSource, FailoverSettings, Moment } from '../../../src/tunnel/failover.ts';
import { initialState, type TunnelState } from '../../../src/tunnel/machine.ts';
import type { Endpoint, TunnelLink } from '../../../src/tunnel/policy.ts';

/** An address that a test states as text. */
export function ipv4(text: string): Ipv4 {
  return stated(parseIpv4(text), text);
}

export function ipv6(text: string): Ipv6 {
  return stated(parseIpv6(text), text);
}

export function ifName(text: string): IfName {
  return stated(parseIfName(text), text);
}

export function port(number: number): Port {
  return stated(parsePort(`${number}`), number);
}

/** A VPN server, told by the last number of its address. */
export function endpoint(last: number, overrides: Partial<Endpoint> = {}): Endpoint {
  return {
    address: ipv4(`198.51.100.${last}`),
    port: port(1194),
    transport: 'udp',
    profileIndex: 0,
    remoteIndex: 0,
    ...overrides,
  };
}

/** What the router does unless it is told otherwise. */
export const defaults: FailoverSettings = { failback: { kind: 'idle' }, authRetry: 'slow' };

/** A moment without jitter. */
export function moment(nowMs = 0): Moment {
  return { nowMs, random: 0.5 };
}

/** The start of a router with these profiles, `1.ovpn` first. */
export function startWith(
  [first, ...others]: readonly [EndpointSource, ...EndpointSource[]],
  settings: Partial<FailoverSettings> = {},
): TunnelState {
  const listed = (source: EndpointSource, index: number) => ({ name: `${index + 1}.ovpn`, source });
  const profiles = [listed(first, 0), ...others.map((source, index) => listed(source, index + 1))] as const;
  return initialState(profiles, { ...defaults, ...settings });
}

/** A tunnel as a server set it up, told by the last number of its address. */
export function tunnelLink(last: number, overrides: Partial<TunnelLink> = {}): TunnelLink {
  return { name: ifName('tun0'), address: ipv4(`10.8.0.${last}`), mtuBytes: 1500, pushedDns: [], ...overrides };
}

function stated<T>(parsed: T | undefined, given: unknown): T {
  if (parsed === undefined) throw new TypeError(`a test states ${given}`);
  return parsed;
}
