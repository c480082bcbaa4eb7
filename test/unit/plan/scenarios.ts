import { parseLanAllow } from '../../../src/config/lan-allow.ts';
import type { PortForward, Transport } from '../../../src/config/router-config.ts';
import { ownNetwork } from '../../../src/config/sidecar.ts';
import type { Ipv4Cidr } from '../../../src/net/address.ts';
import { parseIp } from '../../../src/net/address.ts';
import type { Context, PlanConfig } from '../../../src/plan/context.ts';
import { extras, type RouterFacts } from '../../../src/plan/facts.ts';
import { loopback, planBootRules, planBootRuleset } from '../../../src/plan/lockdown.ts';
import type { Plan } from '../../../src/plan/plan.ts';
import { planRouter } from '../../../src/plan/router.ts';
import { renderNft } from '../../../src/ruleset/nft.ts';
import { renderRoute, renderRule } from '../../../src/system/iproute.ts';
import type { Policy } from '../../../src/tunnel/policy.ts';
import { cidr, cidr6, valueFrom } from '../config/outcome.ts';
import { endpoint, ifName, ipv4, ipv6, port, tunnelLink } from '../tunnel/endpoints.ts';

export const uplinkIpv4 = { cidr: cidr('203.0.113.7/24'), gateway: ipv4('203.0.113.1') };

export const facts: RouterFacts = {
  lan: { name: ifName('eth1') },
  uplink: { name: ifName('eth0'), ipv4: uplinkIpv4 },
  tunName: ifName('tun0'),
  openvpnUid: 900,
  firewall: 'nft',
  extras,
  canRejectBeforeRouting: true,
};

/** The same with both families. */
export const dualUplink: RouterFacts['uplink'] = {
  ...facts.uplink,
  ipv6: { cidrs: [cidr6('2001:db8:7::7/64')], gateway: ipv6('fe80::1') },
};

/** Two addresses that nft would list as a range in a set that has a subnet. */
const neighbouring = [cidr6('2001:db8:7::7/64'), cidr6('2001:db8:7::8/64')] as const;

/** What `IPV6: tunnel` asks for. */
export const ipv6Settings = { gateway: cidr6('fd00:7722::1/64') };

export const gateway: Ipv4Cidr = cidr('172.22.0.1/24');

/** The settings of a router that was told nothing but IP_ADDR. */
export const config: PlanConfig = {
  gateway,
  dns: { kind: 'pushed' },
  forwards: [],
  healthAddress: { host: ipv4('127.0.0.1'), port: port(9797) },
  probe: { kind: 'dns' },
};

/** A forward to a container, outside and inside ports from these on. */
export function forward({
  outside,
  inside = outside,
  count = 1,
  target = '172.22.0.128',
  transports = ['tcp', 'udp'],
}: {
  readonly outside: number;
  readonly inside?: number;
  readonly count?: number;
  readonly target?: string;
  readonly transports?: readonly Transport[];
}): PortForward {
  const range = (first: number) => ({ first: port(first), last: port(first + count - 1) });
  return { transports, outside: range(outside), target: parseIp(target) ?? ipv4(target), inside: range(inside) };
}

export const policies = {
  lockdown: { kind: 'lockdown' },
  resolve: { kind: 'resolve', scope: { kind: 'any' } },
  dial: { kind: 'dial', endpoint: endpoint(10) },
  forward: { kind: 'forward', endpoint: endpoint(10), tun: tunnelLink(2) },
} as const satisfies Readonly<Record<Policy['kind'], Policy>>;

/** A context that differs from the plainest one only in what a test is about. */
export function context({
  policy = policies.forward,
  settings = {},
  seen = {},
}: {
  readonly policy?: Policy;
  readonly settings?: Partial<PlanConfig>;
  readonly seen?: Partial<RouterFacts>;
} = {}): Context {
  return { config: { ...config, ...settings }, facts: { ...facts, ...seen }, policy };
}

/** Beyond the uplink's gateway, one host in the uplink's own subnet, and the other way. */
const lanAllowances = valueFrom(
  parseLanAllow('LAN_ALLOW', '192.168.1.0/24:tcp/8096, 192.168.1.5:udp/5000-5010', gateway),
).concat(valueFrom(parseLanAllow('LAN_ALLOW_IN', '192.168.1.0/24:tcp/8080:172.22.0.128', gateway)), {
  subnet: cidr('203.0.113.9/32'),
  transport: 'udp',
  ports: { first: port(9), last: port(9) },
});

/** What MODE=sidecar makes of the same. */
const sidecar = {
  isSidecar: true,
  gateway: ownNetwork,
  localResolver: { isCaching: true, zones: [] },
} as const;

const sidecarSeen = { lan: { name: loopback } };

const sidecarAllowances = valueFrom(parseLanAllow('LAN_ALLOW', '192.168.1.0/24:tcp/8096', ownNetwork)).concat(
  valueFrom(parseLanAllow('LAN_ALLOW_IN', '192.168.1.0/24:tcp/8080', ownNetwork)),
);

const noTunnel: Plan['tun'] = { name: facts.tunName };

/** The plans whose text is reviewed and kept in test/unit/golden. */
export const goldenPlans: Readonly<Record<string, Plan>> = {
  boot: {
    ruleset: planBootRuleset(),
    firewall: 'nft',
    rules: planBootRules(),
    ipv6Rules: planBootRules(),
    routes: [],
    tun: noTunnel,
  },
  lockdown: planRouter(context({ policy: policies.lockdown })),
  resolve: planRouter(context({ policy: policies.resolve })),
  'resolve-servers': planRouter(
    context({
      policy: { kind: 'resolve', scope: { kind: 'servers', servers: [ipv4('203.0.113.53'), ipv4('9.9.9.9')] } },
      seen: { canRejectBeforeRouting: false },
    }),
  ),
  'sidecar-resolve': planRouter(
    context({
      policy: { kind: 'resolve', scope: { kind: 'servers', servers: [ipv4('10.96.0.10')] } },
      settings: sidecar,
      seen: sidecarSeen,
    }),
  ),
  'sidecar-forward': planRouter(
    context({
      settings: {
        ...sidecar,
        dns: { kind: 'servers', servers: [ipv4('9.9.9.9'), ipv4('1.1.1.1')] },
        lanAllowances: sidecarAllowances,
        forwards: [
          forward({ outside: 6881, target: '127.0.0.1' }),
          forward({ outside: 8080, inside: 80, transports: ['tcp'], target: '127.0.0.1' }),
          forward({ outside: 5000, count: 3, transports: ['udp'], target: '127.0.0.1' }),
        ],
      },
      seen: sidecarSeen,
    }),
  ),
  'dial-udp': planRouter(context({ policy: policies.dial })),
  'forward-ports': planRouter(
    context({
      settings: {
        dns: { kind: 'servers', servers: [ipv4('9.9.9.9'), ipv4('1.1.1.1')] },
        connectionLimit: 4096,
        forwards: [
          forward({ outside: 4666 }),
          forward({ outside: 8080, inside: 80, transports: ['tcp'], target: '172.22.0.20' }),
          forward({ outside: 5000, inside: 15000, count: 3, transports: ['udp'] }),
        ],
      },
    }),
  ),
  'forward-local-resolver': planRouter(
    context({
      settings: {
        dns: { kind: 'tls', servers: [{ address: ipv4('1.1.1.1'), port: port(853), name: 'one.example' }] },
        localResolver: { isCaching: true, zones: [{ domain: 'lan.example', address: ipv4('192.168.1.1') }] },
      },
    }),
  ),
  'forward-hairpin': planRouter(
    context({
      settings: {
        ...{ hairpin: true, publicAddress: ipv4('203.0.113.99'), connectionLimit: 4096 },
        hookAt: { address: ipv4('172.22.0.20'), port: port(8080) },
        forwards: [forward({ outside: 8080, inside: 80, transports: ['tcp'] })],
      },
    }),
  ),
  'lockdown-lan-allow': planRouter(context({ policy: policies.lockdown, settings: { lanAllowances } })),
  'forward-lan-allow': planRouter(context({ settings: { lanAllowances, connectionLimit: 4096 } })),
  'resolve-ipv6': planRouter(
    context({ policy: policies.resolve, seen: { uplink: { ...dualUplink, heedsAdvertisements: true } } }),
  ),
  'dial-ipv6': planRouter(
    context({
      policy: { kind: 'dial', endpoint: endpoint(10, { address: ipv6('2001:db8::10') }) },
      seen: { uplink: { ...dualUplink, ipv6: { cidrs: neighbouring, gateway: ipv6('fe80::1') } } },
    }),
  ),
  'lockdown-ipv6': planRouter(
    context({
      policy: policies.lockdown,
      settings: { ipv6: ipv6Settings },
      seen: { uplink: { ...dualUplink, heedsAdvertisements: true } },
    }),
  ),
  'forward-ipv6': planRouter(
    context({
      policy: {
        kind: 'forward',
        endpoint: endpoint(10, { address: ipv6('2001:db8:7::10'), transport: 'tcp' }),
        tun: tunnelLink(2, { ipv6: { address: ipv6('2001:db8:8::1000'), pushedDns: [] } }),
      },
      settings: {
        ipv6: ipv6Settings,
        dns: { kind: 'servers', servers: [ipv4('9.9.9.9'), ipv6('2620:fe::9'), ipv6('2620:fe::fe')] },
        forwards: [
          forward({ outside: 8080, inside: 80, transports: ['tcp'] }),
          forward({ outside: 8080, inside: 80, target: 'fd00:7722::128' }),
        ],
      },
      seen: { uplink: dualUplink, standbyTunName: ifName('tun1') },
    }),
  ),
  'forward-ipv6-refused': planRouter(context({ policy: policies.forward, settings: { ipv6: ipv6Settings } })),
  'forward-standby': planRouter(
    context({
      policy: {
        ...policies.forward,
        standby: {
          kind: 'forward',
          endpoint: endpoint(11),
          tun: tunnelLink(3, { name: ifName('tun1'), address: ipv4('10.9.0.3') }),
        },
      },
      seen: { standbyTunName: ifName('tun1') },
    }),
  ),
  'forward-pushed-dns-tcp': planRouter(
    context({
      policy: {
        kind: 'forward',
        endpoint: endpoint(10, { address: ipv4('203.0.113.20'), port: port(443), transport: 'tcp' }),
        tun: tunnelLink(6, { mtuBytes: 1420, pushedDns: [ipv4('10.8.0.1')] }),
      },
      settings: { healthAddress: { host: ipv4('0.0.0.0'), port: port(9797) }, mtuBytes: 1380, mssBytes: 1300 },
    }),
  ),
};

/** What a golden file of this plan holds: text that nft takes as it is, with each rule's reason on top. */
export function renderGoldenRules({ ruleset }: Plan): string {
  const reasons = ruleset.tables
    .flatMap(({ chains }) => chains)
    .flatMap(({ rules }) => rules)
    .map(({ id, why }) => `# ${id}: ${why}\n`);
  return `${reasons.join('')}\n${renderNft(ruleset)}`;
}

/** Routing rules and routes as the arguments of `ip`, each with its reason, and the tunnel's address. */
export function renderGoldenRoutes({ rules, ipv6Rules, routes, tun }: Plan): string {
  const { link } = tun;
  const own = ipv6Rules.some(({ from }) => from.kind === 'interface') ? ipv6Rules : [];
  const lines = [
    ...rules.map((rule) => `rule ${renderRule(rule)}  # ${rule.why}`),
    ...own.map((rule) => `-6 rule ${renderRule(rule)}  # ${rule.why}`),
    ...routes.map((route) => `route ${renderRoute(route)}  # ${route.why}`),
    `# ${tun.name}: ${link === undefined ? 'no address' : `${[`${link.address}/32`, ...(link.ipv6 === undefined ? [] : [`${link.ipv6.address}/128`])].join(' ')} mtu ${link.mtuBytes}`}`,
  ];
  return `${lines.join('\n')}\n`;
}
