import { canaryName, resolverPort, routerName } from '../config/own-resolver.ts';
import type { DnsPolicy, LocalResolver } from '../config/router-config.ts';
import { type Ip, isIpv6, type Port, renderSubnet } from '../net/address.ts';
import { type PlanConfig, upstreamResolvers } from '../plan/context.ts';
import type { TunnelLink } from '../tunnel/policy.ts';

/** Who the router's resolver asks through the tunnel. */
export interface Upstream {
  readonly address: Ip;
  readonly port: Port;
  /** What its certificate has to be for; absent: it is asked without TLS. */
  readonly name?: string;
}

/** Who is asked through this tunnel; nobody where the server pushed none. */
export function upstreamsOf(config: PlanConfig, tun: TunnelLink): readonly Upstream[] {
  const { dns }: { readonly dns: DnsPolicy } = config;
  if (dns.kind === 'tls') return dns.servers;
  return upstreamResolvers(config, tun).map((address) => ({ address, port: 53 as Port }));
}

/**
 * Renders unbound.conf(5). Every name in it was parsed, so none can end its line or its quotes.
 *
 * Small: one thread, and caches of some thousand names. It validates no DNSSEC, which is up to the upstream resolver.
 */
export function renderResolverSettings({
  config: { gateway, ipv6, isSidecar },
  resolver: { isCaching, zones },
  upstreams,
  authorities,
}: {
  readonly config: Pick<PlanConfig, 'gateway' | 'ipv6' | 'isSidecar'>;
  readonly resolver: LocalResolver;
  readonly upstreams: readonly Upstream[];
  /** File with the authorities that certificates have to be of. */
  readonly authorities: string;
}): string {
  const gateways = [gateway, ...(ipv6 === undefined ? [] : [ipv6.gateway])];
  const isTls = upstreams.some(({ name }) => name !== undefined);
  const asked = [
    `  forward-tls-upstream: ${isTls ? 'yes' : 'no'}`,
    '  forward-first: no',
    ...upstreams.map(
      ({ address, port, name }) => `  forward-addr: ${address}@${port}${name === undefined ? '' : `#${name}`}`,
    ),
  ];
  return `${[
    'server:',
    ...fixed,
    ...(isTls ? [`  tls-cert-bundle: "${authorities}"`] : []),
    ...gateways.map(({ address }) => `  interface: ${address}@${resolverPort}`),
    // A local process asks with the tunnel's address, and nobody else reaches loopback.
    ...(isSidecar
      ? ['  access-control: 0.0.0.0/0 allow']
      : gateways.map((cidr) => `  access-control: ${renderSubnet(cidr)} allow`)),
    `  local-zone: "${routerName}." static`,
    ...gateways.map(({ address }) => `  local-data: "${routerName}. ${isIpv6(address) ? 'AAAA' : 'A'} ${address}"`),
    ...gateways.map(({ address }) => `  local-data-ptr: "${address} ${routerName}."`),
    ...zones.map(({ domain }) => `  local-zone: "${domain}." transparent`),
    'remote-control:',
    '  control-enable: no',
    'forward-zone:',
    '  name: "."',
    ...asked,
    `  forward-no-cache: ${isCaching ? 'no' : 'yes'}`,
    'forward-zone:',
    `  name: "${canaryName}."`,
    ...asked,
    '  forward-no-cache: yes',
    ...[...new Set(zones.map(({ domain }) => domain))].flatMap((domain) => [
      'forward-zone:',
      `  name: "${domain}."`,
      '  forward-first: no',
      ...zones.filter((zone) => zone.domain === domain).map(({ address }) => `  forward-addr: ${address}`),
      `  forward-no-cache: ${isCaching ? 'no' : 'yes'}`,
    ]),
  ].join('\n')}\n`;
}

const fixed = [
  '  chroot: ""',
  '  username: ""',
  '  directory: "/"',
  '  pidfile: ""',
  '  use-syslog: no',
  '  do-daemonize: no',
  '  verbosity: 1',
  '  module-config: "iterator"',
  // The gateway address may come and go.
  '  ip-freebind: yes',
  '  do-ip6: yes',
  '  prefer-ip6: no',
  '  num-threads: 1',
  '  so-sndbuf: 0',
  '  so-rcvbuf: 0',
  '  outgoing-range: 256',
  '  num-queries-per-thread: 128',
  '  outgoing-num-tcp: 16',
  '  incoming-num-tcp: 64',
  '  msg-cache-size: 1m',
  '  rrset-cache-size: 2m',
  '  key-cache-size: 16k',
  '  neg-cache-size: 16k',
  '  infra-cache-numhosts: 256',
  '  msg-cache-slabs: 1',
  '  rrset-cache-slabs: 1',
  '  infra-cache-slabs: 1',
  '  key-cache-slabs: 1',
  // An upstream that was silent for a while is asked again at once.
  '  infra-host-ttl: 5',
  '  infra-keep-probing: yes',
  // What a name means is up to the resolver that is asked; a VPN may have private ones.
  '  unblock-lan-zones: yes',
  ...['test', 'invalid'].map((domain) => `  local-zone: "${domain}." nodefault`),
  '  hide-identity: yes',
  '  hide-version: yes',
];
