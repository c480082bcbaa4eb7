import { setTimeout as sleep } from 'node:timers/promises';
import type { Seen } from './catcher.ts';
import { takeLock } from './events.ts';
import type { Ground } from './ground.ts';
import type { Row } from './rows.ts';
import { type Sent, startSending } from './sender.ts';
import { type TrafficName, trafficOf } from './traffic.ts';

/** What a row has shown. */
export interface Result {
  readonly row: Row;
  readonly times: number;
  readonly sent: Sent;
  /** Packets of each kind that a naive router in the same place let out, just before. */
  readonly control: { readonly sent: Sent; readonly counted: Seen['kinds'] };
  /** Packets of clients on the uplink. */
  readonly client: number;
  /** Packets of the router itself that were not OpenVPN's to its server. */
  readonly router: number;
  /** Packets of OpenVPN to its server meanwhile. */
  readonly openvpn: number;
  /** What the capture wrote down of them. */
  readonly lines: readonly string[];
  readonly tookMs: number;
  /** Why the row does not hold; empty when it does. */
  readonly faults: readonly string[];
}

const packetsPerSecond = 4_400;
const controlRounds = 8;
/** Below this, 0 packets would mean nothing. */
const leastPackets = 20;

/** Shows that the catcher works, makes the row's event while a client sends, and counts. */
export async function runRow(ground: Ground, row: Row, times: number): Promise<Result> {
  const fromMs = performance.now();
  const control = await runControl(ground, row.kinds);
  const before = await ground.catcher.seen();
  const capture = await ground.catcher.capture();
  const sender = startSending(ground.client, {
    device: ground.clientDevice,
    kinds: row.kinds,
    scene: ground.scene,
    to: [...(await ground.knownMacs()), ...(row.knows === undefined ? [] : [ground.givenMac])],
    follow: true,
    packetsPerSecond,
    enoughPackets: leastPackets,
  });
  const faults: string[] = [];
  try {
    await sender.begun();
    // Into the state that the row begins in.
    await sleep(200);
    const takesLock = row.without !== undefined && row.isPutBack === undefined;
    const putBack = takesLock ? await takeLock(ground, row.without) : undefined;
    try {
      await row.make(ground, times);
      // On a busy machine the event may be over sooner.
      await sender.enough();
    } finally {
      await putBack?.();
    }
    await ground.untilCarried();
  } catch (error) {
    faults.push(`${error instanceof Error ? error.message : error}`);
  }
  const sent = await sender.end();
  const lines = await capture.end();
  const after = await ground.catcher.seen();
  const client = after.client - before.client;
  const router = after.router - before.router;
  const openvpn = after.openvpn - before.openvpn;
  // With a lock away, the router's kernel may answer for itself; clients' packets stay inside all the same.
  const leaked = row.without === undefined ? Math.max(client + router, lines.length) : client;
  if (leaked > 0 && row.limit === undefined)
    faults.push(`${client} packets of clients and ${router} of the router's own on the uplink`);
  faults.push(...weaknesses(row.kinds, sent, control));
  return { row, times, sent, control, client, router, openvpn, lines, tookMs: performance.now() - fromMs, faults };
}

/** Why a count of 0 would mean nothing. */
function weaknesses(kinds: readonly TrafficName[], sent: Sent, control: Result['control']): readonly string[] {
  return kinds.flatMap((kind) => {
    const [tried = 0, counted = 0] = [control.sent.get(kind), control.counted.get(kind)];
    return [
      ...((sent.get(kind) ?? 0) < leastPackets ? [`only ${sent.get(kind) ?? 0} packets "${kind}" were sent`] : []),
      // Some of a kind are for the gateway itself, which a naive router has back on the isolated network.
      ...(counted * 3 < tried || counted === 0
        ? [`the catcher does not work: a naive router had ${tried} packets "${kind}", and ${counted} were counted`]
        : []),
    ];
  });
}

/** The same kinds of packets through a naive router in the same place. */
async function runControl(ground: Ground, kinds: readonly TrafficName[]): Promise<Result['control']> {
  const before = await ground.catcher.seen();
  const send = async (passes: 'a router' | 'a bridge') => {
    const some = kinds.filter((kind) => trafficOf(kind).passes === passes);
    if (some.length === 0) return new Map();
    return startSending(ground.client, {
      device: ground.clientDevice,
      kinds: some,
      scene: ground.scene,
      to: [ground.naive.mac],
      follow: false,
      packetsPerSecond: 4 * packetsPerSecond,
      rounds: controlRounds,
    }).ended;
  };
  const routed = await send('a router');
  const bridged = await ground.naive.whileBridge(() => send('a bridge'));
  await sleep(50);
  const after = await ground.catcher.seen();
  const counted = new Map(
    kinds.map((kind) => [kind, (after.kinds.get(kind) ?? 0) - (before.kinds.get(kind) ?? 0)] as const),
  );
  return { sent: new Map([...routed, ...bridged]), counted };
}

export function sum(counts: ReadonlyMap<string, number>): number {
  return [...counts.values()].reduce((total, count) => total + count, 0);
}
