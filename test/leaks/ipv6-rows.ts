import {
  bootAgain,
  cutUplink,
  deleteTunnel,
  killOpenvpn,
  loosenKernel,
  loseForwardedFlow,
  moveUplink,
  push,
  reconnect,
  signal,
  untilGivenUp,
} from './events.ts';
import { reloadRules } from './firewall.ts';
import type { Ground } from './ground.ts';
import { ula } from './packets.ts';
import { bootAnew, eachAlone, loosened, nothing, once, overIpv6, type Row, repeat } from './rows.ts';
import type { TrafficName } from './traffic.ts';

const carriedIpv6 = [
  ...overIpv6,
  'ipv6 to the VPN server',
  'ipv6, odd',
  'ipv6, spoofed source',
  'ipv6 answers of a forward',
  'ipv6, extension headers',
] as const satisfies readonly TrafficName[];

/** The same things happen to clients' IPv6 where it is carried. `IPV6: tunnel`; the provider has IPv6, too. */
export const ipv6Rows: readonly Row[] = [
  { ...bootAnew, times: { fast: 1, whole: 20 }, make: repeat(bootAgain) },
  nothing,
  {
    event: 'rules loaded again',
    times: { fast: 20, whole: 300 },
    make: async (ground: Ground, times: number) => reloadRules(await ground.router(), ground.backend, times),
  },
  { event: 'reconnect', times: { fast: 2, whole: 50 }, make: repeat(reconnect) },
  { event: 'OpenVPN killed', make: killOpenvpn },
  { event: 'tunnel device deleted', make: deleteTunnel },
  {
    event: 'uplink down and up',
    make: async (ground: Ground) => {
      await cutUplink(ground);
      await ground.uplink.restoreIpv6?.();
    },
  },
  { event: 'uplink disconnected, and connected with another address', make: moveUplink },
  {
    event: 'OpenVPN stopped (SIGSTOP)',
    make: (ground: Ground) => untilGivenUp(ground, () => signal(ground, 'openvpn', 'SIGSTOP')),
  },
  {
    event: 'VPN server killed',
    make: async (ground: Ground) => {
      await untilGivenUp(ground, ground.server.kill);
      await ground.server.start();
    },
  },
  {
    event: 'an inbound forwarded flow at the moment of loss',
    kinds: ['ipv6 answers of a forward'] as const,
    times: { fast: 1, whole: 3 },
    make: repeat((ground) => loseForwardedFlow(ground, 'ipv6')),
  },
  { event: loosened, make: loosenKernel },
  { event: 'daemon killed', make: (ground: Ground) => ground.killDaemon() },
  ...eachAlone,
].map((row) => ({ kinds: carriedIpv6, times: once, ...row, group: 'carried ipv6' }));

/** What a hostile server pushes of IPv6. In network namespaces only: with a container's server a tunnel was once not back in time, and why was not found out. */
export const pushedIpv6Row: Row = {
  group: 'carried ipv6',
  kinds: carriedIpv6,
  times: once,
  event: 'routes pushed to the uplink and the LAN',
  make: (ground: Ground) =>
    push(ground, [
      ...[ula.web, ula.isp, ula.server, ula.client].map((address) => `route-ipv6 ${address}/128 ${ula.isp}`),
      `route-ipv6 ::/1 ${ula.isp}`,
      `route-ipv6 ${ula.client.slice(0, -3)}/64`,
      'route-ipv6 2001:db8:198::/64',
      'redirect-gateway ipv6 bypass-dhcp',
      'redirect-private ipv6',
      'block-ipv6',
    ]),
};

/** By iptables none of it is carried, whatever happens: the router's rules drop it, and its routes have no way for it. */
export const droppedIpv6Rows: readonly Row[] = [...ipv6Rows, pushedIpv6Row]
  .filter(({ kinds }) => kinds === carriedIpv6)
  .map((row) => ({ ...row, group: 'dropped ipv6' }));
