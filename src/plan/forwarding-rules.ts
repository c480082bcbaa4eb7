import type { PortForward } from '../config/router-config.ts';
import { familyOf, type Ip, type IpFamily, type Port, renderSubnet } from '../net/address.ts';
import { isNonEmpty, type OneOrMore } from '../one-or-more.ts';
import type { Chain, DnatEntry, Hook, Match, Rule, Table, Verdict } from '../ruleset/model.ts';
import type { TunnelLink } from '../tunnel/policy.ts';
import { planLimit } from './connection-limit.ts';
import {
  type Context,
  dnsTraffic,
  enforcedIpv6Resolvers,
  enforcedResolvers,
  ipv6Of,
  type PlanConfig,
} from './context.ts';
import { planHairpin, planHairpinJump, planHairpinNat } from './hairpin.ts';
import { planForwardRefuseIpv6 } from './ipv6-rules.ts';
import { planAllowedForward, planAllowedNat } from './lan-rules.ts';
import { localListener } from './local-resolver.ts';
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
  const allowed = planAllowedForward(context);
  if (policy.kind !== 'forward') return [{ name: 'forward', hook: closed('forward'), rules: [...allowed, refuse] }];
  const { tun } = policy;
  const rules: readonly Rule[] = [
    ...planForwardRefuseIpv6(context),
    {
      id: 'forward-invalid',
      why: 'Invalid packets skip NAT and would show a client address beyond the tunnel.',
      when: [{ kind: 'state', states: ['invalid'] }],
      verdict: { kind: 'drop' },
    },
    {
      id: 'forward-in',
      why: 'From the tunnel to clients; both interfaces are named, so a rerouted flow does not match.',
      when: [
        { kind: 'in', names: [tun.name] },
        { kind: 'out', names: [facts.lan.name] },
      ],
      verdict: { kind: 'jump', chain: 'inbound' },
    },
    {
      id: 'forward-out',
      why: 'From clients into the tunnel; both are named here, too.',
      when: [lan, { kind: 'out', names: [tun.name] }],
      verdict: { kind: 'jump', chain: 'outbound' },
    },
    ...allowed,
    ...planHairpinJump(context),
    refuse,
  ];
  return [
    { name: 'forward', hook: closed('forward'), rules },
    { name: 'outbound', rules: planOutbound(context, tun) },
    { name: 'inbound', rules: planInbound(context) },
    ...planHairpin(context),
  ];
}

function planOutbound(context: Context, tun: TunnelLink): readonly Rule[] {
  const { config } = context;
  const resolvers = enforcedResolvers(config, tun);
  const ipv6Resolvers = enforcedIpv6Resolvers(config, tun);
  const carriesIpv6 = ipv6Of(config, tun) !== undefined;
  // Without an address to name, a rule means both families.
  const elsewhere = carriesIpv6 || isNonEmpty(resolvers) ? otherThan(resolvers, 'ipv4') : [];
  const ipv6Ping: Rule = {
    id: 'outbound-ping-ipv6',
    why: 'The same for IPv6.',
    when: [{ kind: 'icmpv6', types: ['echo-request'] }],
    verdict: { kind: 'accept' },
  };
  return [
    clampMss(config, 'outbound-mss'),
    ...foreignDns({ suffix: '', transports: ['tcp', 'udp'], elsewhere, verdict: { kind: 'reject' } }),
    ...(carriesIpv6 ? foreignIpv6Dns(otherThan(ipv6Resolvers, 'ipv6')) : []),
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
    ...(carriesIpv6 ? [ipv6Ping] : []),
  ];
}

/** Packets of a family to any address but these. */
export function otherThan(addresses: readonly Ip[], family: IpFamily): readonly Match[] {
  return isNonEmpty(addresses) ? [{ kind: 'destination', addresses, negate: true }] : [{ kind: 'family', family }];
}

interface ForeignDns {
  readonly suffix: string;
  readonly transports: OneOrMore<'tcp' | 'udp'>;
  readonly elsewhere: readonly Match[];
  readonly verdict: Rule['verdict'] & object;
}

export function foreignDns({ suffix, transports, elsewhere, verdict }: ForeignDns): readonly Rule[] {
  const to = (number: number): Match => ({ kind: 'transport', transports, port: { side: 'destination', number } });
  return [
    {
      id: `outbound-foreign-dns${suffix}`,
      why: 'DNS that was not sent to the enforced resolver (which happens only if the redirection is gone).',
      when: [to(53), ...elsewhere],
      verdict,
    },
    {
      id: `outbound-foreign-dot${suffix}`,
      why: 'DNS over TLS or QUIC to another resolver; clients fall back to plain DNS, which is enforced.',
      when: [to(853), ...elsewhere],
      verdict,
    },
  ];
}

/** A client's TCP takes an ICMPv6 error only at its second try, a second later (Linux 6.18 over veth); a reset at once. */
function foreignIpv6Dns(elsewhere: readonly Match[]): readonly Rule[] {
  return [
    ...foreignDns({ suffix: '-ipv6', transports: ['udp'], elsewhere, verdict: { kind: 'reject' } }),
    ...foreignDns({ suffix: '-ipv6-tcp', transports: ['tcp'], elsewhere, verdict: { kind: 'reject-reset' } }),
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

/** DNS enforcement, port forwards and masquerade, a table for each family; empty while there is no tunnel. */
export function planNat(context: Context): readonly Table[] {
  const { config, policy } = context;
  const { ipv6 } = config;
  const empty = { name: natTable, maps: [], chains: [] } as const;
  if (policy.kind !== 'forward') {
    const allowed = planAllowedNat(context);
    const chains = allowed.postrouting.length > 0 ? natChains(allowed) : [];
    return familiesOf(config).map((family) => ({ family, ...empty, chains: family === 'ip' ? chains : [] }));
  }
  const { tun } = policy;
  const table = planNatTable(context, {
    family: 'ip',
    address: tun.address,
    dns: dnsTarget(enforcedResolvers(config, tun)) ?? localListener(config, tun, config.gateway.address),
    subnet: renderSubnet(config.gateway),
  });
  if (ipv6 === undefined) return [table];
  const link = ipv6Of(config, tun);
  if (link === undefined) return [table, { family: 'ip6', ...empty }];
  const ipv6Table = planNatTable(context, {
    family: 'ip6',
    address: link.address,
    dns: dnsTarget(enforcedIpv6Resolvers(config, tun)) ?? localListener(config, tun, ipv6.gateway.address),
    subnet: renderSubnet(ipv6.gateway),
  });
  return [table, ipv6Table];
}

function familiesOf({ ipv6 }: PlanConfig): readonly ('ip' | 'ip6')[] {
  return ipv6 === undefined ? ['ip'] : ['ip', 'ip6'];
}

/** What is translated of one family. */
interface NatScope {
  readonly family: 'ip' | 'ip6';
  /** The tunnel's. */
  readonly address: Ip;
  /** Where clients' DNS goes; undefined: nowhere. */
  readonly dns: Omit<Extract<Verdict, { kind: 'dnat' }>, 'kind'> | undefined;
  /** The isolated network's. */
  readonly subnet: string;
}

function dnsTarget(targets: readonly Ip[]): NatScope['dns'] {
  return isNonEmpty(targets) ? { targets } : undefined;
}

function planNatTable(context: Context, { family, address, dns, subnet }: NatScope): Table {
  const { config, facts, policy } = context;
  const tunName = policy.kind === 'forward' ? policy.tun.name : facts.tunName;
  const ipFamily = family === 'ip' ? 'ipv4' : 'ipv6';
  const suffix = family === 'ip' ? '' : '-ipv6';
  const forwards = config.forwards.filter(({ target }) => familyOf(target) === ipFamily);
  const entries = forwards.flatMap(forwardEntries);
  const allowed = family === 'ip' ? planAllowedNat(context) : { prerouting: [], postrouting: [] };
  const prerouting: Rule[] = [];
  if (dns !== undefined) {
    prerouting.push({
      id: `nat-dns${suffix}`,
      why: 'Clients get the enforced resolver, whatever they ask.',
      when: [{ kind: 'in', names: [facts.lan.name] }, dnsTraffic('destination')],
      verdict: { kind: 'dnat', ...dns },
    });
  }
  if (entries.length > 0) {
    prerouting.push({
      id: `nat-forwards${suffix}`,
      why: 'PORT_FWD, on the tunnel only: the same port on the uplink stays closed.',
      when: [
        { kind: 'in', names: [tunName] },
        { kind: 'destination', addresses: [address] },
      ],
      verdict: { kind: 'dnat-by-map', map: 'forwards', family: ipFamily },
    });
  }
  const hairpin = entries.length > 0 ? planHairpinNat({ config, facts, address, subnet, suffix }) : undefined;
  if (hairpin !== undefined) prerouting.push(hairpin.destination);
  return {
    family,
    name: natTable,
    maps: entries.length > 0 ? [{ name: 'forwards', entries }] : [],
    chains: natChains({
      prerouting: [...prerouting, ...allowed.prerouting],
      postrouting: [
        ...planMasquerade({ forwards, subnet, tunName, suffix }),
        ...(hairpin === undefined ? [] : [hairpin.source]),
        ...allowed.postrouting,
      ],
    }),
  };
}

function natChains({ prerouting, postrouting }: ReturnType<typeof planAllowedNat>): readonly Chain[] {
  return [natChain('prerouting', 'dstnat', prerouting), natChain('postrouting', 'srcnat', postrouting)];
}

/** A chain that translates, named for its place. */
export function natChain(at: Hook['at'], priority: Hook['priority'], rules: readonly Rule[]): Chain {
  return { name: at, hook: { type: 'nat', at, priority, policy: 'accept' }, rules };
}

export function forwardEntries(forward: PortForward): readonly DnatEntry[] {
  const shift = forward.inside.first - forward.outside.first;
  const count = forward.outside.last - forward.outside.first + 1;
  return forward.transports.flatMap((transport) =>
    Array.from({ length: count }, (_, index) => {
      const outsidePort = (forward.outside.first + index) as Port;
      return { transport, outsidePort, target: forward.target, targetPort: (outsidePort + shift) as Port };
    }),
  );
}
