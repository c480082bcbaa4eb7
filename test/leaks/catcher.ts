import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import type { LabProcess, Namespace } from '../kernel/lab/namespace.ts';
import { clientIpv6, openvpnIpv6 } from './ipv6-traffic.ts';
import type { Scene } from './packets.ts';
import { kindOfTtl, type TrafficName } from './traffic.ts';

/** What came by on the uplink so far. */
export interface Seen {
  /** Not made by the router: forwarded, or bridged. */
  readonly client: number;
  /** Made by the router's own kernel and programs, and not OpenVPN's to its server. */
  readonly router: number;
  /** OpenVPN's to its server. */
  readonly openvpn: number;
  /** Of the test's own packets, by kind. */
  readonly kinds: ReadonlyMap<TrafficName, number>;
}

export interface Catcher {
  readonly seen: () => Promise<Seen>;
  /** Starts to write down what `seen` counts as `client` or `router`. */
  readonly capture: () => Promise<Capture>;
  readonly remove: () => Promise<void>;
}

export interface Capture {
  /** Ends it; one line for each packet, the first 2,000. */
  readonly end: () => Promise<readonly string[]>;
}

export interface Place {
  /** Where the device is. */
  readonly ns: Namespace;
  /** The uplink's bridge: all that the router sends passes it, whoever it is for. */
  readonly device: string;
  /** Addresses that the router has on the uplink during the matrix. */
  readonly routers: readonly string[];
  /** The hardware address of the uplink's next hop, if its packets pass the device too. */
  readonly isp?: string | undefined;
  readonly scene: Pick<Scene, 'server' | 'serverPort'>;
}

const table = 'underbridge_catcher';
const inside = ['172.22.0.0/24', '10.8.0.0/24'] as const;

/**
 * Counts at the uplink's bridge, before any rule of the machine, and by the TTL: what the router makes itself has the
 * kernel's 64, what it forwards has another one, whatever addresses it was given. So a client's packet that looks just
 * like OpenVPN's is still told apart.
 */
export async function openCatcher({ ns, device, routers, isp, scene }: Place): Promise<Catcher> {
  // Without it, a bridge passes up only frames for itself.
  await ns.run('ip', 'link', 'set', 'dev', device, 'promisc', 'on');
  const router = routers.join(', ');
  const rules = `
    table netdev ${table}
    delete table netdev ${table}
    table netdev ${table} {
      counter openvpn { }
      counter link { }
      counter stray { }
      counter router { }
      counter client { }
      set ttls { typeof ip ttl; flags dynamic; size 256; counter; }
      set hops { typeof ip6 hoplimit; flags dynamic; size 256; counter; }
      chain arriving {
        type filter hook ingress device "${device}" priority 0
        ${isp === undefined ? '' : `ether saddr ${isp} accept`}
        # Of an address of the inside, ARP would tell the provider.
        arp saddr ip { ${inside.join(', ')} } counter name client accept
        arp daddr ip { ${inside.join(', ')} } counter name client accept
        ether type arp counter name link accept
        # A host's own, at its end of the link: with these hop limits nothing can have been forwarded.
        ip6 saddr != { ${clientIpv6.join(', ')} } ip6 hoplimit 255 icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } counter name link accept
        ip6 saddr != { ${clientIpv6.join(', ')} } ip6 hoplimit 1 icmpv6 type mld2-listener-report counter name link accept
        ip saddr 0.0.0.0 ip daddr 224.0.0.22 ip ttl 1 counter name link accept
        ip ttl 64 ip saddr { ${router} } ip daddr ${scene.server} meta l4proto { tcp, udp } th dport ${scene.serverPort} counter name openvpn accept
        ip6 hoplimit 64 ip6 saddr ${openvpnIpv6.router} ip6 daddr ${openvpnIpv6.server} meta l4proto { tcp, udp } th dport ${scene.serverPort} counter name openvpn accept
        # An error quotes the packet that it is about; that of a client is known again by its TTL there.
        ip ttl 64 icmp type { destination-unreachable, time-exceeded, parameter-problem, redirect } @th,128,8 >= 90 counter name client accept
        # A kernel that starts says to the VPN server that a port is gone, before any program runs.
        ip ttl 64 ip saddr { ${router} } ip daddr ${scene.server} icmp type destination-unreachable icmp code port-unreachable counter name stray accept
        ip ttl 64 ip saddr { ${router} } counter name router accept
        update @ttls { ip ttl }
        update @hops { ip6 hoplimit }
        counter name client
      }
    }`;
  await execa(...ns.argv('nft', '-f', '-'), { input: rules });
  return {
    seen: async () => parseSeen(await ns.run('nft', '-j', 'list', 'table', 'netdev', table)),
    capture: async () => startCapture(ns, device, filter({ routers, isp, scene })),
    remove: async () => {
      await ns.attempt('nft', 'delete', 'table', 'netdev', table);
    },
  };
}

/** The same as the rules, for tcpdump: a second witness. */
function filter({ routers, isp, scene }: Pick<Place, 'routers' | 'isp' | 'scene'>): string {
  const from = routers.map((address) => `src host ${address}`).join(' or ');
  const own = `(ip[8] = 64 and (${from}) and dst host ${scene.server})`;
  const harmless = [
    `(arp and not net ${inside[0]} and not net ${inside[1]})`,
    `(ip6 and not (${clientIpv6.map((address) => `src host ${address}`).join(' or ')}) and (ip6[7] = 255 or ip6[7] = 1))`,
    `(ip6[7] = 64 and src host ${openvpnIpv6.router} and dst host ${openvpnIpv6.server} and dst port ${scene.serverPort})`,
    '(ip[8] = 1 and src host 0.0.0.0 and dst host 224.0.0.22)',
    `(${own} and dst port ${scene.serverPort})`,
    `(${own} and icmp[0] = 3 and icmp[1] = 3)`,
    ...(isp === undefined ? [] : [`ether src ${isp}`]),
  ];
  return `not (${harmless.join(' or ')})`;
}

async function startCapture(ns: Namespace, device: string, expression: string): Promise<Capture> {
  const options = ['-n', '-e', '-tt', '-v', '-p', '-l', '--immediate-mode', '-Q', 'in', '-c', '2000', '-i', device];
  const running: LabProcess = ns.start({}, 'tcpdump', ...options, expression);
  await running.says('listening on');
  return {
    end: async () => {
      // What came in last is in its buffer for a moment.
      await sleep(100);
      running.kill('SIGTERM');
      await running.exited;
      return packetLines(running.output());
    },
  };
}

/** `-v` writes a packet on two lines or more; only the first begins with the time. */
function packetLines(output: string): readonly string[] {
  const lines: string[] = [];
  for (const line of output.split('\n')) {
    if (/^\d+\.\d{6} /.test(line)) lines.push(line);
    else if (/^\s/.test(line) && lines.length > 0) lines.push(`${lines.pop()} ${line.trim()}`);
  }
  return lines;
}

interface NftListing {
  readonly nftables: readonly {
    readonly counter?: { readonly name: string; readonly packets: number };
    readonly set?: {
      readonly name: string;
      readonly elem?: readonly { readonly elem: { readonly val: number; readonly counter: { packets: number } } }[];
    };
  }[];
}

function parseSeen(json: string): Seen {
  const { nftables }: NftListing = JSON.parse(json);
  const packets = (name: string) => {
    const found = nftables.find(({ counter }) => counter?.name === name)?.counter;
    if (found === undefined) throw new Error(`the catcher has no counter ${name}`);
    return found.packets;
  };
  const kinds = new Map<TrafficName, number>();
  for (const { elem } of nftables.flatMap(({ set }) => set?.elem ?? [])) {
    const kind = kindOfTtl(elem.val);
    if (kind !== undefined) kinds.set(kind, (kinds.get(kind) ?? 0) + elem.counter.packets);
  }
  return { client: packets('client'), router: packets('router'), openvpn: packets('openvpn'), kinds };
}
