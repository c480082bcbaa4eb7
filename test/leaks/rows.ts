import { setTimeout as sleep } from 'node:timers/promises';
import {
  advertise,
  bootAgain,
  cutUplink,
  deleteTunnel,
  isHeld,
  killOpenvpn,
  type Lock,
  locks,
  loosenKernel,
  loseForwardedFlow,
  moveUplink,
  push,
  reconnect,
  removeLock,
  signal,
  swapNetworks,
} from './events.ts';
import { reloadRules } from './firewall.ts';
import { devicesOf, type Ground, until } from './ground.ts';
import { type TrafficName, trafficNames } from './traffic.ts';

/** One line of the matrix: what happens to the router while a client sends what. */
export interface Row {
  readonly group: string;
  readonly event: string;
  readonly kinds: readonly TrafficName[];
  /** How often it happens in a row: in the fast part, which absent means not at all, and in the whole. */
  readonly times: { readonly fast?: number; readonly whole: number };
  /** A lock that is away; the other one holds alone. Taken away first, with a daemon that cannot put it back … */
  readonly without?: Lock;
  /** … or by the row itself, and the daemon puts it back. */
  readonly isPutBack?: true;
  /** `image`: only a container engine can do it. `namespaces`: engines refuse to. */
  readonly only?: 'image' | 'namespaces';
  /** The client also sends to the hardware address that Docker gives the router's device before the router runs. */
  readonly knows?: 'what Docker gives';
  /** Where it is written that some packets do leave. */
  readonly limit?: string;
  readonly make: (ground: Ground, times: number) => Promise<void>;
}

/** What programs send. Fewer kinds are more packets of each: a door that is open for a millisecond is hit. */
const ordinary = ['udp', 'tcp', 'ping', 'to the VPN server', 'dns'] as const satisfies readonly TrafficName[];
const loss = [...ordinary, 'answers of a forward', 'tcp flags', 'spoofed source'] as const;
export const overIpv6 = ['ipv6', 'ipv6 on the link'] as const;
export const once = { fast: 1, whole: 1 } as const;

export const loosened = 'no source checked, source routes and redirects heeded, and OpenVPN killed';

const outages: readonly Row[] = [
  { event: 'OpenVPN killed', make: killOpenvpn },
  { event: 'tunnel device deleted', make: deleteTunnel },
  { event: 'uplink down and up', make: cutUplink },
].map((row) => ({ ...row, group: 'outages', kinds: loss, times: once }));

/** With one lock away and the daemon unable to put it back. */
const alone: readonly Row[] = locks.flatMap((without) => {
  const taken = without === 'firewall' ? 'firewall flushed' : 'rules and routes flushed, main leads to the provider';
  const row = { group: 'locks', without, kinds: trafficNames, times: { whole: 1 } };
  return [
    { ...row, event: taken, times: once, make: () => sleep(1_500) },
    ...outages.map((outage) => ({ ...outage, ...row, event: `${taken}; ${outage.event}` })),
    {
      ...row,
      event: `${taken}; VPN server killed`,
      make: (ground: Ground) => ground.server.kill().then(() => sleep(1_500)),
    },
    { ...row, event: `${taken}; the provider advertises itself`, kinds: overIpv6, make: advertise },
  ];
});

export const bootAnew = {
  event: 'boot in a new namespace, same hardware address',
  make: bootAgain,
};
export const nothing = { event: 'nothing happens, the tunnel works', make: () => sleep(1_000) };
export const eachAlone = locks.flatMap((without) => {
  const taken = without === 'firewall' ? 'firewall flushed' : 'rules and routes flushed, main leads to the provider';
  return [
    { without, event: taken, make: () => sleep(1_000) },
    { without, event: `${taken}; tunnel device deleted`, make: deleteTunnel },
  ];
});

/** The same with LAN_ALLOW and LAN_ALLOW_IN, which let some of the local network past the tunnel. */
export const allowedRows: readonly Row[] = [bootAnew, nothing, ...outages, ...eachAlone].map((row) => ({
  ...row,
  group: 'allowed',
  kinds: [...loss, 'beside what is allowed'],
  times: once,
}));

/** The same with a resolver of the router's own: `DNS: tls://…`, and a domain that may be asked past the tunnel. */
export const resolverRows: readonly Row[] = [
  { event: 'nothing happens, the tunnel works', make: () => sleep(1_000) },
  ...outages,
  {
    event: 'VPN server killed',
    make: (ground: Ground) =>
      ground.server
        .kill()
        .then(() => sleep(8_000))
        .then(() => ground.server.start()),
  },
  { event: 'daemon killed', make: (ground: Ground) => ground.killDaemon() },
  ...locks.flatMap((without) => {
    const taken = without === 'firewall' ? 'firewall flushed' : 'rules and routes flushed, main leads to the provider';
    return [
      { without, event: taken, make: () => sleep(1_000) },
      { without, event: `${taken}; tunnel device deleted`, make: deleteTunnel },
    ];
  }),
].map((row) => ({ ...row, group: 'resolver', kinds: ordinary, times: once }));

const putBack: readonly Row[] = locks.map((lock) => ({
  group: 'locks',
  event: `${lock === 'firewall' ? 'firewall flushed' : 'rules and routes flushed'}, and put back by the router`,
  kinds: loss,
  times: { fast: 3, whole: 20 },
  without: lock,
  isPutBack: true,
  make: repeat(async (ground) => {
    await removeLock(ground, lock);
    await until(() => isHeld(ground, lock), 10_000, ground.log);
  }),
}));

export const rows: readonly Row[] = [
  {
    group: 'boot',
    event: 'boot in a new namespace, same hardware address',
    kinds: ordinary,
    times: { fast: 2, whole: 20 },
    make: repeat(bootAgain),
  },
  {
    group: 'boot',
    event: 'boot, every kind of packet',
    kinds: trafficNames,
    times: { whole: 3 },
    make: repeat(bootAgain),
  },
  {
    group: 'tunnel up',
    event: 'nothing happens, the tunnel works',
    kinds: trafficNames,
    times: once,
    make: () => sleep(3_000),
  },
  {
    group: 'tunnel up',
    event: 'rules loaded again',
    kinds: ordinary,
    times: { fast: 50, whole: 300 },
    make: async (ground, times) => reloadRules(await ground.router(), ground.backend, times),
  },
  {
    group: 'tunnel up',
    event: 'reconnect',
    kinds: loss,
    times: { fast: 3, whole: 50 },
    make: repeat(reconnect),
  },
  ...outages,
  {
    group: 'outages',
    event: 'OpenVPN stopped (SIGSTOP)',
    kinds: loss,
    times: { whole: 1 },
    make: async (ground) => {
      await signal(ground, 'openvpn', 'SIGSTOP');
      // Until the probe has noticed.
      await sleep(8_000);
    },
  },
  {
    group: 'outages',
    event: 'daemon killed',
    kinds: loss,
    times: once,
    make: (ground) => ground.killDaemon(),
  },
  {
    group: 'outages',
    event: 'VPN server killed, every kind of packet',
    kinds: trafficNames,
    times: once,
    make: async (ground) => {
      await ground.server.kill();
      await sleep(9_000);
      await ground.server.start();
    },
  },
  {
    group: 'outages',
    event: 'an inbound forwarded flow at the moment of loss',
    kinds: ['answers of a forward'],
    times: { fast: 1, whole: 3 },
    make: repeat((ground) => loseForwardedFlow(ground, 'ipv4')),
  },
  {
    group: 'outages',
    event: 'uplink disconnected, and connected with another address',
    kinds: loss,
    times: once,
    make: moveUplink,
  },
  {
    group: 'outages',
    event: "both networks taken away, and given back with each other's names",
    only: 'namespaces',
    kinds: loss,
    times: { whole: 1 },
    make: swapNetworks,
  },
  ...alone,
  ...putBack,
  {
    group: 'ipv6',
    event: 'IPv6 forwarding on, the provider advertises itself',
    kinds: overIpv6,
    times: once,
    make: advertise,
  },
  {
    group: 'ipv6',
    event: 'the same, and OpenVPN killed',
    kinds: overIpv6,
    times: { whole: 1 },
    make: async (ground) => {
      await advertise(ground);
      await killOpenvpn(ground);
    },
  },
  {
    group: 'hostile server',
    event: 'routes pushed to the uplink and the LAN',
    kinds: loss,
    times: once,
    make: (ground) => {
      const { web, isp, client, resolver } = ground.scene;
      return push(ground, [
        ...[web, resolver].map((address) => `route ${address} 255.255.255.255 net_gateway`),
        `route ${client} 255.255.255.255`,
        `route ${isp} 255.255.255.255`,
        'route 0.0.0.0 128.0.0.0 net_gateway',
        'route 172.22.0.0 255.255.255.0 net_gateway',
        'redirect-private def1',
      ]);
    },
  },
  ...[0, 1, 2].map((value) => ({
    group: 'rp_filter',
    event: `rp_filter ${value}, and OpenVPN killed`,
    kinds: loss,
    times: value === 1 ? once : { whole: 1 },
    make: async (ground: Ground) => {
      const router = await ground.router();
      const { lan, uplink } = await devicesOf(router);
      for (const device of ['all', 'default', lan, uplink, 'tun0'])
        await router.run('sysctl', '-qw', `net.ipv4.conf.${device}.rp_filter=${value}`);
      await killOpenvpn(ground);
    },
  })),
  {
    group: 'rp_filter',
    event: loosened,
    kinds: [...loss, 'source routes', 'icmp errors', 'martians', 'on the link', 'to the uplink'],
    times: { whole: 1 },
    make: loosenKernel,
  },
  {
    group: 'container',
    event: 'container restarted, same hardware address',
    kinds: ordinary,
    times: { fast: 2, whole: 20 },
    only: 'image',
    make: repeat(async (ground) => {
      await ground.container?.restart();
      await ground.untilCarried();
    }),
  },
  {
    group: 'container',
    event: 'container restarted, and a client forges frames for the hardware address that Docker gives',
    kinds: ordinary,
    times: { whole: 20 },
    only: 'image',
    knows: 'what Docker gives',
    limit: 'docs/security.md, the boot window',
    make: repeat(async (ground) => {
      await ground.container?.restart();
      await ground.untilCarried();
    }),
  },
  {
    group: 'container',
    event: 'container killed',
    kinds: ordinary,
    times: { fast: 1, whole: 3 },
    only: 'image',
    make: repeat(async (ground) => {
      await ground.container?.kill();
      await ground.untilCarried();
    }),
  },
];

export function repeat(make: (ground: Ground) => Promise<void>): Row['make'] {
  return async (ground, times) => {
    for (let round = 0; round < times; round += 1) await make(ground);
  };
}
