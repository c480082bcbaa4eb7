import type { IfName, Ipv4 } from '../net/address.ts';
import type { Hook, Rule, Ruleset } from '../ruleset/model.ts';
import type { Route, RoutingRule } from './plan.ts';

/** Names of our tables; nothing outside them is ever touched. */
export const filterTable = 'underbridge';
export const natTable = 'underbridge_nat';
export const egressTable = 'underbridge_egress';
export const arpTable = 'underbridge_arp';

/** Routing tables of ours: the router's own packets, packets from clients, packets from the tunnel, probes, OpenVPN's, LAN_ALLOW's, the resolver's, what a sidecar's process binds to the uplink. */
export const tableIds = {
  own: 7100,
  clients: 7101,
  tunnel: 7102,
  probes: 7103,
  standbyProbes: 7104,
  openvpn: 7105,
  allowed: 7106,
  resolver: 7107,
  forced: 7108,
} as const;

export const loopback = 'lo' as IfName;

const acceptLoopbackIn: Rule = {
  id: 'in-loopback',
  why: "The health endpoint and Docker's resolver live on loopback.",
  when: [{ kind: 'in', names: [loopback] }],
  verdict: { kind: 'accept' },
};

const acceptLoopbackOut: Rule = {
  id: 'out-loopback',
  why: "The health check and Docker's resolver live on loopback.",
  when: [{ kind: 'out', names: [loopback] }],
  verdict: { kind: 'accept' },
};

/** A name that it does not know it asks of others, from the machine. */
export const dropDockerResolver: Rule = {
  id: 'out-docker-resolver',
  why: "Docker's resolver has the machine ask beside the tunnel.",
  when: [{ kind: 'destination', addresses: ['127.0.0.11' as Ipv4] }],
  verdict: { kind: 'drop' },
};

export const closed = (at: Hook['at']): Hook => ({ type: 'filter', at, priority: 'filter', policy: 'drop' });

/**
 * The ruleset that is loaded before Node starts, when nothing is known of the interfaces: only loopback passes.
 * `rootfs/` holds its rendering as a file, and a test compares the two.
 */
export function planBootRuleset(mode: 'router' | 'sidecar' = 'router'): Ruleset {
  return {
    tables: [
      {
        family: 'inet',
        name: filterTable,
        maps: [],
        chains: [
          { name: 'input', hook: closed('input'), rules: [acceptLoopbackIn] },
          { name: 'forward', hook: closed('forward'), rules: [] },
          {
            name: 'output',
            hook: closed('output'),
            rules: [...(mode === 'sidecar' ? [dropDockerResolver] : []), acceptLoopbackOut],
          },
        ],
      },
      { family: 'ip', name: natTable, maps: [], chains: [] },
    ],
  };
}

/** The routing rules that hold in every state: the second lock, which needs no firewall. */
export function planBootRules(): readonly RoutingRule[] {
  return [
    {
      preference: 110,
      from: { kind: 'forwarded' },
      to: { kind: 'unreachable' },
      why: 'A packet that is not ours and met no tunnel goes nowhere.',
    },
    {
      preference: 120,
      from: { kind: 'any' },
      to: { kind: 'table', table: tableIds.own },
      why: "Only the router's own packets get this far; main is never asked, whatever Docker or a server put there.",
    },
    {
      preference: 130,
      from: { kind: 'any' },
      to: { kind: 'unreachable' },
      why: 'Nothing falls through to main.',
    },
  ];
}

/**
 * The same for IPv6. It has no reverse path check, so an answer of the kernel's to a forged source could leave where the
 * VPN server is: OpenVPN's user alone has a way there.
 */
export function planIpv6BootRules(openvpnUid: number): readonly RoutingRule[] {
  const openvpn: RoutingRule = {
    preference: 115,
    from: { kind: 'user', uid: openvpnUid },
    to: { kind: 'table', table: tableIds.openvpn },
    why: 'OpenVPN to a server that has an IPv6 address.',
  };
  return [...planBootRules(), openvpn].sort((one, other) => one.preference - other.preference);
}

/** The end of a routing table that packets of others meet. */
export function closedRoute(table: number): Route {
  return {
    table,
    destination: 'default',
    via: { kind: 'unreachable' },
    why: 'Stays when the device and its routes vanish.',
  };
}

export const baseRules = { acceptLoopbackIn, acceptLoopbackOut } as const;
