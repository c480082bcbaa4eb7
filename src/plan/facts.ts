import type { Fault } from '../errors.ts';
import type { IfName, Ipv4, Ipv4Cidr, Ipv6, Ipv6Cidr } from '../net/address.ts';
import type { OneOrMore } from '../one-or-more.ts';

/** The programs that can load a ruleset. */
export type Firewall = 'nft' | 'iptables-nft' | 'iptables-legacy';

/**
 * Layers of defence that not every kernel has: a look at every frame that leaves by the uplink (Linux 5.16), rules for
 * ARP, and counts of connections (4.19). iptables has none of them.
 */
export const extras = ['egress-hook', 'arp-table', 'connection-limit'] as const;
export type Extra = (typeof extras)[number];

/** What the plans need to know of the machine. */
export interface RouterFacts {
  /** The isolated network's interface. */
  readonly lan: { readonly name: IfName };
  /** The way to the VPN server, over one family or both. */
  readonly uplink: {
    readonly name: IfName;
    readonly ipv4?: { readonly cidr: Ipv4Cidr; readonly gateway: Ipv4 };
    readonly ipv6?: UplinkIpv6;
    /** The kernel takes addresses and routes from router advertisements there. */
    readonly heedsAdvertisements?: true;
  };
  readonly tunName: IfName;
  /** The device of the tunnel that stands by, where the user wants one. */
  readonly standbyTunName?: IfName;
  /** The user that OpenVPN runs as; the only one whose packets may reach an endpoint. */
  readonly openvpnUid: number;
  /** What loads the rules; `nft` wherever the kernel has it. */
  readonly firewall: Firewall;
  /** What the kernel has beyond what is needed. */
  readonly extras: readonly Extra[];
  /** Why the networks of the container do not fit the settings any more; what else is here is then of before. */
  readonly networkFault?: Fault;
  /** Linux ≥ 5.9 can reset a TCP connection before routing, so that clients fail at once. */
  readonly canRejectBeforeRouting: boolean;
}

/** The uplink's IPv6. */
export interface UplinkIpv6 {
  /** Every global address that it has. */
  readonly cidrs: OneOrMore<Ipv6Cidr>;
  /** Often a link-local address. */
  readonly gateway: Ipv6;
}
