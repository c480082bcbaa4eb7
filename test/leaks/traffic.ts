import {
  arpQuestion,
  fragment,
  icmp,
  ipv4,
  type Packet,
  protocols,
  sourceRoute,
  tagged,
  tcp,
  tcpFlags,
  udp,
} from './frames.ts';
import { ipv6Traffic } from './ipv6-traffic.ts';
import { data, datagram, ends, fragments, pair, type Round, type Scene, segment, words } from './packets.ts';

/** A kind of packet that a client may send. */
export interface Traffic {
  readonly name: string;
  /**
   * What a naive gateway does with it, and so how the harness shows that it would be counted: a router forwards it; what
   * no router forwards is put on the uplink by a bridge.
   */
  readonly passes: 'a router' | 'a bridge';
  /** The packets of one round; all of them carry `ttl`, by which they are known again. */
  readonly packets: (scene: Scene, round: Round) => readonly Packet[];
}

const dnsQuestion = Buffer.from('123401000001000000000000047465737407696e76616c69640000010001', 'hex');
/** In the local network; LAN_ALLOW names TCP 8096 and UDP 8097 there, LAN_ALLOW_IN the client's TCP 8080. */
export const lanHost = '192.168.77.5';

/** A neighbour that is not there: what hears of it loses the way to nobody else. */
const nobody = '172.22.0.250';

const ipv4Traffic = [
  {
    name: 'udp',
    passes: 'a router',
    packets: (scene, round) => [datagram(scene, round, scene.web, 7), datagram(scene, round, scene.web, 443)],
  },
  {
    name: 'tcp',
    passes: 'a router',
    packets: (scene, round) => [segment(scene, round, scene.web, 80, tcpFlags.syn)],
  },
  {
    name: 'ping',
    passes: 'a router',
    packets: (scene, { ttl, number }) => [
      ipv4({ ...pair(scene.client, scene.web), ttl, protocol: protocols.icmp }, icmp(8, 0, words(number, 1, data))),
    ],
  },
  {
    name: 'to the VPN server',
    passes: 'a router',
    packets: (scene, round) => [
      datagram(scene, round, scene.server, scene.serverPort),
      datagram(scene, round, scene.server, 53),
      segment(scene, round, scene.server, scene.serverPort, tcpFlags.syn),
      segment(scene, round, scene.server, 80, tcpFlags.syn),
    ],
  },
  {
    name: 'to the uplink',
    passes: 'a router',
    packets: (scene, round) =>
      // The router's own addresses, too: what listens there, and what is open to others.
      [scene.isp, scene.routerUplink, scene.tunnel].flatMap((address) =>
        [53, 80, scene.serverPort, 9797].flatMap((port) => [
          datagram(scene, round, address, port),
          segment(scene, round, address, port, tcpFlags.syn),
        ]),
      ),
  },
  {
    name: 'dns',
    passes: 'a router',
    packets: (scene, round) =>
      [scene.resolver, scene.isp, scene.gateway, scene.routerUplink].flatMap((server) => [
        datagram(scene, round, server, 53, dnsQuestion),
        segment(scene, round, server, 53, tcpFlags.syn),
        segment(scene, round, server, 853, tcpFlags.syn),
      ]),
  },
  {
    name: 'dns fragments',
    passes: 'a router',
    packets: (scene, round) => {
      const [head, tail] = fragments(scene, round, scene.resolver, Buffer.concat([dnsQuestion, data, data, data]), 53);
      // Whole, and a tail whose head never comes.
      return [head, tail, fragments(scene, { ...round, number: round.number + 64 }, scene.resolver, data, 53)[1]];
    },
  },
  {
    name: 'fragments',
    passes: 'a router',
    packets: (scene, round) => {
      const [head, tail] = fragments(scene, round, scene.web, Buffer.concat([data, data, data]), 7);
      // The tail first, and a head without the ports.
      const tiny = tcp(ends(scene.client, scene.web, round, 80), tcpFlags.syn);
      const header = { ...pair(scene.client, scene.web), ttl: round.ttl, protocol: protocols.tcp };
      return [tail, head, ...fragment({ ...header, identification: 0x2000 + round.number }, tiny, 8)];
    },
  },
  {
    name: 'bad checksum',
    passes: 'a router',
    packets: (scene, round) => {
      const each = ends(scene.client, scene.web, round, 80);
      const header = { ...pair(scene.client, scene.web), ttl: round.ttl };
      return [
        ipv4({ ...header, protocol: protocols.tcp }, tcp(each, tcpFlags.syn, 'wrong')),
        ipv4({ ...header, protocol: protocols.udp }, udp(each, data, 'wrong')),
      ];
    },
  },
  {
    name: 'tcp flags',
    passes: 'a router',
    packets: (scene, round) => {
      const { fin, syn, rst, psh, ack, urg } = tcpFlags;
      const odd = [rst, rst | ack, fin, fin | ack, ack, psh | ack, syn | fin, syn | ack, fin | psh | urg, 0, 0x3f];
      return odd.map((flags) => segment(scene, round, scene.web, 80, flags));
    },
  },
  {
    name: 'other protocols',
    passes: 'a router',
    packets: (scene, { ttl, number }) => {
      const { sctp, gre, esp, ipip, dccp, udplite, experiment } = protocols;
      const inner = ipv4({ ...pair(scene.client, scene.web), ttl, protocol: experiment }, data).bytes;
      const payload = (protocol: number) => (protocol === ipip ? inner : words(40_000 + number, 80, data));
      return [sctp, gre, esp, ipip, dccp, udplite, experiment].map((protocol) =>
        ipv4({ ...pair(scene.client, scene.web), ttl, protocol }, payload(protocol)),
      );
    },
  },
  {
    name: 'icmp errors',
    passes: 'a router',
    packets: (scene, round) => {
      const { ttl } = round;
      // About a packet that the web would have sent; and about one that the client itself would have, under way to it.
      const quoted = [pair(scene.web, scene.client), pair(scene.client, scene.web)].map(
        (way) =>
          ipv4(
            { ...way, ttl: 60, protocol: protocols.udp },
            udp(ends(way.source, way.destination, round, 7), Buffer.alloc(0)),
          ).bytes,
      );
      const types = [
        [3, 1],
        [3, 3],
        [3, 4],
        [4, 0],
        [5, 1],
        [11, 0],
        [12, 0],
        [13, 0],
        [0, 0],
      ] as const;
      return types.flatMap(([type, code]) =>
        quoted.map((packet) =>
          ipv4(
            { ...pair(scene.client, scene.web), ttl, protocol: protocols.icmp },
            icmp(type, code, words(0, 0, packet)),
          ),
        ),
      );
    },
  },
  {
    name: 'ip options',
    passes: 'a router',
    packets: (scene, { ttl, number }) => {
      const recordRoute = Buffer.from('070704000000000100000000', 'hex').subarray(0, 8);
      return [
        ipv4(
          { ...pair(scene.client, scene.web), ttl, protocol: protocols.udp, options: recordRoute },
          udp(ends(scene.client, scene.web, { ttl, number }, 7), data),
        ),
      ];
    },
  },
  {
    name: 'spoofed source',
    passes: 'a router',
    packets: (scene, round) =>
      // Of the web: an address that is nobody's here.
      [scene.other, scene.routerUplink, scene.isp, scene.server, scene.tunnel, '198.51.100.77', '10.77.0.7'].flatMap(
        (source) => [
          datagram({ ...scene, client: source }, round, scene.web, 7),
          segment({ ...scene, client: source }, round, scene.web, 80, tcpFlags.syn),
          datagram({ ...scene, client: source }, round, scene.server, scene.serverPort),
          // Nobody listens there: the refusal would go to the false source.
          datagram({ ...scene, client: source }, round, scene.gateway, 7),
          // It ends here: that error would, too.
          datagram({ ...scene, client: source }, { ...round, ttl: 1 }, scene.web, 7),
        ],
      ),
  },
  {
    name: 'answers of a forward',
    passes: 'a router',
    packets: ({ client, caller }, { ttl }) => {
      const each = {
        ...pair(client, caller.address),
        sourcePort: caller.forwardedPort,
        destinationPort: caller.port,
      };
      return [ipv4({ ...pair(client, caller.address), ttl, protocol: protocols.udp }, udp(each, data))];
    },
  },
  {
    name: 'martians',
    passes: 'a bridge',
    packets: (scene, round) => [
      ...['127.0.0.1', '0.0.0.0', '224.0.0.5', '255.255.255.255', scene.gateway].map((source) =>
        datagram({ ...scene, client: source }, round, scene.web, 7),
      ),
      ...['127.0.0.1', '0.0.0.0', '255.255.255.255', '198.51.100.255', '240.0.0.1'].map((destination) =>
        datagram(scene, round, destination, 7),
      ),
    ],
  },
  {
    name: 'multicast',
    passes: 'a bridge',
    packets: (scene, round) => ['224.0.0.251', '239.255.255.250'].map((group) => datagram(scene, round, group, 1_900)),
  },
  {
    name: 'vlan',
    passes: 'a bridge',
    packets: (scene, round) => [0, 77].map((vlan) => tagged(datagram(scene, round, scene.web, 7), vlan)),
  },
  {
    name: 'beside what is allowed',
    passes: 'a router',
    packets: (scene, round) => {
      const { ttl, number } = round;
      const header = { ...pair(scene.client, lanHost), ttl };
      const from = (source: string) => ({ ...scene, client: source });
      const whole = udp(ends(scene.client, lanHost, round, 8097), Buffer.concat([data, data, data]));
      const [, tail] = fragment({ ...header, protocol: protocols.udp, identification: 0x3000 + number }, whole, 16);
      return [
        ...[8095, 8097, 22, 53, 853].map((port) => segment(scene, round, lanHost, port, tcpFlags.syn)),
        ...[8096, 8098, 53, 853].map((port) => datagram(scene, round, lanHost, port)),
        segment(scene, round, '192.168.78.5', 8096, tcpFlags.syn),
        datagram(scene, round, '192.168.77.6', 8097),
        segment(from(scene.routerUplink), round, lanHost, 8096, tcpFlags.syn),
        segment(from('192.168.77.9'), round, lanHost, 8096, tcpFlags.syn),
        ipv4({ ...header, protocol: protocols.icmp }, icmp(8, 0, words(number, 1, data))),
        ipv4({ ...header, protocol: protocols.sctp }, words(40_000 + number, 8096, data)),
        ipv4({ ...header, protocol: protocols.udplite }, words(40_000 + number, 8097, data)),
        // A tail whose head never comes, and an answer of a port that is not named.
        tail,
        ipv4(
          { ...header, protocol: protocols.tcp },
          tcp(
            { ...pair(scene.client, lanHost), sourcePort: 8081, destinationPort: 40_000 },
            tcpFlags.syn | tcpFlags.ack,
          ),
        ),
      ];
    },
  },
  {
    name: 'source routes',
    passes: 'a bridge',
    packets: (scene, { ttl, number }) => {
      const { client, gateway, web, server, isp } = scene;
      // To the gateway and from there on; and with the last stop behind it, so that its answer goes the same way back.
      const ways = [131, 137].flatMap((type) => [
        ...[web, server, isp].map((next) => sourceRoute(type, [next, web], 'first')),
        ...[server, isp].map((last) => sourceRoute(type, [last], 'end')),
      ]);
      const round = { ttl, number };
      return ways.flatMap((options) => [
        ipv4(
          { ...pair(client, gateway), ttl, protocol: protocols.udp, options },
          udp(ends(client, gateway, round, 7), data),
        ),
        ipv4({ ...pair(client, gateway), ttl, protocol: protocols.icmp, options }, icmp(8, 0, words(number, 1, data))),
      ]);
    },
  },
  {
    name: 'on the link',
    passes: 'a bridge',
    packets: (scene, round) => [
      ...[scene.isp, scene.routerUplink, scene.server, scene.tunnel, scene.web].map((target) =>
        arpQuestion(nobody, target),
      ),
      ...['255.255.255.255', '172.22.0.255', scene.gateway, scene.isp, scene.web, scene.server].flatMap(
        (destination) => [
          // DHCP, NetBIOS, NAT-PMP and SSDP; a report of listeners.
          ...[67, 137, 5351, 1900].map((port) => datagram(scene, round, destination, port)),
          ipv4(
            { ...pair(scene.client, destination), ttl: round.ttl, protocol: protocols.igmp },
            words(0x1600, 0, data),
          ),
        ],
      ),
      datagram({ ...scene, client: '0.0.0.0' }, round, '255.255.255.255', 67),
    ],
  },
] as const satisfies readonly Traffic[];

/** Every kind, in an order that does not change: a kind's place is its TTL. */
export const traffic = [...ipv4Traffic, ...ipv6Traffic] as const;

export type TrafficName = (typeof traffic)[number]['name'];
export const trafficNames: readonly TrafficName[] = traffic.map(({ name }) => name);

export function trafficOf(name: TrafficName): Traffic {
  const found = traffic.find((each) => each.name === name);
  if (found === undefined) throw new Error(`no such traffic: ${name}`);
  return found;
}

/** TTL of a kind as it is sent. Routers take one away; packets of the router's own have 64. */
export function ttlOf(name: TrafficName): number {
  return 100 + 2 * trafficNames.indexOf(name);
}

/** The kind that a packet on the uplink was, by its TTL there. */
export function kindOfTtl(ttl: number): TrafficName | undefined {
  return trafficNames[Math.ceil((ttl - 100) / 2)];
}
