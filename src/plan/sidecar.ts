import type { PortForward } from '../config/router-config.ts';
import { isNonEmpty } from '../one-or-more.ts';
import type { Chain, Match, Rule, Table } from '../ruleset/model.ts';
import { type Context, dnsTraffic, partsOf, upstreamResolvers } from './context.ts';
import { foreignDns, forwardEntries, natChain, otherThan } from './forwarding-rules.ts';
import { allowedOf } from './lan-rules.ts';
import { localListener, resolverUid } from './local-resolver.ts';
import { dropDockerResolver, natTable, tableIds } from './lockdown.ts';
import type { Route, RoutingRule } from './plan.ts';

/**
 * What differs where the clients are local processes (MODE=sidecar): they send by `output`, not by `forward`, any of them
 * may be root, and nothing but OpenVPN's user, whom only OpenVPN runs as, is the router's own on the uplink.
 */

const accept = { kind: 'accept' } as const;

/**
 * Docker's resolver in front of `out-loopback`. Docker translates port 53 of it to another one of the same address, so its
 * port tells nothing; who reaches it has the machine ask beside the tunnel.
 */
export function planDockerResolver({ config, facts, policy }: Context): readonly Rule[] {
  if (config.isSidecar === undefined) return [];
  const { when } = dropDockerResolver;
  const asking: Rule = {
    id: 'out-docker-resolver-asked',
    why: "The look-up of the VPN server's name.",
    when: [...when, { kind: 'socket-uid', uid: facts.openvpnUid }],
    verdict: accept,
  };
  const isResolving = partsOf(policy).some(({ kind }) => kind === 'resolve');
  return [...(isResolving ? [asking] : []), { ...dropDockerResolver, verdict: { kind: 'reject' } }];
}

/** In front of `out-tunnel`: DNS that was not led to the router's resolver. */
export function planLocalDns({ config, policy }: Context): readonly Rule[] {
  if (config.isSidecar === undefined || policy.kind !== 'forward') return [];
  const elsewhere = otherThan(upstreamResolvers(config, policy.tun), 'ipv4');
  return foreignDns({ suffix: '', transports: ['tcp', 'udp'], elsewhere, verdict: { kind: 'reject' } });
}

/** Local processes' DNS, to whatever server, also to one on loopback; and forwarded ports with another number here. */
export function planSidecarNat(context: Context): Table {
  const { config, policy } = context;
  const table = { family: 'ip', name: natTable } as const;
  if (policy.kind !== 'forward') return { ...table, maps: [], chains: [] };
  const { tun } = policy;
  const entries = config.forwards
    .filter(isShifted)
    .flatMap((forward) => forwardEntries({ ...forward, target: tun.address }));
  const forwards: Rule = {
    id: 'nat-forwards',
    why: 'PORT_FWD, on the tunnel only: the same port on the uplink stays closed.',
    when: [
      { kind: 'in', names: [tun.name] },
      { kind: 'destination', addresses: [tun.address] },
    ],
    verdict: { kind: 'dnat-by-map', map: 'forwards', family: 'ipv4' },
  };
  const chains: readonly Chain[] = [
    ...(entries.length > 0 ? [natChain('prerouting', 'dstnat', [forwards])] : []),
    // By iptables chains of all tables share their names.
    { ...natChain('output', 'before-docker', redirectDns(context)), name: 'local' },
  ];
  return { ...table, maps: entries.length > 0 ? [{ name: 'forwards', entries }] : [], chains };
}

function redirectDns(context: Context): readonly Rule[] {
  const { config, facts, policy } = context;
  if (policy.kind !== 'forward') return [];
  const listener = localListener(config, policy.tun, config.gateway.address);
  if (listener === undefined) return [];
  const enforced = config.dns.kind === 'tls' ? [] : upstreamResolvers(config, policy.tun);
  const spared: readonly { readonly who: string; readonly why: string; readonly match: Match }[] = [
    { who: 'openvpn', why: 'A server may listen on port 53.', match: { kind: 'socket-uid', uid: facts.openvpnUid } },
    { who: 'resolver', why: "The resolver's own questions.", match: { kind: 'socket-uid', uid: resolverUid } },
    ...(isNonEmpty(enforced)
      ? [
          {
            who: 'enforced',
            why: 'Whoever asks the enforced resolver itself, as the probe does, is answered by it.',
            match: { kind: 'destination', addresses: enforced } as const,
          },
        ]
      : []),
  ];
  return [
    ...spared.map(({ who, why, match }): Rule => ({ id: `nat-dns-${who}`, why, when: [match], verdict: accept })),
    {
      id: 'nat-dns',
      why: 'Local processes get the enforced resolver, whatever they ask.',
      when: [dnsTraffic('destination')],
      verdict: { kind: 'dnat', ...listener },
    },
  ];
}

function isShifted({ outside, inside }: PortForward): boolean {
  return outside.first !== inside.first;
}

/** New flows from the tunnel, only to what PORT_FWD names. What is not translated has no mark of that (nf_nat_setup_info). */
export function planLocalForwards({ config, policy }: Context): readonly Rule[] {
  if (policy.kind !== 'forward') return [];
  const fromTunnel: Match = { kind: 'in', names: [policy.tun.name] };
  const opens: Match = { kind: 'state', states: ['new'] };
  const why = 'PORT_FWD: from the tunnel to whoever listens here.';
  const same = config.forwards.filter((forward) => !isShifted(forward));
  return [
    ...same.map(({ transports, inside }, index): Rule => {
      const [first = 'tcp', ...others] = transports;
      const port: Match = {
        kind: 'transport',
        transports: [first, ...others],
        port: { side: 'destination', among: [inside] },
      };
      return { id: `in-forward-${index + 1}`, why, when: [fromTunnel, port, opens], verdict: accept };
    }),
    ...(config.forwards.some(isShifted)
      ? [{ id: 'in-forwarded', why, when: [fromTunnel, { kind: 'was-dnated' }, opens], verdict: accept } as const]
      : []),
  ];
}

/** LAN_ALLOW and LAN_ALLOW_IN for local processes: what may come in, or go out, on the uplink. */
export function planLocalAllowances(context: Context, way: 'in' | 'out'): readonly Rule[] {
  const { config, facts } = context;
  const own = facts.uplink.ipv4?.cidr.address;
  if (config.isSidecar === undefined || own === undefined) return [];
  const uplink: Match = { kind: way, names: [facts.uplink.name] };
  return allowedOf(context).map(({ number, host, target, outward, inward }): Rule => {
    const opens = (target === undefined) === (way === 'out');
    const name = target === undefined ? 'LAN_ALLOW' : 'LAN_ALLOW_IN';
    const there: readonly Match[] =
      way === 'out'
        ? [{ kind: 'source', subnet: own }, { kind: 'destination-subnet', subnet: host }, outward]
        : [{ kind: 'source', subnet: host }, inward];
    const known: Match = { kind: 'state', states: opens ? ['new', 'established'] : ['established'] };
    const why = `${name}${opens ? '' : ', answers'}: ${way === 'out' ? 'to' : 'from'} this part of the local network, past the tunnel.`;
    return { id: `allowed-${way}-${number}`, why, when: [uplink, ...there, known], verdict: accept };
  });
}

/** In front of the rules of the boot. */
export function planSidecarRoutingRules(context: Context): readonly RoutingRule[] {
  const { facts } = context;
  const { openvpn, forced } = tableIds;
  const own = facts.uplink.ipv4?.cidr.address;
  return [
    {
      preference: 111,
      from: { kind: 'device', name: facts.uplink.name },
      to: { kind: 'table', table: forced },
      why: 'Without any route the kernel would take all the world for neighbours of a device that a socket is bound to.',
    },
    {
      preference: 115,
      from: { kind: 'user', uid: facts.openvpnUid },
      to: { kind: 'table', table: openvpn },
      why: "OpenVPN's user has a way to its server; nobody else has one outside of the tunnel.",
    },
    ...(own === undefined
      ? []
      : [
          {
            preference: 116,
            from: { kind: 'user', uid: 0, source: own },
            to: { kind: 'table', table: openvpn },
            why: "The kernel's reverse path check asks as root, from the uplink's address (fib_validate_source).",
          } as const,
        ]),
  ];
}

/** The end of what is bound to the uplink's device: it stays in this network namespace. */
export function planForcedRoutes({ config, facts }: Context): readonly Route[] {
  if (config.isSidecar === undefined) return [];
  return [
    {
      table: tableIds.forced,
      destination: 'default',
      via: { kind: 'local', name: facts.uplink.name },
      why: 'What a process binds to the uplink never leaves by it.',
    },
  ];
}
