import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import type { LabProcess, Namespace } from '../kernel/lab/namespace.ts';
import type { Catcher } from './catcher.ts';
import type { Scene } from './traffic.ts';

/** A place to run the matrix in: a router between clients and an uplink that is watched. */
export interface Ground {
  readonly scene: Scene;
  /** Where the client's packets are made, and its device. */
  readonly client: Namespace;
  readonly clientDevice: string;
  readonly catcher: Catcher;
  readonly naive: Naive;
  /** The uplink's next hop, and its device there. */
  readonly isp: Namespace;
  readonly ispDevice: string;
  /** Its hardware address. */
  readonly ispMac: string;
  /** The router's network namespace as it is now. */
  readonly router: () => Promise<Namespace>;
  /** A process of the router, by its program's name. */
  readonly pidOf: (program: 'openvpn' | 'node-MainThread') => Promise<number>;
  /** All hardware addresses by which somebody may know the router's isolated interface before it starts. */
  readonly knownMacs: () => Promise<readonly string[]>;
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
  };
  /** Somebody outside who sends to the forwarded port all the while; resolves when the client has answered. */
  readonly startCaller: () => Promise<LabProcess>;
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
export async function makeNaive({
  ns,
  devices,
  isp,
}: {
  readonly ns: Namespace;
  readonly devices: Devices;
  readonly isp: { readonly address: string; readonly mac: string };
}): Promise<Naive> {
  const { lan, uplink } = devices;
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
    mac: (await ns.run('cat', `/sys/class/net/${lan}/address`)).trim(),
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

/** The router's devices, by the networks that they are in: their names say nothing. */
export async function devicesOf(router: Namespace): Promise<Devices> {
  const links: readonly { readonly ifname: string; readonly addr_info: readonly { readonly local?: string }[] }[] =
    JSON.parse(await router.run('ip', '-4', '-j', 'addr'));
  const find = (prefix: string) => {
    const found = links.find((link) => link.addr_info?.some(({ local }) => local?.startsWith(prefix)));
    if (found === undefined) throw new Error(`no device has an address in ${prefix}0/24: ${JSON.stringify(links)}`);
    return found.ifname;
  };
  return { lan: find('172.22.0.'), uplink: find('198.51.100.') };
}

/** Tries again until it works. */
export async function until(work: () => Promise<boolean>, limitMs: number, what: () => Promise<string>): Promise<void> {
  for (const deadline = Date.now() + limitMs; !(await work()); await sleep(50)) {
    if (Date.now() > deadline) throw new Error(`${limitMs} ms were not enough: ${await what()}`);
  }
}
