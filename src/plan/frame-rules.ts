import { renderSubnet } from '../net/address.ts';
import { isNonEmpty } from '../one-or-more.ts';
import type { Match, Rule, Table } from '../ruleset/model.ts';
import { type Context, dnsTraffic, endpointsOf, isLoopback, partsOf } from './context.ts';
import { arpTable, egressTable } from './lockdown.ts';

/**
 * The last gate of the uplink: every frame passes it, also those of packet sockets, which no other rule sees. It opens
 * what the policy opens, once more. There are no states here, and IPv6 has no rule.
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

function planEgressRules({ config, facts, policy }: Context): readonly Rule[] {
  const openvpn: Match = { kind: 'socket-uid', uid: facts.openvpnUid };
  const own: Match = { kind: 'source', subnet: facts.uplink.cidr.address };
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
  const fragmented = [...byUdp];
  if (isNonEmpty(fragmented)) {
    rules.push({
      id: 'egress-fragments',
      why: 'The rest of what is too large for the uplink: only the first fragment has ports.',
      when: [{ kind: 'destination', addresses: fragmented }, { kind: 'later-fragment' }, openvpn],
      verdict: { kind: 'accept' },
    });
  }
  rules.push({
    id: 'egress-arp',
    why: 'The uplink needs ARP, and nothing of the isolated network is to be told by it.',
    when: [{ kind: 'arp-without', subnet: renderSubnet(config.gateway) }],
    verdict: { kind: 'accept' },
  });
  for (const part of partsOf(policy)) {
    if (part.kind !== 'resolve') continue;
    const servers = part.scope.kind === 'servers' ? part.scope.servers : [];
    rules.push({
      id: 'egress-resolver',
      why: "The look-up of the VPN server's name; on Docker ≤ 27 it is Docker's own socket in this namespace.",
      when: [
        own,
        ...(isNonEmpty(servers) ? [{ kind: 'destination', addresses: servers } as const] : []),
        dnsTraffic('destination'),
      ],
      verdict: { kind: 'accept' },
    });
  }
  if (!isLoopback(config.healthAddress.host)) {
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

/** The kernel answers ARP on every interface for all its addresses, unless it does not hear the question. */
export function planArp({ config, facts }: Context): Table {
  const rules: readonly Rule[] = [
    {
      id: 'arp-lan',
      why: 'Clients find out no address of the router outside the isolated network.',
      when: [
        { kind: 'in', names: [facts.lan.name] },
        { kind: 'arp-asks-outside', subnet: renderSubnet(config.gateway) },
      ],
      verdict: { kind: 'drop' },
    },
    {
      id: 'arp-uplink',
      why: "The uplink finds out no address but the uplink's own.",
      when: [
        { kind: 'in', names: [facts.uplink.name] },
        { kind: 'arp-asks-outside', subnet: facts.uplink.cidr.address },
      ],
      verdict: { kind: 'drop' },
    },
  ];
  const hook = { type: 'filter', at: 'input', priority: 'filter', policy: 'accept' } as const;
  return { family: 'arp', name: arpTable, maps: [], chains: [{ name: 'questions', hook, rules }] };
}
