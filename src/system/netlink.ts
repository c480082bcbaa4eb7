import { dlopen, getInt32 } from 'node:ffi';
import { UnderbridgeError } from '../errors.ts';

// Numbers from Linux include/uapi/linux/netlink.h, include/linux/net.h and asm-generic.
const afNetlink = 16;
const sockRaw = 3;
const nonBlocking = 0x800;
const closeOnExec = 0x80000;
const solSocket = 1;
const soRcvbufforce = 33;
const eagain = 11;
const setStatusFlags = 4;
const setOwner = 8;
const setSignal = 10;
const sigurg = 23;
const async = 0x2000;
const headerBytes = 16;

export const netlinkRoute = 0;
export const netlinkNetfilter = 12;

/** What a look at a socket's queue gives: `overrun` when the kernel had to leave messages out (ENOBUFS). */
export type Received = Buffer | 'nothing' | 'overrun';

/** A conversation with the kernel that never waits. */
export interface NetlinkSocket {
  /** False when the kernel did not take it. */
  readonly send: (message: Buffer) => boolean;
  /** The next datagram, valid until the next call: one or more messages. */
  readonly receive: () => Received;
  /** Whether the kernel sends this process SIGURG when a message comes. That is one which ends nobody who does not heed it. */
  readonly signal: (isWanted: boolean) => void;
  readonly close: () => void;
}

/** One message of a datagram, without its header. */
export interface NetlinkMessage {
  readonly type: number;
  readonly payload: Buffer;
}

/**
 * Opens a netlink socket, and joins multicast groups. Through the C library, because Node has no such sockets.
 * @throws UnderbridgeError UB_KERNEL
 */
export function openNetlink({
  protocol,
  groups = [],
  queueBytes,
}: {
  readonly protocol: number;
  /** Numbers of groups, 32 at most. */
  readonly groups?: readonly number[];
  /** How much the kernel keeps for us, with its own overhead; absent: its default. */
  readonly queueBytes?: number;
}): NetlinkSocket {
  const { functions: libc, lib } = dlopen(null, {
    socket: { arguments: ['i32', 'i32', 'i32'], return: 'i32' },
    bind: { arguments: ['i32', 'buffer', 'u32'], return: 'i32' },
    setsockopt: { arguments: ['i32', 'i32', 'i32', 'buffer', 'u32'], return: 'i32' },
    send: { arguments: ['i32', 'buffer', 'u64', 'i32'], return: 'i64' },
    recv: { arguments: ['i32', 'buffer', 'u64', 'i32'], return: 'i64' },
    fcntl: { arguments: ['i32', 'i32', 'i32'], return: 'i32' },
    close: { arguments: ['i32'], return: 'i32' },
    __errno_location: { arguments: [], return: 'pointer' },
  });
  const errno = () => getInt32(libc.__errno_location());
  const socket = libc.socket(afNetlink, sockRaw | nonBlocking | closeOnExec, protocol);
  const close = () => {
    if (socket >= 0) libc.close(socket);
    lib.close();
  };
  if (socket < 0 || libc.bind(socket, renderAddress(groups), 12) < 0) {
    const problem = `errno ${errno()}`;
    close();
    throw new UnderbridgeError({
      code: 'UB_KERNEL',
      message: `the kernel gives no netlink socket of protocol ${protocol} (${problem})`,
      hint: 'the container needs the capability NET_ADMIN, and its seccomp profile has to allow netlink sockets',
    });
  }
  // Refused without NET_ADMIN on the machine itself (user namespaces); the default size does as well, overruns come sooner.
  if (queueBytes !== undefined) libc.setsockopt(socket, solSocket, soRcvbufforce, renderInt(queueBytes), 4);
  const datagram = Buffer.alloc(65_536);
  return {
    send: (message) => libc.send(socket, message, BigInt(message.length), 0) >= 0n,
    receive: () => {
      const length = libc.recv(socket, datagram, BigInt(datagram.length), 0);
      if (length >= 0n) return datagram.subarray(0, Number(length));
      // Whatever else is wrong, messages may be missing.
      return errno() === eagain ? 'nothing' : 'overrun';
    },
    signal: (isWanted) => {
      libc.fcntl(socket, setOwner, process.pid);
      libc.fcntl(socket, setSignal, sigurg);
      libc.fcntl(socket, setStatusFlags, isWanted ? nonBlocking | async : nonBlocking);
    },
    close,
  };
}

/** struct nlmsghdr, several in one datagram, each on a boundary of four bytes. */
export function* parseMessages(datagram: Buffer): Generator<NetlinkMessage> {
  for (let at = 0; at + headerBytes <= datagram.length; ) {
    const length = datagram.readUInt32LE(at);
    if (length < headerBytes) return;
    yield { type: datagram.readUInt16LE(at + 4), payload: datagram.subarray(at + headerBytes, at + length) };
    at += aligned(length);
  }
}

/** struct nlattr: the value of the first attribute of a type, after a message's own header. */
export function findAttribute(
  { payload }: NetlinkMessage,
  { after, type }: { readonly after: number; readonly type: number },
): Buffer | undefined {
  for (let at = after; at + 4 <= payload.length; ) {
    const length = payload.readUInt16LE(at);
    if (length < 4) return undefined;
    // The two highest bits of the type are flags.
    if ((payload.readUInt16LE(at + 2) & 0x3fff) === type) return payload.subarray(at + 4, at + length);
    at += aligned(length);
  }
  return undefined;
}

/** struct sockaddr_nl */
function renderAddress(groups: readonly number[]): Buffer {
  const address = Buffer.alloc(12);
  address.writeUInt16LE(afNetlink, 0);
  address.writeUInt32LE(
    groups.reduce((mask, group) => mask + 2 ** (group - 1), 0),
    8,
  );
  return address;
}

function renderInt(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}

function aligned(length: number): number {
  return Math.ceil(length / 4) * 4;
}
