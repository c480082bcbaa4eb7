import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import type { IpFamily } from '../../src/net/address.ts';
import type { LabProcess, Namespace } from '../kernel/lab/namespace.ts';
import type { Catcher } from './catcher.ts';
import type { Backend } from './firewall.ts';
import type { Scene } from './packets.ts';

/** A place to run the matrix in: a router between clients and an uplink that is watched. */
export interface Ground {
  readonly scene: Scene;
  readonly backend: Backend;
  /** Where the client's packets are made, and its device. */
  readonly client: Namespace;
  readonly clientDevice: Link;
  readonly catcher: Catcher;
  readonly naive: Naive;
  /** The uplink's next hop, and its device there. */
  readonly isp: Namespace;
  readonly ispDevice: Link;
  /** The router's network namespace as it is now. */
  readonly router: () => Promise<Namespace>;
  /** A process of the router, by its program's name. */
  readonly pidOf: (program: 'openvpn' | 'node-MainThread') => Promise<number>;
  /** Hardware addresses of the router's isolated interface that a client may know from the last run. */
  readonly knownMacs: () => Promise<readonly string[]>;
  /** The one that Docker gives it, which it has before the router runs. */
  readonly givenMac: string;
  /** A new router in a new network namespace, with the old hardware addresses. Returns before it works. */
  readonly boot: () => Promise<void>;
  /** The router's first process is killed and started again, as Docker does it. Returns before it works. */
  readonly killDaemon: () => Promise<void>;
  /** Until a client has an answer through the VPN. Throws when that takes too long. */
  readonly untilCarried: () => Promise<void>;
  readonly server: {
    readonly kill: () => Promise<void>;
    /** With options that it pushes besides. Returns when it listens. */
    readonly start: (push?: readonly string[]) => Promise<void>;
  };
  readonly uplink: {
    readonly disconnect: () => Promise<void>;
    readonly connect: (address: string) => Promise<void>;
    /** A device that goes down loses its IPv6 addresses. */
    readonly restoreIpv6?: (() => Promise<void>) | undefined;
  };
  /**
   * Docker takes both networks of the router away and gives them back, the second one when `between` is done. It names
   * devices in that order: eth0, eth1.
   */
  readonly renewNetworks?: (first: 'uplink' | 'isolated', between: () => Promise<void>) => Promise<void>;
  /** Somebody outside who sends to the forwarded port all the while; resolves when the client has answered. */
  readonly startCaller: (over: IpFamily) => Promise<LabProcess>;
  /** Where the router is a container. Both return before it works. */
  readonly container?: { readonly restart: () => Promise<void>; readonly kill: () => Promise<void> };
  /** For a failure: the end of the router's log. */
  readonly log: () => Promise<string>;
}

/** A host in the router's place that forwards everything, as Docker's networks would without a router of ours. */
export interface Naive {
  readonly mac: string;
  /** Runs `work` while it is a bridge, too: each frame of a client is put on the uplink as it is. */
  readonly whileBridge: <T>(work: () => Promise<T>) => Promise<T>;
}

export interface Devices {
  readonly lan: string;
  readonly uplink: string;
}

const bridgeTable = 'underbridge_naive';

/** Makes a host on both networks into a naive router. */
export async function makeNaive(
  ns: Namespace,
  isp: { readonly address: string; readonly mac: string },
): Promise<Naive> {
  const { lan, uplink } = await devicesOf(ns);
  const settings = [
    ...['all', 'default', lan, uplink].flatMap((device) => [
      `net.ipv4.conf.${device}.rp_filter=0`,
      `net.ipv6.conf.${device}.disable_ipv6=0`,
    ]),
    'net.ipv4.ip_forward=1',
    'net.ipv6.conf.all.forwarding=1',
  ];
  for (const setting of settings) await ns.run('sysctl', '-qw', setting);
  await ns.run('ip', 'route', 'replace', 'default', 'via', isp.address);
  await ns.run('ip', '-6', 'neigh', 'replace', 'fe80::1', 'lladdr', isp.mac, 'dev', uplink);
  await ns.run('ip', '-6', 'route', 'replace', 'default', 'via', 'fe80::1', 'dev', uplink);
  return {
    mac: (await findLink(ns, '172.22.0.')).mac,
    whileBridge: async (work) => {
      const rules = `table netdev ${bridgeTable} {
        chain arriving { type filter hook ingress device "${lan}" priority 0; dup to "${uplink}"; }
      }`;
      await execa(...ns.argv('nft', '-f', '-'), { input: rules });
      try {
        return await work();
      } finally {
        await ns.run('nft', 'delete', 'table', 'netdev', bridgeTable);
      }
    },
  };
}

/** A device of a namespace. Not read from /sys, which shows the namespace that it was mounted in. */
export interface Link {
  readonly name: string;
  readonly ifindex: number;
  readonly mac: string;
}

/** The device that has an address which begins so: names say nothing. */
export async function findLink(ns: Namespace, prefix: string): Promise<Link> {
  const links: readonly ObservedLink[] = JSON.parse(await ns.run('ip', '-j', 'addr'));
  const found = links.find((link) => link.addr_info?.some(({ local }) => local?.startsWith(prefix)));
  if (found === undefined)
    throw new Error(`no device of ${ns.name} has an address ${prefix}*: ${JSON.stringify(links)}`);
  return { name: found.ifname, ifindex: found.ifindex, mac: found.address };
}

interface ObservedLink {
  readonly ifname: string;
  readonly ifindex: number;
  readonly address: string;
  readonly addr_info?: readonly { readonly local?: string }[];
}

/** The two devices of a router, or of a naive one. */
export async function devicesOf(ns: Namespace): Promise<Devices> {
  const [lan, uplink] = await Promise.all([findLink(ns, '172.22.0.'), findLink(ns, '198.51.100.')]);
  return { lan: lan.name, uplink: uplink.name };
}

/** Tries again until it works. */
export async function until(work: () => Promise<boolean>, limitMs: number, what: () => Promise<string>): Promise<void> {
  for (const deadline = Date.now() + limitMs; !(await work()); await sleep(50)) {
    if (Date.now() > deadline) throw new Error(`${limitMs} ms were not enough: ${await what()}`);
  }
}
