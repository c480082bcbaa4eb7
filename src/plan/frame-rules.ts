import { familyOf, type IpFamily, renderSubnet } from '../net/address.ts';
import { isNonEmpty } from '../one-or-more.ts';
import type { Match, Rule, Table } from '../ruleset/model.ts';
import {
  type Context,
  dnsTraffic,
  endpointsOf,
  isLoopback,
  partsOf,
  resolvingUser,
  uplinkIpv6InUse,
} from './context.ts';
import { planNeighboursEgress } from './ipv6-rules.ts';
import { planAllowedEgress } from './lan-rules.ts';
import { planResolverEgress } from './local-resolver.ts';
import { arpTable, egressTable } from './lockdown.ts';

/**
 * The last gate of the uplink: every frame passes it, also those of packet sockets, which no other rule sees. It opens
 * what the policy opens, once more. There are no states here, and IPv6 has a rule only while something uses it there.
 */
export function planEgress(context: Context): Table {
  const { facts } = context;
  const hook = {
    type: 'filter',
    at: 'egress',
    device: facts.uplink.name,
    priority: 'filter',
    policy: 'drop',
  } as const;
  return {
    family: 'netdev',
    name: egressTable,
    maps: [],
    chains: [{ name: 'uplink', hook, rules: planEgressRules(context) }],
  };
}

function planEgressRules(context: Context): readonly Rule[] {
  const { config, facts, policy } = context;
  const openvpn: Match = { kind: 'socket-uid', uid: facts.openvpnUid };
  const endpoints = endpointsOf(policy);
  // First come the packets of the tunnel itself, of which there are most.
  const rules = endpoints.map(
    ({ address, port, transport }, index): Rule => ({
      id: index === 0 ? 'egress-endpoint' : 'egress-standby-endpoint',
      why: 'OpenVPN, by a socket of its own user, to the one server of this attempt.',
      when: [
        { kind: 'destination', addresses: [address] },
        { kind: 'transport', transports: [transport], port: { side: 'destination', number: port } },
        openvpn,
      ],
      verdict: { kind: 'accept' },
    }),
  );
  const byUdp = new Set(endpoints.flatMap(({ address, transport }) => (transport === 'udp' ? address : [])));
  for (const family of ['ipv4', 'ipv6'] as const) {
    const fragmented = [...byUdp].filter((address) => familyOf(address) === family);
    if (!isNonEmpty(fragmented)) continue;
    rules.push({
      id: family === 'ipv4' ? 'egress-fragments' : 'egress-fragments-ipv6',
      why: 'The rest of what is too large for the uplink: only the first fragment has ports.',
      when: [{ kind: 'destination', addresses: fragmented }, { kind: 'later-fragment', family }, openvpn],
      verdict: { kind: 'accept' },
    });
  }
  rules.push(...planNeighboursEgress(context), {
    id: 'egress-arp',
    why: 'The uplink needs ARP, and nothing of the isolated network is to be told by it.',
    when: [{ kind: 'arp-without', subnet: renderSubnet(config.gateway) }],
    verdict: { kind: 'accept' },
  });
  rules.push(...planResolverEgress(context));
  for (const part of partsOf(policy)) {
    if (part.kind !== 'resolve') continue;
    for (const family of ['ipv4', 'ipv6'] as const) {
      const source = ownSource(context, family);
      const servers = part.scope.kind === 'servers' ? part.scope.servers : [];
      const asked = servers.filter((server) => familyOf(server) === family);
      if (source === undefined || (part.scope.kind === 'servers' && asked.length === 0)) continue;
      rules.push({
        id: family === 'ipv4' ? 'egress-resolver' : 'egress-resolver-ipv6',
        why: "The look-up of the VPN server's name; on Docker ≤ 27 it is Docker's own socket in this namespace.",
        when: [
          source,
          ...(isNonEmpty(asked) ? [{ kind: 'destination', addresses: asked } as const] : []),
          dnsTraffic('destination'),
          ...resolvingUser(context),
        ],
        verdict: { kind: 'accept' },
      });
    }
  }
  const own = ownSource(context, 'ipv4');
  if (own !== undefined) rules.push(...planAllowedEgress(context, own));
  if (own !== undefined && !isLoopback(config.healthAddress.host)) {
    rules.push({
      id: 'egress-health',
      why: 'Answers of the health endpoint.',
      when: [
        own,
        { kind: 'transport', transports: ['tcp'], port: { side: 'source', number: config.healthAddress.port } },
      ],
      verdict: { kind: 'accept' },
    });
  }
  return rules;
}

/** The uplink's own addresses of a family, while it is used there. */
function ownSource(context: Context, family: IpFamily): Match | undefined {
  const { ipv4 } = context.facts.uplink;
  if (family === 'ipv4') return ipv4 && { kind: 'source', subnet: ipv4.cidr.address };
  const ipv6 = uplinkIpv6InUse(context);
  if (ipv6 === undefined) return undefined;
  const [first, ...others] = ipv6.cidrs.map(({ address }) => address);
  return first && { kind: 'source-any', addresses: [first, ...others] };
}

/** The kernel answers ARP on every interface for all its addresses, unless it does not hear the question. */
export function planArp({ config, facts }: Context): Table {
  const uplinkAddress = facts.uplink.ipv4?.cidr.address;
  const lan: Rule = {
    id: 'arp-lan',
    why: 'Clients find out no address of the router outside the isolated network.',
    when: [
      { kind: 'in', names: [facts.lan.name] },
      { kind: 'arp-asks-outside', subnet: renderSubnet(config.gateway) },
    ],
    verdict: { kind: 'drop' },
  };
  const rules: readonly Rule[] = [
    ...(config.isSidecar ? [] : [lan]),
    {
      id: 'arp-uplink',
      why: "The uplink finds out no address but the uplink's own.",
      when: [
        { kind: 'in', names: [facts.uplink.name] },
        ...(uplinkAddress === undefined ? [] : [{ kind: 'arp-asks-outside', subnet: uplinkAddress } as const]),
      ],
      verdict: { kind: 'drop' },
    },
  ];
  const hook = { type: 'filter', at: 'input', priority: 'filter', policy: 'accept' } as const;
  return { family: 'arp', name: arpTable, maps: [], chains: [{ name: 'questions', hook, rules }] };
}
