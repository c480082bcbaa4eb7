import { join } from 'node:path';
import type { LabProcess, Namespace } from './namespace.ts';
import { addresses, ports } from './world.ts';

const byUdp = ['udp', 'udp-device', 'udp-address', 'udp-both'];
/** By every kind of socket: bound to nothing, to the uplink's device, to its address or to both; root has three more. */
export const anybodysKinds = [...byUdp, 'tcp', 'tcp-device', 'ping', 'udp6', 'multicast'];
export const rootsKinds = [...anybodysKinds, 'raw', 'raw-device', 'frame'];

/** Something in the internet. */
export const strangers = ['203.0.113.80:80', '203.0.113.80:53'];
/** That, the uplink's next hop, and the VPN server: at OpenVPN's own port, and another. */
const destinations = [
  ...strangers,
  `${addresses.isp}:80`,
  `${addresses.isp}:53`,
  `${addresses.server}:${ports.openvpn}`,
  `${addresses.server}:80`,
];

export interface LocalSending {
  readonly uid: number;
  readonly kinds: readonly string[];
  /** `address:port` each; absent: everybody. */
  readonly to?: readonly string[];
}

/** Sends from among the processes of a namespace, each packet with a TTL by which it is known. */
export async function startLocalSender(ns: Namespace, { uid, kinds, to }: LocalSending): Promise<LabProcess> {
  const program = join(import.meta.dirname, 'local-sender.pl');
  const who = uid === 0 ? [] : ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--inh-caps=-all'];
  const uplink = ['eth1', addresses.routerUplink];
  const [file = '', ...args] = [...who, 'perl', program, ...uplink, kinds.join(','), ...(to ?? destinations)];
  const sender = ns.start({}, file, ...args);
  await sender.says('sending');
  return sender;
}
