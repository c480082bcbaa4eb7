import { UnderbridgeError } from '../errors.ts';
import type { IfName } from '../net/address.ts';
import { readDevice } from './device.ts';
import { netlinkRoute, openNetlink } from './netlink.ts';

/** Whether the kernel forwards what comes in on a device. */
export interface DeviceForwarding {
  readonly name: IfName;
  readonly forwards: boolean;
  /**
   * Whether it takes packets only from sources that it would send to by that device. A packet to one of the router's own
   * addresses meets no routing rule of ours, so this alone keeps the answer to a forged source, say the VPN server's, from
   * leaving where the source is. Where the machine has `net.ipv4.conf.all.rp_filter=2` that higher number counts, and the
   * firewall alone drops those packets.
   */
  readonly checksSources?: true;
  /** Whether the kernel tells the neighbours its addresses (gratuitous ARP) when its hardware address is set. */
  readonly announces?: true;
}

/**
 * Sets per-device forwarding, and reads it back; a device that is gone is left out. Docker mounts /proc/sys read-only, and iproute2 has no command for
 * this; RTM_SETLINK with IFLA_AF_SPEC needs only CAP_NET_ADMIN. With `net.ipv4.ip_forward=0` in Compose nothing at all
 * is forwarded before this is called, which is after the locks are in.
 * @throws UnderbridgeError UB_KERNEL when a device does not forward afterwards and should.
 */
export function applyForwarding(devices: readonly DeviceForwarding[]): void {
  for (const device of devices.filter(isOtherwise)) {
    const { name, forwards } = device;
    const ifindex = readDevice(`/sys/class/net/${name}/ifindex`);
    if (ifindex === undefined) continue;
    const problem = sendLinkSettings({ ...device, ifindex: Number(ifindex) });
    // A device that forwards without need is closed by both locks; one that does not forward is of no use.
    if (!forwards || !isOtherwise({ name, forwards })) continue;
    throw new UnderbridgeError({
      code: 'UB_KERNEL',
      message: `net.ipv4.ip_forward is 0, and the kernel does not let ${name} forward (${problem})`,
      hint: 'switch forwarding on (Compose: `sysctls: {net.ipv4.ip_forward: 1}`), or add the capability NET_ADMIN',
    });
  }
}

/** The devices that do not forward as they should, one text each. */
export function findForwardingDrift(devices: readonly DeviceForwarding[]): readonly string[] {
  return devices
    .filter(isOtherwise)
    .map((device) =>
      isOtherwise({ name: device.name, forwards: device.forwards })
        ? `${device.name} ${device.forwards ? 'does not forward' : 'forwards'}`
        : `${device.name} does not check sources, or does not announce its addresses`,
    );
}

/** A device that is gone does nothing otherwise. */
function isOtherwise({ name, forwards, checksSources, announces }: DeviceForwarding): boolean {
  const read = (setting: string) => readDevice(`/proc/sys/net/ipv4/conf/${name}/${setting}`);
  const seen = read('forwarding');
  if (seen === undefined) return false;
  if ((seen === '1') !== forwards) return true;
  return (checksSources === true && read('rp_filter') !== '1') || (announces === true && read('arp_notify') !== '1');
}

/** Whether a device forwards; `all` is net.ipv4.ip_forward. */
export function observeForwarding(name: IfName | 'all'): boolean {
  return readDevice(`/proc/sys/net/ipv4/conf/${name}/forwarding`) === '1';
}

// Numbers from Linux include/uapi/linux: rtnetlink.h, if_link.h, ip.h.
const rtmSetlink = 19;
const requestWithAck = 0x01 | 0x04;
const iflaAfSpec = 26;
const afInet = 2;
const iflaInetConf = 1;
const ipv4DevconfForwarding = 1;
const ipv4DevconfRpFilter = 8;
const ipv4DevconfArpNotify = 22;

type LinkSettings = Omit<DeviceForwarding, 'name'> & { readonly ifindex: number };

/** Sends one RTM_SETLINK and gives the kernel's answer: `done`, or what went wrong. */
function sendLinkSettings(settings: LinkSettings): string {
  const socket = openNetlink({ protocol: netlinkRoute });
  try {
    if (!socket.send(renderSetlink(settings))) return 'netlink did not take the message';
    // The kernel has answered before send returned (netlink_unicast_kernel), so there is nothing to wait for.
    const answer = socket.receive();
    if (typeof answer === 'string' || answer.length < 20) return 'netlink did not answer';
    const errno = -answer.readInt32LE(16);
    return errno === 0 ? 'done' : `errno ${errno}`;
  } finally {
    socket.close();
  }
}

/** struct nlmsghdr, struct ifinfomsg, and attributes inside each other. */
function renderSetlink({ ifindex, forwards, checksSources, announces }: LinkSettings): Buffer {
  const settings = [
    attribute(ipv4DevconfForwarding, renderInt(forwards ? 1 : 0)),
    ...(checksSources === true ? [attribute(ipv4DevconfRpFilter, renderInt(1))] : []),
    ...(announces === true ? [attribute(ipv4DevconfArpNotify, renderInt(1))] : []),
  ];
  const attributes = attribute(iflaAfSpec, attribute(afInet, attribute(iflaInetConf, Buffer.concat(settings))));
  const header = Buffer.alloc(32);
  header.writeUInt32LE(header.length + attributes.length, 0);
  header.writeUInt16LE(rtmSetlink, 4);
  header.writeUInt16LE(requestWithAck, 6);
  header.writeInt32LE(ifindex, 20);
  return Buffer.concat([header, attributes]);
}

function attribute(type: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt16LE(head.length + payload.length, 0);
  head.writeUInt16LE(type, 2);
  return Buffer.concat([head, payload]);
}

function renderInt(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}
