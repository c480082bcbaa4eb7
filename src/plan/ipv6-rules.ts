import { type Ipv6, isIpv6, renderSubnet } from '../net/address.ts';
import { isNonEmpty, type OneOrMore } from '../one-or-more.ts';
import type { Icmpv6Type, Match, Rule } from '../ruleset/model.ts';
import { type Context, endpointsOf, ipv6Of, linksOf, tunNamesOf, uplinkIpv6InUse } from './context.ts';
import { loopback } from './lockdown.ts';

/** Finding each other on a link (RFC 4861): without these, IPv6 has no ARP. */
const neighbourTypes: OneOrMore<Icmpv6Type> = ['nd-neighbor-solicit', 'nd-neighbor-advert'];

/** The interfaces on which IPv6 has neighbours in this state. */
function linkNames(context: Context) {
  const { config, facts } = context;
  return [
    ...(config.ipv6 === undefined ? [] : [facts.lan.name]),
    ...(uplinkIpv6InUse(context) === undefined ? [] : [facts.uplink.name]),
  ];
}

function neighbours(context: Context, side: 'in' | 'out', types: OneOrMore<Icmpv6Type>): readonly Match[] | undefined {
  const names = linkNames(context);
  return isNonEmpty(names)
    ? [
        { kind: side, names },
        { kind: 'icmpv6', types },
      ]
    : undefined;
}

/**
 * An uplink may get its addresses and its next hop by advertisements (RFC 4861), after the start and anew in every state.
 * What they say of routes goes to `main`, which nothing asks.
 */
function advertisements({ facts }: Context, place: 'early' | 'in'): readonly Rule[] {
  if (facts.uplink.heedsAdvertisements === undefined) return [];
  return [
    {
      id: `${place}-advertisements`,
      why: "The uplink's IPv6 by router advertisements, which the kernel takes from the link alone.",
      when: [
        { kind: 'source', subnet: linkLocal },
        { kind: 'icmpv6', types: ['nd-router-advert'] },
        { kind: 'in', names: [facts.uplink.name] },
      ],
      verdict: { kind: 'accept' },
    },
  ];
}

/** The question for them. The gate of the uplink knows no interface but that one. */
function solicitations({ facts }: Context, place: 'out' | 'last' | 'egress'): readonly Rule[] {
  if (facts.uplink.heedsAdvertisements === undefined) return [];
  return [
    {
      id: `${place}-solicitations`,
      why: "The kernel asks the uplink's routers to advertise themselves.",
      when: [
        { kind: 'source', subnet: linkLocal },
        { kind: 'icmpv6', types: ['nd-router-solicit'] },
        ...(place === 'egress' ? [] : [{ kind: 'out', names: [facts.uplink.name] } as const]),
      ],
      verdict: { kind: 'accept' },
    },
  ];
}

/** What of IPv6 is dropped before anything else: all of it, unless clients or OpenVPN use it. */
export function planEarlyIpv6(context: Context): readonly Rule[] {
  const { config, facts, policy } = context;
  const fromNeighbours = neighbours(context, 'in', neighbourTypes);
  const uplink = uplinkIpv6InUse(context);
  const tuns = tunNamesOf(facts);
  const used = [loopback, ...linkNames(context), ...(config.ipv6 === undefined ? [] : tuns)] as const;
  const rules: Rule[] = [...advertisements(context, 'early')];
  if (fromNeighbours !== undefined) {
    rules.push({
      id: 'early-neighbours',
      why: 'Neighbour discovery is multicast, and comes from link-local addresses.',
      when: fromNeighbours,
      verdict: { kind: 'accept' },
    });
  }
  rules.push({
    id: 'early-ipv6',
    why: 'IPv6 goes nowhere but where it was asked for.',
    when: [
      { kind: 'family', family: 'ipv6' },
      { kind: 'not-in', names: used },
    ],
    verdict: { kind: 'drop' },
  });
  if (uplink !== undefined) {
    const [first, ...others] = uplink.cidrs;
    rules.push({
      id: 'early-uplink-weak-host-ipv6',
      why: 'The uplink may address only its own interface.',
      when: [
        { kind: 'in', names: [facts.uplink.name] },
        { kind: 'destination', addresses: [first.address, ...others.map(({ address }) => address)], negate: true },
      ],
      verdict: { kind: 'drop' },
    });
  }
  if (config.ipv6 === undefined) return rules;
  const subnet = renderSubnet(config.ipv6.gateway);
  return [
    ...rules,
    {
      id: 'early-lan-spoof-ipv6',
      why: 'A client speaks with an address of the isolated network only.',
      when: [
        { kind: 'in', names: [facts.lan.name] },
        { kind: 'source', subnet, negate: true },
      ],
      verdict: { kind: 'drop' },
    },
    {
      id: 'early-outside-spoof-ipv6',
      why: 'Nobody outside owns an address of the isolated network.',
      when: [
        { kind: 'source', subnet },
        { kind: 'in', names: [facts.uplink.name, ...tuns] },
      ],
      verdict: { kind: 'drop' },
    },
    ...linksOf(policy).map((link): Rule => {
      const address = ipv6Of(config, link)?.address;
      return {
        id: link.name === facts.tunName ? 'early-tunnel-weak-host-ipv6' : 'early-standby-weak-host-ipv6',
        why: "The tunnel may address only the tunnel's address, and nothing where the server gave none.",
        when: [
          { kind: 'in', names: [link.name] },
          address === undefined
            ? { kind: 'family', family: 'ipv6' }
            : { kind: 'destination', addresses: [address], negate: true },
        ],
        verdict: { kind: 'drop' },
      };
    }),
  ];
}

/** True while clients' IPv6 gets an error instead of a way. */
function isRefusing({ config, policy }: Context): boolean {
  return config.ipv6 !== undefined && (policy.kind !== 'forward' || policy.tun.ipv6 === undefined);
}

/** While the tunnel does not carry IPv6, clients are told at once. */
export function planRefuseIpv6(context: Context): readonly Rule[] {
  const { config, facts } = context;
  if (config.ipv6 === undefined || !isRefusing(context)) return [];
  return [
    {
      id: 'refuse-tcp-ipv6',
      why: 'A client learns at once that there is no way; ICMP errors alone are limited to one a second.',
      when: [
        { kind: 'in', names: [facts.lan.name] },
        { kind: 'destination', addresses: [config.ipv6.gateway.address], negate: true },
        { kind: 'tcp-opening' },
      ],
      verdict: { kind: 'reject-reset' },
    },
  ];
}

/** The first rule of the forward chain while the tunnel does not carry IPv6. */
export function planForwardRefuseIpv6(context: Context): readonly Rule[] {
  if (!isRefusing(context) || context.policy.kind !== 'forward') return [];
  return [
    {
      id: 'forward-refuse-ipv6',
      why: 'The server gave the tunnel no IPv6 address.',
      when: [
        { kind: 'in', names: [context.facts.lan.name] },
        { kind: 'family', family: 'ipv6' },
      ],
      verdict: { kind: 'reject' },
    },
  ];
}

/** What of IPv6 may reach the router itself. */
export function planInputIpv6(context: Context): readonly Rule[] {
  const { config, facts, policy } = context;
  const fromNeighbours = neighbours(context, 'in', neighbourTypes);
  const rules: Rule[] = [...advertisements(context, 'in')];
  if (fromNeighbours !== undefined) {
    rules.push({
      id: 'in-neighbours',
      why: "Neighbours' questions for our address, and their answers to ours.",
      when: fromNeighbours,
      verdict: { kind: 'accept' },
    });
  }
  if (endpointsOf(policy).some(({ address }) => isIpv6(address))) {
    rules.push({
      id: 'in-uplink-errors-ipv6',
      why: "Unreachable and too-big messages about OpenVPN's own packets.",
      when: [
        { kind: 'in', names: [facts.uplink.name] },
        { kind: 'icmpv6', types: ['destination-unreachable', 'packet-too-big', 'time-exceeded', 'parameter-problem'] },
        { kind: 'state', states: ['related'] },
      ],
      verdict: { kind: 'accept' },
    });
  }
  if (config.ipv6 === undefined) return rules;
  return [
    ...rules,
    {
      id: 'in-ping-ipv6',
      why: 'Clients may ping their gateway.',
      when: [
        { kind: 'in', names: [facts.lan.name] },
        { kind: 'destination', addresses: [config.ipv6.gateway.address] },
        { kind: 'icmpv6', types: ['echo-request'] },
      ],
      verdict: { kind: 'accept' },
    },
  ];
}

/** What of IPv6 the router itself may send. */
export function planOutputIpv6(context: Context): readonly Rule[] {
  const { config, facts } = context;
  const toNeighbours = neighbours(context, 'out', [...neighbourTypes, 'mld2-listener-report']);
  const rules: Rule[] = [...solicitations(context, 'out')];
  if (toNeighbours !== undefined) {
    rules.push({
      id: 'out-neighbours',
      why: 'The same outward; a switch that listens to reports (MLD) passes on only questions for those who reported.',
      when: toNeighbours,
      verdict: { kind: 'accept' },
    });
  }
  if (config.ipv6 === undefined) return rules;
  return [
    ...rules,
    {
      id: 'out-lan-errors-ipv6',
      why: 'Unreachable and too-big messages to clients; their connection may not be tracked, so no state matches them.',
      when: [
        { kind: 'out', names: [facts.lan.name] },
        { kind: 'icmpv6', types: ['destination-unreachable', 'packet-too-big', 'time-exceeded'] },
      ],
      verdict: { kind: 'accept' },
    },
  ];
}

/** At the last gate of the uplink, which knows no interface but that one. */
export function planNeighboursEgress(context: Context): readonly Rule[] {
  const uplink = uplinkIpv6InUse(context);
  const asking = solicitations(context, 'egress');
  if (uplink === undefined) return asking;
  const neighbourhood: Match = { kind: 'icmpv6', types: [...neighbourTypes, 'mld2-listener-report'] };
  const addresses = [unspecified, ...uplink.cidrs.map(({ address }) => address)] as const;
  return [
    ...asking,
    {
      id: 'egress-neighbours',
      why: 'The uplink needs neighbour discovery, by its own addresses; `::` asks whether somebody has one already.',
      when: [{ kind: 'source-any', addresses }, neighbourhood],
      verdict: { kind: 'accept' },
    },
    {
      id: 'egress-neighbours-link',
      why: 'The same by the address that the link has for itself.',
      when: [{ kind: 'source', subnet: linkLocal }, neighbourhood],
      verdict: { kind: 'accept' },
    },
  ];
}

/** The last look at packets of IPv6. */
export function planLastIpv6(context: Context): readonly Rule[] {
  const { config, facts } = context;
  const out: Match = { kind: 'out', names: [facts.uplink.name] };
  const uplink = uplinkIpv6InUse(context);
  const rules: Rule[] = [...solicitations(context, 'last')];
  if (uplink !== undefined) {
    const [first, ...others] = uplink.cidrs;
    const own = [first.address, ...others.map(({ address }) => address)] as const;
    rules.push({
      id: 'last-uplink-ipv6',
      why: 'A packet leaves on the uplink with an address of the uplink, or of its link alone, or not at all.',
      when: [
        out,
        { kind: 'source', subnet: linkLocal, negate: true },
        { kind: 'source-any', addresses: own, negate: true },
      ],
      verdict: { kind: 'drop' },
    });
  } else if (config.ipv6 !== undefined) {
    rules.push({
      id: 'last-uplink-ipv6',
      why: 'Nothing of the router uses IPv6 on the uplink.',
      when: [out, { kind: 'family', family: 'ipv6' }],
      verdict: { kind: 'drop' },
    });
  }
  if (config.ipv6 === undefined) return rules;
  return [
    ...rules,
    {
      id: 'last-tunnel-ipv6',
      why: 'No address of the isolated network is ever shown beyond the tunnel.',
      when: [
        { kind: 'out', names: tunNamesOf(facts) },
        { kind: 'source', subnet: renderSubnet(config.ipv6.gateway) },
      ],
      verdict: { kind: 'drop' },
    },
  ];
}

const linkLocal = 'fe80::/10';
const unspecified = '::' as Ipv6;
