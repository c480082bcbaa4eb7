import { dlopen } from 'node:ffi';
import { existsSync, readFileSync } from 'node:fs';
import { UnderbridgeError } from '../errors.ts';
import type { IfName } from '../net/address.ts';

/** Whether the kernel forwards what comes in on a device. */
export interface DeviceForwarding {
  readonly name: IfName;
  readonly forwards: boolean;
}

/**
 * Sets per-device forwarding, and reads it back. Docker mounts /proc/sys read-only, and iproute2 has no command for
 * this; RTM_SETLINK with IFLA_AF_SPEC needs only CAP_NET_ADMIN. With `net.ipv4.ip_forward=0` in Compose nothing at all
 * is forwarded before this is called, which is after the locks are in.
 * @throws UnderbridgeError UB_KERNEL when a device does not forward afterwards and should.
 */
export function applyForwarding(devices: readonly DeviceForwarding[]): void {
  for (const { name, forwards } of devices) {
    if (!existsSync(`/sys/class/net/${name}`)) throw deviceGone(name);
    if (observeForwarding(name) === forwards) continue;
    const problem = sendLinkForwarding({ ifindex: ifindexOf(name), forwards });
    // A device that forwards without need is closed by both locks; one that does not forward is of no use.
    if (observeForwarding(name) === forwards || !forwards) continue;
    throw new UnderbridgeError({
      code: 'UB_KERNEL',
      message: `net.ipv4.ip_forward is 0, and the kernel does not let ${name} forward (${problem})`,
      hint: 'switch forwarding on (Compose: `sysctls: {net.ipv4.ip_forward: 1}`), or add the capability NET_ADMIN',
    });
  }
}

function deviceGone(name: IfName): UnderbridgeError {
  return new UnderbridgeError({
    code: 'UB_KERNEL',
    message: `the interface ${name} is gone`,
    hint: 'somebody took it away; the router tries again when it is back',
  });
}

/** Whether a device forwards; `all` is net.ipv4.ip_forward. */
export function observeForwarding(name: IfName | 'all'): boolean {
  return readFileSync(`/proc/sys/net/ipv4/conf/${name}/forwarding`, 'utf8').trim() === '1';
}

function ifindexOf(name: IfName): number {
  return Number(readFileSync(`/sys/class/net/${name}/ifindex`, 'utf8'));
}

// Numbers from Linux include/uapi/linux: netlink.h, rtnetlink.h, if_link.h, ip.h.
const afNetlink = 16;
const sockRaw = 3;
const netlinkRoute = 0;
const rtmSetlink = 19;
const requestWithAck = 0x01 | 0x04;
const iflaAfSpec = 26;
const afInet = 2;
const iflaInetConf = 1;
const ipv4DevconfForwarding = 1;

/** Sends one RTM_SETLINK and gives the kernel's answer: `done`, or what went wrong. */
function sendLinkForwarding({ ifindex, forwards }: { ifindex: number; forwards: boolean }): string {
  const message = renderSetlink({ ifindex, forwards });
  const answer = Buffer.alloc(4_096);
  const { functions, lib } = dlopen(null, {
    socket: { arguments: ['i32', 'i32', 'i32'], return: 'i32' },
    send: { arguments: ['i32', 'buffer', 'u64', 'i32'], return: 'i64' },
    recv: { arguments: ['i32', 'buffer', 'u64', 'i32'], return: 'i64' },
    close: { arguments: ['i32'], return: 'i32' },
  });
  const socket = functions.socket(afNetlink, sockRaw, netlinkRoute);
  if (socket < 0) return 'no netlink socket';
  try {
    if (functions.send(socket, message, BigInt(message.length), 0) < 0n) return 'netlink did not take the message';
    // The kernel has answered before send returned (netlink_unicast_kernel), so this does not wait.
    if (functions.recv(socket, answer, BigInt(answer.length), 0) < 20n) return 'netlink did not answer';
    const errno = -answer.readInt32LE(16);
    return errno === 0 ? 'done' : `errno ${errno}`;
  } finally {
    functions.close(socket);
    lib.close();
  }
}

/** struct nlmsghdr, struct ifinfomsg, and three attributes inside each other. */
function renderSetlink({ ifindex, forwards }: { ifindex: number; forwards: boolean }): Buffer {
  const value = Buffer.alloc(4);
  value.writeUInt32LE(forwards ? 1 : 0);
  const attributes = attribute(
    iflaAfSpec,
    attribute(afInet, attribute(iflaInetConf, attribute(ipv4DevconfForwarding, value))),
  );
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
