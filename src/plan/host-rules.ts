import { type Ip, isIpv4, isIpv6, renderSubnet } from '../net/address.ts';
import { isNonEmpty } from '../one-or-more.ts';
import type { Match, Rule } from '../ruleset/model.ts';
import type { Endpoint, ResolverScope } from '../tunnel/policy.ts';
import { planLimit } from './connection-limit.ts';
import {
  type Context,
  dnsTraffic,
  endpointsOf,
  isLoopback,
  linksOf,
  partsOf,
  resolvingUser,
  tunNamesOf,
} from './context.ts';
import type { RouterFacts } from './facts.ts';
import { planEarlyIpv6, planInputIpv6, planLastIpv6, planOutputIpv6, planRefuseIpv6 } from './ipv6-rules.ts';
import { planAllowedBeforeRefusal, planAllowedLast } from './lan-rules.ts';
import { planResolverInput, planResolverOutput } from './local-resolver.ts';
import { baseRules } from './lockdown.ts';
import { planDockerResolver, planLocalAllowances, planLocalDns, planLocalForwards } from './sidecar.ts';

/**
 * Before anything else: frames and packets that nobody sends honestly. Every packet pays for these rules, those of
 * OpenVPN too, so a rule begins with what most packets do not match, and a name, which the kernel copies to compare,
 * comes last.
 */
export function planEarly(context: Context): readonly Rule[] {
  const { config, facts, policy } = context;
  const uplink: Match = { kind: 'in', names: [facts.uplink.name] };
  const lanSubnet = renderSubnet(config.gateway);
  return [
    ...planEarlyIpv6(context),
    ...(config.isSidecar ? [] : planEarlyLan(context)),
    {
      id: 'early-outside-spoof',
      why: 'Nobody outside owns an address of the isolated network.',
      when: [
        { kind: 'source', subnet: lanSubnet },
        { kind: 'in', names: [facts.uplink.name, ...tunNamesOf(facts)] },
      ],
      verdict: { kind: 'drop' },
    },
    {
      id: 'early-uplink-weak-host',
      why: 'The uplink may address only its own interface, not the tunnel or a client (CVE-2019-14899).',
      when: [...otherThan('destination', facts.uplink.ipv4), uplink],
      verdict: { kind: 'drop' },
    },
    ...tunNamesOf(facts).map((name, index): Rule => {
      const link = linksOf(policy).find((candidate) => candidate.name === name);
      const tunnel: Match = { kind: 'in', names: [name] };
      return {
        id: index === 0 ? 'early-tunnel-weak-host' : 'early-standby-weak-host',
        why: "The tunnel may address only the tunnel's address, and nothing while there is no tunnel.",
        when:
          link === undefined ? [tunnel] : [{ kind: 'destination', addresses: [link.address], negate: true }, tunnel],
        verdict: { kind: 'drop' },
      };
    }),
  ];
}

/** What of it is about clients. */
function planEarlyLan({ config, facts }: Context): readonly Rule[] {
  const lan: Match = { kind: 'in', names: [facts.lan.name] };
  return [
    {
      id: 'early-lan-frames',
      why: 'Only frames for this router: no broadcast, no multicast, nothing overheard.',
      when: [{ kind: 'not-unicast-to-us' }, lan],
      verdict: { kind: 'drop' },
    },
    {
      id: 'early-lan-spoof',
      why: 'A client speaks with an address of the isolated network only.',
      when: [{ kind: 'source', subnet: renderSubnet(config.gateway), negate: true }, lan],
      verdict: { kind: 'drop' },
    },
  ];
}

/** Any IPv4 address but the uplink's own. */
function otherThan(side: 'source' | 'destination', own: RouterFacts['uplink']['ipv4']): readonly Match[] {
  if (own === undefined) return [{ kind: 'family', family: 'ipv4' }];
  const { address } = own.cidr;
  return side === 'source'
    ? [{ kind: 'source', subnet: address, negate: true }]
    : [{ kind: 'destination', addresses: [address], negate: true }];
}

/** While there is no tunnel, clients are told at once. */
export function planRefuse(context: Context): readonly Rule[] {
  const { config, facts, policy } = context;
  if (!facts.canRejectBeforeRouting || config.isSidecar) return [];
  if (policy.kind === 'forward') return planRefuseIpv6(context);
  return [
    ...planRefuseIpv6(context),
    ...planAllowedBeforeRefusal(context),
    {
      id: 'refuse-tcp',
      why: 'A client learns at once that there is no tunnel; ICMP errors alone are limited to one a second.',
      when: [
        { kind: 'in', names: [facts.lan.name] },
        { kind: 'destination', addresses: [config.gateway.address], negate: true },
        { kind: 'tcp-opening' },
      ],
      verdict: { kind: 'reject-reset' },
    },
  ];
}

/** What may reach the router itself; what there is most of comes first. */
export function planInput(context: Context): readonly Rule[] {
  const { config, facts, policy } = context;
  const lan: Match = { kind: 'in', names: [facts.lan.name] };
  const uplink: Match = { kind: 'in', names: [facts.uplink.name] };
  const rules: Rule[] = [];
  const endpoints = endpointsOf(policy);
  for (const [index, endpoint] of endpoints.entries()) {
    rules.push(...clampEndpoint(context, endpoint, 'in'), {
      id: index === 0 ? 'in-endpoint' : 'in-standby-endpoint',
      why: "The VPN server's answers to OpenVPN.",
      when: [
        uplink,
        { kind: 'source', subnet: endpoint.address },
        { kind: 'transport', transports: [endpoint.transport], port: { side: 'source', number: endpoint.port } },
        { kind: 'state', states: ['established'] },
      ],
      verdict: { kind: 'accept' },
    });
  }
  rules.push(baseRules.acceptLoopbackIn);
  if (endpoints.length > 0) {
    rules.push({
      id: 'in-uplink-errors',
      why: "Unreachable and too-big messages about OpenVPN's own packets.",
      when: [
        uplink,
        { kind: 'icmp', types: ['destination-unreachable', 'time-exceeded'] },
        { kind: 'state', states: ['related'] },
      ],
      verdict: { kind: 'accept' },
    });
  }
  if (partsOf(policy).some(({ kind }) => kind === 'resolve')) {
    rules.push({
      id: 'in-resolver',
      why: "Answers to the router's own look-up of the VPN server's name.",
      when: [uplink, dnsTraffic('source'), { kind: 'state', states: ['established'] }],
      verdict: { kind: 'accept' },
    });
  }
  if (linksOf(policy).length > 0) {
    rules.push({
      id: 'in-tunnel',
      why: 'Answers to the probe that proves the tunnel.',
      when: [
        { kind: 'in', names: tunNamesOf(facts) },
        { kind: 'state', states: ['established', 'related'] },
      ],
      verdict: { kind: 'accept' },
    });
  }
  rules.push(
    ...planHook(context, 'in'),
    ...planLimit(context, { id: 'in-limit', when: [lan] }),
    ...planResolverInput(context),
  );
  if (!isLoopback(config.healthAddress.host)) {
    rules.push({
      id: 'in-health',
      why: 'HEALTH_ADDR asks for the health endpoint outside loopback.',
      when: [{ kind: 'in', names: [facts.lan.name, facts.uplink.name] }, healthTraffic('destination', context)],
      verdict: { kind: 'accept' },
    });
  }
  rules.push(...planInputIpv6(context));
  if (config.isSidecar) return [...rules, ...planLocalForwards(context), ...planLocalAllowances(context, 'in')];
  rules.push(
    {
      id: 'in-ping',
      why: 'Clients may ping their gateway.',
      when: [
        lan,
        { kind: 'destination', addresses: [config.gateway.address] },
        { kind: 'icmp', types: ['echo-request'] },
      ],
      verdict: { kind: 'accept' },
    },
    {
      id: 'in-lan-reset',
      why: 'Everything else of a client is refused at once, so that nothing hangs; a reset is never rate-limited.',
      when: [lan, { kind: 'tcp-opening' }],
      verdict: { kind: 'reject-reset' },
    },
    {
      id: 'in-lan-refuse',
      why: 'The same for what is not TCP.',
      when: [lan],
      verdict: { kind: 'reject' },
    },
  );
  return rules;
}

/** With MTU, OpenVPN's own segments are as small as the packets in the tunnel, in both directions. */
function clampEndpoint({ config, facts }: Context, endpoint: Endpoint, direction: 'in' | 'out'): readonly Rule[] {
  if (config.mtuBytes === undefined || endpoint.transport !== 'tcp') return [];
  const { address, port, profileIndex, remoteIndex } = endpoint;
  const [host, side] =
    direction === 'in'
      ? ([{ kind: 'source', subnet: address }, 'source'] as const)
      : ([{ kind: 'destination', addresses: [address] }, 'destination'] as const);
  return [
    {
      id: `${direction}-endpoint-mss-${profileIndex + 1}-${remoteIndex + 1}`,
      why: 'A TCP tunnel sends full segments, which a narrow way may lose without a word.',
      when: [
        host,
        { kind: 'transport', transports: ['tcp'], port: { side, number: port } },
        { kind: direction, names: [facts.uplink.name] },
      ],
      clampMss: config.mtuBytes,
    },
  ];
}

/** The router's own requests to the one container that PORT_FWD_HOOK names, and the answers. */
function planHook({ config: { hookAt }, facts, policy }: Context, way: 'in' | 'out'): readonly Rule[] {
  if (hookAt === undefined || policy.kind !== 'forward') return [];
  const lan: Match = { kind: way, names: [facts.lan.name] };
  const port = (side: 'source' | 'destination'): Match => ({
    kind: 'transport',
    transports: ['tcp'],
    port: { side, number: hookAt.port },
  });
  const accept = { kind: 'accept' } as const;
  if (way === 'out') {
    const when: readonly Match[] = [lan, { kind: 'destination', addresses: [hookAt.address] }, port('destination')];
    return [{ id: 'out-hook', why: "PORT_FWD_HOOK tells a container the provider's port.", when, verdict: accept }];
  }
  const when: readonly Match[] = [lan, { kind: 'source', subnet: hookAt.address }, port('source')];
  const known: Match = { kind: 'state', states: ['established'] };
  return [
    { id: 'in-hook', why: 'Answers of that container to PORT_FWD_HOOK.', when: [...when, known], verdict: accept },
  ];
}

/** What the router itself may send; what there is most of comes first. */
export function planOutput(context: Context): readonly Rule[] {
  const { config, facts, policy } = context;
  const uplink: Match = { kind: 'out', names: [facts.uplink.name] };
  const lan: Match = { kind: 'out', names: [facts.lan.name] };
  const rules: Rule[] = [];
  for (const [index, endpoint] of endpointsOf(policy).entries()) {
    rules.push(...clampEndpoint(context, endpoint, 'out'), {
      id: index === 0 ? 'out-endpoint' : 'out-standby-endpoint',
      why: 'OpenVPN, by its own user, to the one server of this attempt.',
      when: [
        uplink,
        { kind: 'socket-uid', uid: facts.openvpnUid },
        { kind: 'destination', addresses: [endpoint.address] },
        { kind: 'transport', transports: [endpoint.transport], port: { side: 'destination', number: endpoint.port } },
      ],
      verdict: { kind: 'accept' },
    });
  }
  rules.push(...planDockerResolver(context), baseRules.acceptLoopbackOut, ...planResolverOutput(context));
  for (const part of partsOf(policy)) {
    if (part.kind !== 'resolve') continue;
    for (const servers of resolverMatches(part.scope)) {
      rules.push({
        id: 'out-resolver',
        why: "The look-up of the VPN server's name; on Docker ≤ 27 it is Docker's own socket in this namespace.",
        when: [uplink, ...servers, dnsTraffic('destination'), ...resolvingUser(context)],
        verdict: { kind: 'accept' },
      });
    }
  }
  rules.push(...planLocalDns(context));
  for (const [index, { name, address }] of linksOf(policy).entries()) {
    rules.push({
      id: index === 0 ? 'out-tunnel' : 'out-standby-tunnel',
      why: config.isSidecar ? 'Local processes through the tunnel.' : 'The probe that proves the tunnel.',
      when: [
        { kind: 'out', names: [name] },
        { kind: 'source', subnet: address },
      ],
      verdict: { kind: 'accept' },
    });
  }
  if (!isLoopback(config.healthAddress.host)) {
    rules.push({
      id: 'out-health',
      why: 'Answers of the health endpoint.',
      when: [uplink, healthTraffic('source', context), { kind: 'state', states: ['established'] }],
      verdict: { kind: 'accept' },
    });
  }
  rules.push(...planHook(context, 'out'), ...planOutputIpv6(context));
  if (config.isSidecar) return [...rules, ...planLocalAllowances(context, 'out')];
  rules.push(
    {
      id: 'out-lan-errors',
      why: 'Unreachable messages to clients; their connection is not tracked yet, so no state matches them.',
      when: [lan, { kind: 'icmp', types: ['destination-unreachable', 'time-exceeded'] }],
      verdict: { kind: 'accept' },
    },
    {
      id: 'out-lan-answers',
      why: 'Answers to clients.',
      when: [lan, { kind: 'state', states: ['established', 'related'] }],
      verdict: { kind: 'accept' },
    },
  );
  return rules;
}

/** A rule takes addresses of one family. Where the servers are not known, one without addresses takes any. */
function resolverMatches(scope: ResolverScope): readonly (readonly Match[])[] {
  if (scope.kind === 'any') return [[]];
  const families = [scope.servers.filter(isIpv4), scope.servers.filter(isIpv6)];
  return families.flatMap((addresses) => (isNonEmpty<Ip>(addresses) ? [[{ kind: 'destination', addresses }]] : []));
}

/** The last look at every packet, in its final form. */
export function planLast(context: Context): readonly Rule[] {
  const { config, facts } = context;
  const lastUplink: Rule = {
    id: 'last-uplink',
    why: "A packet leaves on the uplink with the uplink's own address, or not at all.",
    when: [...otherThan('source', facts.uplink.ipv4), { kind: 'out', names: [facts.uplink.name] }],
    verdict: { kind: 'drop' },
  };
  // The last that iptables can filter is before NAT, where every packet of a client still has its own address; and it
  // does not tell there where a packet came in.
  if (config.isSidecar) return [...planLastIpv6(context), lastUplink];
  if (facts.firewall !== 'nft') return [...planAllowedLast(context), lastUplink];
  return [
    ...planLastIpv6(context),
    lastUplink,
    ...planAllowedLast(context),
    {
      id: 'last-forwarded',
      why: 'What came in from a client or the tunnel never leaves on the uplink, whatever address it was given.',
      when: [
        { kind: 'out', names: [facts.uplink.name] },
        { kind: 'in', names: [facts.lan.name, ...tunNamesOf(facts)] },
      ],
      verdict: { kind: 'drop' },
    },
    {
      id: 'last-tunnel',
      why: 'No address of the isolated network is ever shown beyond the tunnel.',
      when: [
        { kind: 'source', subnet: renderSubnet(config.gateway) },
        { kind: 'out', names: tunNamesOf(facts) },
      ],
      verdict: { kind: 'drop' },
    },
  ];
}

function healthTraffic(side: 'source' | 'destination', { config }: Context): Match {
  return { kind: 'transport', transports: ['tcp'], port: { side, number: config.healthAddress.port } };
}
