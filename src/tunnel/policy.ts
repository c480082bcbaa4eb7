import { type IfName, type Ip, type Ipv4, type Ipv6, type Port, renderSocket } from '../net/address.ts';

/** A literal place that OpenVPN may talk to; the only one that is ever open on the uplink while it dials. */
export interface Endpoint {
  readonly address: Ip;
  readonly port: Port;
  readonly transport: 'udp' | 'tcp';
  /** Index of the profile in the order of CONFIG, and of its remote that this came from. */
  readonly profileIndex: number;
  readonly remoteIndex: number;
}

/** The tunnel as the server configured it. */
export interface TunnelLink {
  readonly name: IfName;
  readonly address: Ipv4;
  readonly mtuBytes: number;
  /** The server's end, where it told us. */
  readonly peer?: Ipv4;
  /** Resolvers that the server pushed, in its order. */
  readonly pushedDns: readonly Ipv4[];
  /** Its IPv6, where the server gave it an address. */
  readonly ipv6?: { readonly address: Ipv6; readonly pushedDns: readonly Ipv6[] };
}

/** Where names of remotes are asked: Docker's resolver hides its upstreams, so `any` of them may have to be reached. */
export type ResolverScope = { readonly kind: 'any' } | { readonly kind: 'servers'; readonly servers: readonly Ip[] };

/** What may pass: that of the tunnel which carries clients, or would, and of the one beside it. */
export type Policy = TunnelPolicy & {
  /** The tunnel that stands by: its server and its probe, and never a client. */
  readonly standby?: TunnelPolicy;
};

/** What one tunnel needs to pass. Each variant carries only what that state may open. */
export type TunnelPolicy =
  /** Nothing but answers to clients. */
  | { readonly kind: 'lockdown' }
  /** The router's own name look-ups on the uplink. */
  | { readonly kind: 'resolve'; readonly scope: ResolverScope }
  /** OpenVPN to one endpoint on the uplink. */
  | { readonly kind: 'dial'; readonly endpoint: Endpoint }
  /** The same endpoint, and clients through the tunnel. */
  | { readonly kind: 'forward'; readonly endpoint: Endpoint; readonly tun: TunnelLink };

/** One log line's worth of a policy: `dial 198.51.100.10:1194/udp`. */
export function renderPolicy({ standby, ...policy }: Policy): string {
  return standby === undefined ? renderOne(policy) : `${renderOne(policy)}; standby: ${renderOne(standby)}`;
}

function renderOne(policy: TunnelPolicy): string {
  switch (policy.kind) {
    case 'lockdown':
      return 'lockdown';
    case 'resolve':
      if (policy.scope.kind === 'any') return 'resolve by any server';
      return `resolve by ${policy.scope.servers.join(', ') || "Docker's resolver alone"}`;
    case 'dial':
      return `dial ${renderEndpoint(policy.endpoint)}`;
    case 'forward':
      return `forward through ${policy.tun.name} (${policy.tun.address}) to ${renderEndpoint(policy.endpoint)}`;
  }
}

/** `address:port/transport`, an IPv6 address in brackets. */
export function renderEndpoint(endpoint: Endpoint): string {
  return `${renderSocket(endpoint.address, endpoint.port)}/${endpoint.transport}`;
}
