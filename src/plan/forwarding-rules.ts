import type { PortForward } from '../config/router-config.ts';
import type { Port } from '../net/address.ts';
import { isNonEmpty } from '../one-or-more.ts';
import type { Chain, DnatEntry, Match, Rule, Table } from '../ruleset/model.ts';
import type { TunnelLink } from '../tunnel/policy.ts';
import { planLimit } from './connection-limit.ts';
import { type Context, dnsTraffic, enforcedResolvers, type PlanConfig } from './context.ts';
import { closed, natTable } from './lockdown.ts';
import { planMasquerade } from './source-ports.ts';

/** What may pass between clients and the tunnel: only in `forward`, and only between these two interfaces. */
export function planForwardChains(context: Context): readonly Chain[] {
  const { facts, policy } = context;
  const lan: Match = { kind: 'in', names: [facts.lan.name] };
  const refuse: Rule = {
    id: 'forward-refuse',
    why: 'Whatever was not let through is refused at once; the policy drops the rest.',
    when: [lan],
    verdict: { kind: 'reject' },
  };
  if (policy.kind !== 'forward') return [{ name: 'forward', hook: closed('forward'), rules: [refuse] }];
  const { tun } = policy;
  const rules: readonly Rule[] = [
    {
      id: 'forward-invalid',
      why: 'Invalid packets skip NAT and would show a client address beyond the tunnel.',
      when: [{ kind: 'state', states: ['invalid'] }],
      verdict: { kind: 'drop' },
    },
    {
      id: 'forward-out',
      why: 'From clients into the tunnel; both interfaces are named, so a rerouted flow does not match.',
      when: [lan, { kind: 'out', names: [tun.name] }],
      verdict: { kind: 'jump', chain: 'outbound' },
    },
    {
      id: 'forward-in',
      why: 'From the tunnel to clients.',
      when: [
        { kind: 'in', names: [tun.name] },
        { kind: 'out', names: [facts.lan.name] },
      ],
      verdict: { kind: 'jump', chain: 'inbound' },
    },
    refuse,
  ];
  return [
    { name: 'forward', hook: closed('forward'), rules },
    { name: 'outbound', rules: planOutbound(context, tun) },
    { name: 'inbound', rules: planInbound(context) },
  ];
}

function planOutbound(context: Context, tun: TunnelLink): readonly Rule[] {
  const { config } = context;
  const resolvers = enforcedResolvers(config, tun);
  const elsewhere: readonly Match[] = isNonEmpty(resolvers)
    ? [{ kind: 'destination', addresses: resolvers, negate: true }]
    : [];
  return [
    clampMss(config, 'outbound-mss'),
    {
      id: 'outbound-foreign-dns',
      why: 'DNS that was not sent to the enforced resolver (which happens only if the redirection is gone).',
      when: [dnsTraffic('destination'), ...elsewhere],
      verdict: { kind: 'reject' },
    },
    {
      id: 'outbound-foreign-dot',
      why: 'DNS over TLS or QUIC to another resolver; clients fall back to plain DNS, which is enforced.',
      when: [
        { kind: 'transport', transports: ['tcp', 'udp'], port: { side: 'destination', number: 853 } },
        ...elsewhere,
      ],
      verdict: { kind: 'reject' },
    },
    {
      id: 'outbound-established',
      why: 'Flows that are known.',
      when: [{ kind: 'state', states: ['established', 'related'] }],
      verdict: { kind: 'accept' },
    },
    ...planLimit(context, { id: 'outbound-limit', when: [] }),
    {
      id: 'outbound-new',
      why: 'Only protocols that NAT translates may leave.',
      when: [
        { kind: 'transport', transports: ['tcp', 'udp'] },
        { kind: 'state', states: ['new'] },
      ],
      verdict: { kind: 'accept' },
    },
    {
      id: 'outbound-ping',
      why: 'Ping is translated by its identifier.',
      when: [{ kind: 'icmp', types: ['echo-request'] }],
      verdict: { kind: 'accept' },
    },
  ];
}

function planInbound({ config }: Context): readonly Rule[] {
  return [
    clampMss(config, 'inbound-mss'),
    {
      id: 'inbound-established',
      why: 'Answers to clients.',
      when: [{ kind: 'state', states: ['established', 'related'] }],
      verdict: { kind: 'accept' },
    },
    {
      id: 'inbound-forwarded',
      why: 'New flows only where PORT_FWD translated them.',
      when: [{ kind: 'was-dnated' }, { kind: 'state', states: ['new'] }],
      verdict: { kind: 'accept' },
    },
  ];
}

function clampMss(config: PlanConfig, id: string): Rule {
  return {
    id,
    why: "Clients do not know the tunnel's MTU; without this, large answers vanish.",
    when: [],
    clampMss: config.mssBytes ?? 'path-mtu',
  };
}

/** DNS enforcement, port forwards and masquerade; empty while there is no tunnel. */
export function planNat({ config, facts, policy }: Context): Table {
  const table = { family: 'ip', name: natTable } as const;
  if (policy.kind !== 'forward') return { ...table, maps: [], chains: [] };
  const { tun } = policy;
  const resolvers = enforcedResolvers(config, tun);
  const entries = config.forwards.flatMap(forwardEntries);
  const prerouting: Rule[] = [];
  if (isNonEmpty(resolvers)) {
    prerouting.push({
      id: 'nat-dns',
      why: 'Clients get the enforced resolver, whatever they ask.',
      when: [{ kind: 'in', names: [facts.lan.name] }, dnsTraffic('destination')],
      verdict: { kind: 'dnat', targets: resolvers },
    });
  }
  if (entries.length > 0) {
    prerouting.push({
      id: 'nat-forwards',
      why: 'PORT_FWD, on the tunnel only: the same port on the uplink stays closed.',
      when: [
        { kind: 'in', names: [tun.name] },
        { kind: 'destination', addresses: [tun.address] },
      ],
      verdict: { kind: 'dnat-by-map', map: 'forwards' },
    });
  }
  return {
    ...table,
    maps: entries.length > 0 ? [{ name: 'forwards', entries }] : [],
    chains: [
      {
        name: 'prerouting',
        hook: { type: 'nat', at: 'prerouting', priority: 'dstnat', policy: 'accept' } as const,
        rules: prerouting,
      },
      {
        name: 'postrouting',
        hook: { type: 'nat', at: 'postrouting', priority: 'srcnat', policy: 'accept' } as const,
        rules: planMasquerade(config, tun),
      },
    ],
  };
}

function forwardEntries(forward: PortForward): readonly DnatEntry[] {
  const shift = forward.inside.first - forward.outside.first;
  const count = forward.outside.last - forward.outside.first + 1;
  return forward.transports.flatMap((transport) =>
    Array.from({ length: count }, (_, index) => {
      const outsidePort = (forward.outside.first + index) as Port;
      return { transport, outsidePort, target: forward.target, targetPort: (outsidePort + shift) as Port };
    }),
  );
}
