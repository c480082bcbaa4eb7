import type { LanAllowance } from '../config/router-config.ts';
import { contains, type IfName, type Ipv4, type Ipv4Cidr, renderSubnet } from '../net/address.ts';
import type { Match, Rule } from '../ruleset/model.ts';
import { planLimit } from './connection-limit.ts';
import type { Context } from './context.ts';
import { closedRoute, loopback, planBootRules, tableIds } from './lockdown.ts';
import type { Route, RoutingRule } from './plan.ts';
import { freePorts } from './source-ports.ts';

/**
 * What LAN_ALLOW and LAN_ALLOW_IN let past the tunnel, in every state from the first policy on: it never uses the tunnel.
 * Each of the two locks knows subnet, protocol and ports by itself, so that with one away nothing but these passes.
 */
interface Allowed extends LanAllowance {
  /** The subnet as rules of nft are listed with it. */
  readonly host: string;
  readonly number: number;
  /** Packets of clients to the local network, and the other way. */
  readonly outward: Match;
  readonly inward: Match;
}

/** None while the uplink has no IPv4. */
export function allowedOf({ config, facts }: Pick<Context, 'config' | 'facts'>): readonly Allowed[] {
  if (facts.uplink.ipv4 === undefined) return [];
  return (config.lanAllowances ?? []).map((allowance, index) => {
    const { subnet, transport, ports, target } = allowance;
    const match = (side: 'source' | 'destination'): Match => ({
      kind: 'transport',
      transports: [transport],
      port: { side, among: [ports] },
    });
    return {
      ...allowance,
      host: subnet.prefixBits === 32 ? subnet.address : renderSubnet(subnet),
      number: index + 1,
      outward: match(target === undefined ? 'destination' : 'source'),
      inward: match(target === undefined ? 'source' : 'destination'),
    };
  });
}

const accept = { kind: 'accept' } as const;

/** At forward, in front of what refuses. */
export function planAllowedForward(context: Context): readonly Rule[] {
  const { config, facts } = context;
  const own = facts.uplink.ipv4?.cidr.address;
  const out: readonly Match[] = [
    { kind: 'in', names: [facts.lan.name] },
    { kind: 'out', names: [facts.uplink.name] },
  ];
  const back: readonly Match[] = [
    { kind: 'in', names: [facts.uplink.name] },
    { kind: 'out', names: [facts.lan.name] },
  ];
  const allowed = allowedOf(context);
  /**
   * An answer to somebody beyond the tunnel may have such a destination or source port as well. By nft its address, which
   * is the tunnel's, is seen at the last look; by iptables that comes before translation.
   */
  const openedBy = (target: Ipv4 | undefined): readonly Match[] => {
    if (facts.firewall === 'nft' || own === undefined) return [];
    return target === undefined
      ? [{ kind: 'opened', side: 'source', subnet: renderSubnet(config.gateway) }]
      : [{ kind: 'opened', side: 'destination', subnet: own }];
  };
  return [
    ...(allowed.length === 0 ? [] : planLimit(context, { id: 'allowed-limit', when: out })),
    ...allowed.flatMap(({ number, host, target, outward, inward }): readonly Rule[] => {
      const opens = { kind: 'state', states: ['new', 'established'] } as const;
      const answers = { kind: 'state', states: ['established'] } as const;
      const [at, to]: [readonly Match[], readonly Match[]] =
        target === undefined
          ? [[], []]
          : [
              [{ kind: 'source', subnet: target }],
              [{ kind: 'destination', addresses: [target] }, { kind: 'was-dnated' }],
            ];
      return [
        {
          id: `allowed-out-${number}`,
          why: `${target === undefined ? 'LAN_ALLOW' : 'LAN_ALLOW_IN, answers'}: to this part of the local network, past the tunnel.`,
          when: [
            ...out,
            ...at,
            { kind: 'destination-subnet', subnet: host },
            outward,
            target === undefined ? opens : answers,
            ...openedBy(target),
          ],
          verdict: accept,
        },
        {
          id: `allowed-in-${number}`,
          why: `${target === undefined ? 'LAN_ALLOW, answers' : 'LAN_ALLOW_IN'}: from there.`,
          when: [...back, { kind: 'source', subnet: host }, ...to, inward, target === undefined ? answers : opens],
          verdict: accept,
        },
      ];
    }),
  ];
}

/** A client that opens such a connection is not told that there is no tunnel. */
export function planAllowedBeforeRefusal(context: Context): readonly Rule[] {
  return allowedOf(context)
    .filter(({ target, transport }) => target === undefined && transport === 'tcp')
    .map(({ number, host, outward }) => ({
      id: `refuse-allowed-${number}`,
      why: 'LAN_ALLOW does not need the tunnel.',
      when: [{ kind: 'in', names: [context.facts.lan.name] }, { kind: 'destination-subnet', subnet: host }, outward],
      verdict: accept,
    }));
}

/** What is translated on the uplink. */
export function planAllowedNat(context: Context): {
  readonly prerouting: readonly Rule[];
  readonly postrouting: readonly Rule[];
} {
  const { config, facts } = context;
  const allowed = allowedOf(context);
  const own = facts.uplink.ipv4?.cidr.address;
  if (allowed.length === 0 || own === undefined) return { prerouting: [], postrouting: [] };
  const inward = allowed.filter(({ target }) => target !== undefined);
  const taken = inward.map(({ ports }) => ({ outside: ports }));
  const health = { outside: { first: config.healthAddress.port, last: config.healthAddress.port } };
  return {
    prerouting: inward.flatMap(({ number, host, target, inward: ports }) =>
      target === undefined
        ? []
        : {
            id: `nat-allowed-${number}`,
            why: "LAN_ALLOW_IN: the router's address on the uplink stands for the container.",
            when: [
              { kind: 'in', names: [facts.uplink.name] },
              { kind: 'source', subnet: host },
              { kind: 'destination', addresses: [own] },
              ports,
            ],
            verdict: { kind: 'dnat', targets: [target] },
          },
    ),
    postrouting: [
      {
        id: 'nat-allowed-masquerade',
        why: "LAN_ALLOW: clients appear as the uplink's address, by ports that are nobody's (CVE-2021-3773).",
        when: [
          { kind: 'out', names: [facts.uplink.name] },
          { kind: 'source', subnet: renderSubnet(config.gateway) },
          { kind: 'transport', transports: ['tcp', 'udp'] },
        ],
        verdict: { kind: 'masquerade', ports: freePorts([...taken, health]) },
      },
    ],
  };
}

/** At the last look, in front of `last-forwarded`; by iptables that is before translation, in front of `last-uplink`. */
export function planAllowedLast(context: Context): readonly Rule[] {
  const { config, facts } = context;
  const from: Match =
    facts.firewall === 'nft'
      ? { kind: 'in', names: [facts.lan.name] }
      : { kind: 'source', subnet: renderSubnet(config.gateway) };
  return allowedOf(context).map(({ number, host, outward }) => ({
    id: `last-allowed-${number}`,
    why: 'LAN_ALLOW or LAN_ALLOW_IN: this part of the local network, and nothing else.',
    when: [{ kind: 'destination-subnet', subnet: host }, outward, from, { kind: 'out', names: [facts.uplink.name] }],
    verdict: accept,
  }));
}

/** At the gate of the uplink. `own` is the uplink's address. */
export function planAllowedEgress(context: Context, own: Match): readonly Rule[] {
  return allowedOf(context).flatMap(({ number, host, transport, outward }): readonly Rule[] => {
    const to: readonly Match[] = [own, { kind: 'destination-subnet', subnet: host }];
    const pass: Rule = {
      id: `egress-allowed-${number}`,
      why: 'LAN_ALLOW or LAN_ALLOW_IN, by the address of the uplink.',
      when: [...to, outward],
      verdict: accept,
    };
    if (transport === 'tcp') return [pass];
    const rest: Rule = {
      id: `egress-allowed-fragments-${number}`,
      why: 'The rest of what is too large for the uplink: only the first fragment has ports.',
      when: [...to, { kind: 'later-fragment', family: 'ipv4' }],
      verdict: accept,
    };
    return [pass, rest];
  });
}

const firstPreference = 10;

/** By port: the rest of such a subnet stays where all else goes. Three each, before every other rule. */
export function planAllowedRoutingRules(context: Context): readonly RoutingRule[] {
  const { config, facts } = context;
  const clients = renderSubnet(config.gateway);
  const rules = allowedOf(context).flatMap(
    ({ subnet, transport, ports, target }): Omit<RoutingRule, 'preference'>[] => {
      const [there, here] = [renderSubnet(subnet), target === undefined ? clients : `${target}/32`];
      const [outward, inward] =
        target === undefined ? (['destination', 'source'] as const) : (['source', 'destination'] as const);
      if (config.isSidecar) {
        const why = 'LAN_ALLOW or LAN_ALLOW_IN, and the reverse path check of what comes from there.';
        return [
          {
            // With `iif lo` besides, the check finds no such rule (Linux 6.18).
            from: { kind: 'any' } as const,
            flow: { destination: there, transport, side: outward, ports },
            to: { kind: 'table', table: tableIds.allowed } as const,
            why,
          },
        ];
      }
      const rule = (
        name: IfName,
        destination: string,
        side: 'source' | 'destination',
        why: string,
        source: string,
      ) => ({
        from: { kind: 'interface', name, source } as const,
        flow: { destination, transport, side, ports },
        to: { kind: 'table', table: tableIds.allowed } as const,
        why,
      });
      return [
        rule(facts.lan.name, there, outward, 'LAN_ALLOW: to this part of the local network.', here),
        rule(facts.uplink.name, here, inward, 'LAN_ALLOW: from there.', there),
        // With the client as its source: the router's own packets, which lo stands for as well, never come here.
        rule(loopback, there, outward, "The kernel's reverse path check of what comes from there.", here),
      ];
    },
  );
  const forwarded = planBootRules().filter(({ from }) => from.kind === 'forwarded');
  const first = config.isSidecar && rules.length > 0 ? forwarded : [];
  return [...first, ...rules].map((rule, index) => ({ ...rule, preference: firstPreference + index }));
}

/** The table that only these rules ask. */
export function planAllowedRoutes(context: Context): readonly Route[] {
  const { config, facts } = context;
  const allowed = allowedOf(context);
  const { name, ipv4 } = facts.uplink;
  if (allowed.length === 0 || ipv4 === undefined) return [];
  const table = tableIds.allowed;
  const why = 'The local network, for LAN_ALLOW and LAN_ALLOW_IN.';
  const isOnLink = (subnet: Ipv4Cidr) =>
    subnet.prefixBits >= ipv4.cidr.prefixBits && contains(ipv4.cidr, subnet.address);
  const beyond = new Set(allowed.filter(({ subnet }) => !isOnLink(subnet)).map(({ subnet }) => renderSubnet(subnet)));
  const uplink = (gateway?: Ipv4) => ({ kind: 'device', name, ...(gateway === undefined ? {} : { gateway }) }) as const;
  return [
    closedRoute(table),
    ...(config.isSidecar
      ? []
      : [
          {
            table,
            destination: renderSubnet(config.gateway),
            via: { kind: 'device', name: facts.lan.name } as const,
            why: 'To clients.',
          },
        ]),
    { table, destination: renderSubnet(ipv4.cidr), via: uplink(), why },
    ...[...beyond].map((destination) => ({ table, destination, via: uplink(ipv4.gateway), why })),
  ];
}
