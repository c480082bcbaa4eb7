import type { IfName, Ip, Ipv4, Ipv6 } from '../net/address.ts';
import type { PortSpan, Ruleset } from '../ruleset/model.ts';
import type { Firewall } from './facts.ts';

/** The whole wanted state of the machine, computed anew for every policy. */
export interface Plan {
  readonly ruleset: Ruleset;
  /** What loads the ruleset. */
  readonly firewall: Firewall;
  readonly rules: readonly RoutingRule[];
  /** The same for IPv6, which has a list of its own in the kernel; routes of both families share theirs. */
  readonly ipv6Rules: readonly RoutingRule[];
  /** Every route of every table that is ours. */
  readonly routes: readonly Route[];
  readonly tun: PlannedTun;
  /** The device of the tunnel that stands by, where there is one. */
  readonly standbyTun?: PlannedTun;
}

/** A tunnel's device. */
export interface PlannedTun {
  readonly name: IfName;
  /** Absent: the interface has no address and carries nothing. */
  readonly link?: { readonly address: Ipv4; readonly mtuBytes: number; readonly ipv6?: { readonly address: Ipv6 } };
}

/** A policy routing rule; lower preferences are asked first, and the kernel's own `local` is 0. */
export interface RoutingRule {
  readonly preference: number;
  readonly from:
    | {
        readonly kind: 'interface';
        readonly name: IfName;
        /** Absent: any source. */
        readonly source?: string;
      }
    /** An address of the router's own. */
    | { readonly kind: 'source'; readonly address: Ipv4 }
    /** Whatever sockets of this user send. */
    | {
        readonly kind: 'user';
        readonly uid: number;
        /** Only from this address of the router's own. */
        readonly source?: Ipv4;
      }
    /** Whatever a socket that is bound to this device sends. */
    | { readonly kind: 'device'; readonly name: IfName }
    | { readonly kind: 'forwarded' | 'any' };
  /** Only what goes there, by this protocol and with these ports on one side (Linux 4.17). */
  readonly flow?: {
    readonly destination: string;
    readonly transport: 'tcp' | 'udp';
    readonly side: 'source' | 'destination';
    readonly ports: PortSpan;
  };
  /** A `blackhole` says nothing to the sender; `unreachable` does. */
  readonly to: { readonly kind: 'table'; readonly table: number } | { readonly kind: 'unreachable' | 'blackhole' };
  readonly why: string;
}

export interface Route {
  readonly table: number;
  /** `default` (of IPv6: `::/0`), an address or a subnet, as `ip route` prints it. */
  readonly destination: string;
  readonly via:
    | { readonly kind: 'device'; readonly name: IfName; readonly gateway?: Ip }
    /** Nowhere but to this network namespace itself. */
    | { readonly kind: 'local'; readonly name: IfName }
    | { readonly kind: 'unreachable' };
  readonly why: string;
}
