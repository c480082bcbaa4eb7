import type { IfName, Ip, IpFamily, Port } from '../net/address.ts';
import type { OneOrMore } from '../one-or-more.ts';

/**
 * A firewall ruleset as plain data, independent of the tool that loads it.
 *
 * It covers the few expressions the plans need, so that a second renderer (iptables) stays possible.
 */
export interface Ruleset {
  readonly tables: readonly Table[];
}

/**
 * `inet` sees IPv4 and IPv6; `ip` and `ip6` are used for NAT, because inet NAT needs Linux 5.2. `netdev` sees every frame of one
 * device, `arp` the machine's own ARP; iptables has neither.
 */
export type Family = 'inet' | 'ip' | 'ip6' | 'netdev' | 'arp';

export interface Table {
  readonly family: Family;
  readonly name: string;
  readonly maps: readonly DnatMap[];
  /** Sets that packets themselves fill. */
  readonly sets?: readonly PacketSet[];
  readonly chains: readonly Chain[];
}

/** Destination map of port forwards: one lookup whatever the number of forwards. */
export interface DnatMap {
  readonly name: string;
  readonly entries: readonly DnatEntry[];
}

export interface DnatEntry {
  readonly transport: 'tcp' | 'udp';
  readonly outsidePort: Port;
  readonly target: Ip;
  readonly targetPort: Port;
}

/** Source addresses, alone or each with a mark; what comes when it is full gets no element. */
export interface PacketSet {
  readonly name: string;
  readonly family: IpFamily;
  readonly key: 'source' | 'source-and-mark';
  readonly mostElements: number;
}

/** A base chain has a hook; a chain without one is only jumped to. */
export interface Chain {
  readonly name: string;
  readonly hook?: Hook;
  readonly rules: readonly Rule[];
}

export interface Hook {
  readonly type: 'filter' | 'nat';
  readonly at: 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting' | 'egress';
  /** At egress, the device that the chain hangs on, and vanishes with. */
  readonly device?: IfName;
  /** `before-docker`: whose own translation, of its resolver, is at `dstnat`. */
  readonly priority: 'raw' | 'before-docker' | 'dstnat' | 'filter' | 'srcnat' | 'last';
  readonly policy: 'accept' | 'drop';
}

export interface Rule {
  /** Stable name; loaded as the rule's comment, so that a listing explains itself. */
  readonly id: string;
  /** The reason, for people: docs and `plan` print it. */
  readonly why: string;
  readonly when: readonly Match[];
  /** Changes the packet, and goes on. */
  readonly clampMss?: 'path-mtu' | number;
  /**
   * Counts the packet by its source under a number, and goes on. Never beside a verdict: where the set is full the rest
   * of a rule is left out (NFT_BREAK, Linux net/netfilter/nft_dynset.c).
   */
  readonly count?: { readonly set: string; readonly mark: number };
  readonly verdict?: Verdict;
}

export type Match =
  | { readonly kind: 'in'; readonly names: OneOrMore<IfName> }
  | { readonly kind: 'not-in'; readonly names: OneOrMore<IfName> }
  | { readonly kind: 'out'; readonly names: OneOrMore<IfName> }
  | { readonly kind: 'family'; readonly family: IpFamily }
  | { readonly kind: 'source'; readonly subnet: string; readonly negate?: true }
  /**
   * All of one family; a packet of the other one does not match, negated or not. No subnets: in a set that has one, nft
   * lists addresses that follow each other as a range (1.0.6, 1.1.3).
   */
  | { readonly kind: 'source-any'; readonly addresses: OneOrMore<Ip>; readonly negate?: true }
  | { readonly kind: 'destination-subnet'; readonly subnet: string }
  | { readonly kind: 'destination'; readonly addresses: OneOrMore<Ip>; readonly negate?: true }
  | {
      readonly kind: 'transport';
      readonly transports: OneOrMore<'tcp' | 'udp'>;
      /** The port on one side; a rule never needs both. */
      readonly port?: { readonly side: 'source' | 'destination' } & (
        | { readonly number: number }
        /** In ascending order, none of them touching the next. */
        | { readonly among: OneOrMore<PortSpan> }
      );
    }
  /** An opening TCP segment: SYN without ACK, FIN or RST. */
  | { readonly kind: 'tcp-opening' }
  | { readonly kind: 'icmp'; readonly types: OneOrMore<IcmpType> }
  | { readonly kind: 'icmpv6'; readonly types: OneOrMore<Icmpv6Type> }
  | { readonly kind: 'state'; readonly states: OneOrMore<ConntrackState> }
  | { readonly kind: 'was-dnated' }
  /** The connection's first packet had that source or destination, as it arrived. */
  | { readonly kind: 'opened'; readonly side: 'source' | 'destination'; readonly subnet: string }
  | { readonly kind: 'socket-uid'; readonly uid: number }
  /** A frame for another host, a broadcast or a multicast. */
  | { readonly kind: 'not-unicast-to-us' }
  /** A fragment but the first, which has no ports; of IPv6 any fragment. */
  | { readonly kind: 'later-fragment'; readonly family: IpFamily }
  /** ARP that asks who has an address outside of the subnet. */
  | { readonly kind: 'arp-asks-outside'; readonly subnet: string }
  /** ARP that has nothing of the subnet in it. */
  | { readonly kind: 'arp-without'; readonly subnet: string }
  /** Matches when the packet's source has more connections than that, and counts this one; comes last. */
  | { readonly kind: 'connections-over'; readonly most: number; readonly set: PacketSet };

/** Ports from the first to the last. */
export interface PortSpan {
  readonly first: number;
  readonly last: number;
}

export type IcmpType = 'echo-request' | 'destination-unreachable' | 'time-exceeded';
export type Icmpv6Type =
  | 'destination-unreachable'
  | 'packet-too-big'
  | 'time-exceeded'
  | 'parameter-problem'
  | 'echo-request'
  | 'nd-router-solicit'
  | 'nd-router-advert'
  | 'nd-neighbor-solicit'
  | 'nd-neighbor-advert'
  | 'mld2-listener-report';
export type ConntrackState = 'invalid' | 'established' | 'related' | 'new';

export type Verdict =
  | { readonly kind: 'accept' }
  | { readonly kind: 'drop' }
  /** ICMP administratively prohibited, which a client sees at once. */
  | { readonly kind: 'reject' }
  | { readonly kind: 'reject-reset' }
  | { readonly kind: 'jump'; readonly chain: string }
  /** With ports: the flow keeps its source port if it is one of them, and else gets one of them. */
  | { readonly kind: 'masquerade'; readonly ports?: PortSpan }
  /** More than one target: used in turn; all by this port, or else by the one that was asked for. */
  | { readonly kind: 'dnat'; readonly targets: OneOrMore<Ip>; readonly port?: Port }
  | { readonly kind: 'dnat-by-map'; readonly map: string; readonly family: IpFamily };
