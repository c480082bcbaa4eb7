// Runs in a namespace: `send.ts JSON` puts frames on a device until SIGTERM (or for a number of rounds), then prints as
// JSON how many of each kind it sent. It sends to every hardware address it is told and to each one that the gateway has
// had since, as a client would that wants to get out by all means.
import { dlopen } from 'node:ffi';
import { readFileSync } from 'node:fs';
import { frame, macBytes } from './frames.ts';
import type { Link } from './ground.ts';
import { routerAdvertisement } from './ipv6-traffic.ts';
import type { Scene } from './packets.ts';
import { type TrafficName, trafficOf, ttlOf } from './traffic.ts';

export interface Sending {
  readonly device: Link;
  readonly kinds: readonly TrafficName[] | 'router advertisements';
  readonly scene: Scene;
  /** Hardware addresses to send to. */
  readonly to: readonly string[];
  /** Also to those of the gateway, from now on. */
  readonly follow: boolean;
  readonly packetsPerSecond: number;
  /** Absent: until SIGTERM. */
  readonly rounds?: number;
  /** Says `enough` when so many packets of each kind were sent. */
  readonly enoughPackets?: number;
}

const sending: Sending = JSON.parse(process.argv[2] ?? '');
const { device, scene } = sending;

// Linux: socket(7), packet(7).
const afPacket = 17;
const sockRaw = 3;
const { functions } = dlopen(null, {
  socket: { arguments: ['i32', 'i32', 'i32'], return: 'i32' },
  bind: { arguments: ['i32', 'buffer', 'u32'], return: 'i32' },
  send: { arguments: ['i32', 'buffer', 'u64', 'i32'], return: 'i64' },
});
const socket = functions.socket(afPacket, sockRaw, 0);
const address = Buffer.alloc(20);
address.writeUInt16LE(afPacket, 0);
address.writeInt32LE(device.ifindex, 4);
if (socket < 0 || functions.bind(socket, address, address.length) < 0)
  throw new Error(`no packet socket on ${device.name}`);

const own = macBytes(device.mac);
const targets = new Set(sending.to);
const frames = new Map<string, readonly Buffer[]>();
const sent: Record<string, number> = {};
const tickMs = 2;
const flowsPerKind = 64;
const kinds = sending.kinds === 'router advertisements' ? [] : sending.kinds;
const limit = (sending.rounds ?? Number.POSITIVE_INFINITY) * Math.max(kinds.length, 1);
/** A sender that was kept from the processor catches up with so much. */
const mostBehindMs = 50;
const enough = sending.enoughPackets ?? Number.POSITIVE_INFINITY;
let turn = 0;
let due = 0;
let ticks = 0;
let tickedMs = performance.now();
let hasEnough = false;

process.on('SIGTERM', finish);
process.stdout.write('sending\n');
const timer = setInterval(() => {
  if (sending.follow && ticks++ % 10 === 0) lookForGateway();
  const nowMs = performance.now();
  due += (sending.packetsPerSecond * Math.min(nowMs - tickedMs, mostBehindMs)) / 1_000;
  tickedMs = nowMs;
  while (due > 0 && turn < limit) due -= sendRound();
  if (turn >= limit) finish();
  if (hasEnough || !kinds.every((kind) => (sent[kind] ?? 0) >= enough)) return;
  hasEnough = true;
  process.stdout.write('enough\n');
}, tickMs);

function sendRound(): number {
  const kind = kinds[turn % kinds.length];
  const number = Math.floor(turn / Math.max(kinds.length, 1)) % flowsPerKind;
  turn += 1;
  let count = 0;
  for (const target of targets) {
    for (const bytes of framesOf(kind, number, target))
      if (functions.send(socket, bytes, BigInt(bytes.length), 0) >= 0n) count += 1;
  }
  const name = kind ?? 'router advertisements';
  sent[name] = (sent[name] ?? 0) + count;
  return Math.max(count, 1);
}

/** Made once: they come again, and to make them takes most of the time. */
function framesOf(kind: TrafficName | undefined, number: number, target: string): readonly Buffer[] {
  const key = `${kind} ${number} ${target}`;
  const known = frames.get(key);
  if (known !== undefined) return known;
  const packets =
    kind === undefined
      ? [routerAdvertisement('fe80::1')]
      : trafficOf(kind).packets(scene, { ttl: ttlOf(kind), number });
  const made = packets.map((packet) => frame(macBytes(target), own, packet));
  frames.set(key, made);
  return made;
}

/** What this client's kernel has found out of the gateway by now. */
function lookForGateway(): void {
  const line = readFileSync('/proc/self/net/arp', 'utf8')
    .split('\n')
    .find((each) => each.startsWith(`${scene.gateway} `));
  const mac = line?.split(/\s+/)[3];
  if (mac !== undefined && mac !== '00:00:00:00:00:00') targets.add(mac);
}

function finish(): void {
  clearInterval(timer);
  process.stdout.write(`${JSON.stringify(sent)}\n`, () => process.exit(0));
}
