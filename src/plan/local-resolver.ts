import { resolverPort } from '../config/own-resolver.ts';
import type { LocalResolver, LocalZone } from '../config/router-config.ts';
import { contains, type Ip, type Ipv4, isIpv4, type Port, renderSubnet } from '../net/address.ts';
import { isNonEmpty } from '../one-or-more.ts';
import type { Match, Rule } from '../ruleset/model.ts';
import type { TunnelLink } from '../tunnel/policy.ts';
import { type Context, dnsTraffic, type PlanConfig, upstreamResolvers } from './context.ts';
import { tableIds } from './lockdown.ts';
import type { Route, RoutingRule } from './plan.ts';

/** The user that the router's own resolver runs as; it owns nothing. */
export const resolverUid = 976;

/** Where clients' DNS goes, while the router's own resolver has somebody to ask. */
export function localListener(
  config: PlanConfig,
  tun: TunnelLink,
  gateway: Ip,
): { readonly targets: readonly [Ip]; readonly port: Port } | undefined {
  const isServing = config.localResolver !== undefined && upstreamResolvers(config, tun).some(isIpv4);
  return isServing ? { targets: [gateway], port: resolverPort } : undefined;
}

/** The zones that are asked past the tunnel now: none while there is no tunnel. */
function openZones({ config, facts, policy }: Context): readonly Ipv4[] {
  if (policy.kind !== 'forward' || facts.uplink.ipv4 === undefined) return [];
  return addressesOf(config.localResolver);
}

function addressesOf(resolver: LocalResolver | undefined): readonly Ipv4[] {
  return [...new Set(resolver?.zones.map(({ address }: LocalZone) => address))];
}

/** Questions of clients, which were all sent here, and answers from past the tunnel. */
export function planResolverInput(context: Context): readonly Rule[] {
  const { config, facts, policy } = context;
  const zones = openZones(context);
  if (config.localResolver === undefined || policy.kind !== 'forward') return [];
  const questions: Rule = {
    id: 'in-dns',
    why: "Clients' DNS, to whatever server, is answered by the router's own resolver.",
    when: [
      { kind: 'in', names: [facts.lan.name] },
      { kind: 'transport', transports: ['tcp', 'udp'], port: { side: 'destination', number: resolverPort } },
      { kind: 'was-dnated' },
    ],
    verdict: { kind: 'accept' },
  };
  if (!isNonEmpty(zones)) return [questions];
  return [
    questions,
    ...zones.map(
      (address): Rule => ({
        id: 'in-dns-local',
        why: 'Answers of a resolver of DNS_LOCAL.',
        when: [
          { kind: 'in', names: [facts.uplink.name] },
          { kind: 'source', subnet: address },
          dnsTraffic('source'),
          { kind: 'state', states: ['established'] },
        ],
        verdict: { kind: 'accept' },
      }),
    ),
  ];
}

/** Of the resolver's packets only those that DNS_LOCAL names leave on the uplink, in whatever state. */
export function planResolverOutput(context: Context): readonly Rule[] {
  const { config, facts } = context;
  if (config.localResolver === undefined) return [];
  const onUplink: Match = { kind: 'out', names: [facts.uplink.name] };
  return [
    ...zoneRules(context, { id: 'out-dns-local', where: [onUplink] }),
    {
      id: 'out-dns-elsewhere',
      why: "Everything else of the router's resolver goes into the tunnel.",
      when: [onUplink, { kind: 'socket-uid', uid: resolverUid }],
      verdict: { kind: 'drop' },
    },
  ];
}

/** The same at the gate, which shuts out the rest by itself. */
export function planResolverEgress(context: Context): readonly Rule[] {
  return zoneRules(context, { id: 'egress-dns-local', where: [] });
}

function zoneRules(
  context: Context,
  { id, where }: { readonly id: string; readonly where: readonly Match[] },
): readonly Rule[] {
  const zones = openZones(context);
  if (!isNonEmpty(zones)) return [];
  const why = "DNS_LOCAL: the router's resolver, by its own user, asks these servers past the tunnel.";
  return [
    {
      id,
      why,
      when: [
        ...where,
        { kind: 'destination', addresses: zones },
        dnsTraffic('destination'),
        { kind: 'socket-uid', uid: resolverUid },
      ],
      verdict: { kind: 'accept' },
    },
  ];
}

/** The resolver has a table of its own, so that a way out for somebody else is none for it. */
export function planResolverRules({ config }: Pick<Context, 'config'>): readonly RoutingRule[] {
  if (config.localResolver === undefined) return [];
  return [
    {
      preference: 112,
      from: { kind: 'user', uid: resolverUid },
      to: { kind: 'table', table: tableIds.resolver },
      why: "The router's resolver can meet only clients, the tunnel and what DNS_LOCAL names.",
    },
  ];
}

/** Every route of the resolver's table. */
export function planResolverRoutes(context: Context): readonly Route[] {
  const { config, facts, policy } = context;
  if (config.localResolver === undefined) return [];
  const table = tableIds.resolver;
  const lan = { kind: 'device', name: facts.lan.name } as const;
  const closed = { via: { kind: 'unreachable' }, why: 'Nothing falls through to the other tables.' } as const;
  const answers = { via: lan, why: 'Answers to clients.' };
  const { ipv4 } = facts.uplink;
  const zones = openZones(context).flatMap((destination) => {
    if (ipv4 === undefined) return [];
    const isNear = destination === ipv4.gateway || contains(ipv4.cidr, destination);
    const device = { kind: 'device', name: facts.uplink.name } as const;
    const via = isNear ? device : { ...device, gateway: ipv4.gateway };
    return [
      { table, destination, via, why: 'A resolver of DNS_LOCAL.' },
      {
        table: config.isSidecar ? tableIds.openvpn : tableIds.own,
        destination,
        via,
        why: "Its answers pass the kernel's reverse path check.",
      },
    ];
  });
  return [
    ...(config.isSidecar ? [] : [{ table, destination: renderSubnet(config.gateway), ...answers }]),
    { table, destination: 'default', ...closed },
    { table, destination: '::/0', ...closed },
    ...(config.ipv6 === undefined ? [] : [{ table, destination: renderSubnet(config.ipv6.gateway), ...answers }]),
    ...zones,
    ...(policy.kind === 'forward'
      ? [
          {
            table,
            destination: 'default',
            via: { kind: 'device', name: policy.tun.name } as const,
            why: 'What the resolver asks goes into the tunnel.',
          },
        ]
      : []),
  ];
}
