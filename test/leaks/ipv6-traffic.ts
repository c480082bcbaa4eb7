import { extension, icmp6, ipv6, type Packet, protocols, sourceRoute6, tcp, tcpFlags, udp } from './frames.ts';
import { data, datagram6, ends, pair, segment6, ula, words } from './packets.ts';
import type { Traffic } from './traffic.ts';

/** What OpenVPN's own packets over IPv6 look like. */
export const openvpnIpv6 = { router: ula.routerUplink, server: ula.server } as const;
/** Sources of a client's IPv6 packets; the catcher takes them for nothing else. */
export const clientIpv6 = [ula.client, 'fe80::7722:128'] as const;

/** What a client may send of IPv6. */
export const ipv6Traffic = [
  {
    name: 'ipv6',
    passes: 'a router',
    packets: (_, round) => {
      const { client, web } = ula;
      const header = { ...pair(client, web), hopLimit: round.ttl };
      return [
        ipv6({ ...header, nextHeader: protocols.udp }, udp(ends(client, web, round, 53), data)),
        ipv6({ ...header, nextHeader: protocols.tcp }, tcp(ends(client, web, round, 80), tcpFlags.syn)),
        ipv6(
          { ...header, nextHeader: protocols.icmp6 },
          icmp6({ source: client, destination: web }, 128, words(0, 1, data)),
        ),
      ];
    },
  },
  {
    name: 'ipv6 on the link',
    passes: 'a bridge',
    packets: (_, round) => {
      const [, source] = clientIpv6;
      return [
        ...['ff02::fb', 'ff05::2', 'ff0e::77', 'fe80::1'].map((destination) =>
          ipv6(
            { source, destination, hopLimit: round.ttl, nextHeader: protocols.udp },
            udp(ends(source, destination, round, 5353), data),
          ),
        ),
        routerAdvertisement(source),
      ];
    },
  },
  {
    name: 'ipv6 to the VPN server',
    passes: 'a router',
    packets: ({ serverPort }, round) =>
      [serverPort, 53, 853].flatMap((port) => [
        datagram6(ula.client, ula.server, round, port),
        segment6(ula.client, ula.server, round, port, tcpFlags.syn),
      ]),
  },
  {
    name: 'ipv6, odd',
    passes: 'a router',
    packets: (_, round) => {
      const { client, web } = ula;
      const { rst, fin, ack, psh, urg, syn } = tcpFlags;
      const { sctp, gre, esp, udplite, experiment } = protocols;
      const header = { ...pair(client, web), hopLimit: round.ttl };
      const each = ends(client, web, round, 80);
      const quoted = datagram6(web, client, round, 7).bytes;
      return [
        ...[rst, rst | ack, fin | ack, ack, psh | ack, syn | ack, fin | psh | urg, 0].map((flags) =>
          segment6(client, web, round, 80, flags),
        ),
        ...[sctp, gre, esp, udplite, experiment].map((nextHeader) =>
          ipv6({ ...header, nextHeader }, words(40_000 + round.number, 80, data)),
        ),
        ipv6({ ...header, nextHeader: protocols.tcp }, tcp(each, tcpFlags.syn, 'wrong')),
        ipv6({ ...header, nextHeader: protocols.udp }, udp(each, data, 'wrong')),
        // Errors, a neighbour's question and an advertisement, none of which is for a neighbour.
        ...[1, 2, 3, 4, 129, 135, 136].map((type) =>
          ipv6(
            { ...header, nextHeader: protocols.icmp6 },
            icmp6({ source: client, destination: web }, type, words(0, 0, quoted)),
          ),
        ),
      ];
    },
  },
  {
    name: 'ipv6, spoofed source',
    passes: 'a router',
    packets: ({ serverPort }, round) =>
      [ula.other, ula.routerUplink, ula.isp, ula.server, ula.tunnel, '2001:db8:77::7'].flatMap((source) => [
        datagram6(source, ula.web, round, 7),
        segment6(source, ula.web, round, 80, tcpFlags.syn),
        datagram6(source, ula.server, round, serverPort),
        // Nobody listens there: the refusal would go to the false source.
        datagram6(source, ula.gateway, round, 7),
        // Of the kind that neighbours may send.
        ...[133, 135, 136, 137].map((type) =>
          ipv6(
            { ...pair(source, ula.web), hopLimit: round.ttl, nextHeader: protocols.icmp6 },
            icmp6({ source, destination: ula.web }, type, words(0, 0, data)),
          ),
        ),
      ]),
  },
  {
    name: 'ipv6 answers of a forward',
    passes: 'a router',
    packets: ({ caller }, { ttl }) => {
      const each = { ...pair(ula.client, ula.caller), sourcePort: caller.forwardedPort, destinationPort: caller.port };
      return [ipv6({ ...pair(ula.client, ula.caller), hopLimit: ttl, nextHeader: protocols.udp }, udp(each, data))];
    },
  },
  {
    name: 'ipv6, extension headers',
    passes: 'a router',
    packets: (_, round) => {
      const { client, web, gateway } = ula;
      const { hopByHop, routing, ipv6Fragment, destinationOptions, icmp6: ping } = protocols;
      const echo = (destination: string) => icmp6({ source: client, destination }, 128, words(round.number, 1, data));
      const to = (destination: string, nextHeader: number, payload: Buffer) =>
        ipv6({ ...pair(client, destination), hopLimit: round.ttl, nextHeader }, payload);
      const padding = Buffer.from('010400000000', 'hex');
      const whole = Buffer.from([0, 0, 0, 0, 0, round.number]);
      const more = Buffer.from([0, 1, 0, 0, 1, round.number]);
      const tail = Buffer.from([0, 16, 0, 0, 2, round.number]);
      const toWeb = echo(web);
      const advertised = icmp6({ source: client, destination: web }, 136, data);
      return [
        to(web, destinationOptions, extension(ping, padding, toWeb)),
        to(web, ipv6Fragment, extension(ping, whole, toWeb)),
        to(web, ipv6Fragment, extension(ping, more, toWeb.subarray(0, 16))),
        to(web, ipv6Fragment, extension(ping, tail, toWeb.subarray(16))),
        to(web, ipv6Fragment, extension(ping, whole, advertised)),
        to(web, destinationOptions, extension(ping, padding, advertised)),
        to(web, hopByHop, extension(ping, padding, toWeb)),
        ...[0, 2, 3, 4].map((type) => to(gateway, routing, extension(ping, sourceRoute6(type, [web]), toWeb))),
        to(gateway, routing, extension(ping, sourceRoute6(4, [web, gateway]), toWeb)),
      ];
    },
  },
] as const satisfies readonly Traffic[];

/** What makes a host take `source` for its IPv6 router, with an address for itself; RFC 4861 wants the hop limit 255. */
export function routerAdvertisement(source: string): Packet {
  const life = Buffer.from('400007080000000000000000030440c00001518000003840' + '00000000', 'hex');
  const prefix = Buffer.from('20010db8007700000000000000000000', 'hex');
  const destination = 'ff02::1';
  return ipv6(
    { source, destination, hopLimit: 255, nextHeader: protocols.icmp6 },
    icmp6({ source, destination }, 134, Buffer.concat([life, prefix])),
  );
}
