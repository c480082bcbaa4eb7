import { setTimeout as sleep } from 'node:timers/promises';
import { step } from '../lab/step.ts';
import { renderSpread, type Spread, spreadOf } from './figures.ts';
import type { Row } from './report.ts';
import { containerOf, type GatewayKind, gatewayKinds, server, type World } from './world.ts';

const targetRatio = 0.95;
const attempts = 5;
const retryMs = 500;

const directions = [
  { name: 'client → server', flags: [] },
  { name: 'server → client', flags: ['--reverse'] },
] as const;

interface IperfReport {
  readonly end?: { readonly sum_received?: { readonly bits_per_second?: number } };
  readonly error?: string;
}

/**
 * One TCP stream of iperf3 from client to server and back; both ways have the same hops: client → gateway → tunnel →
 * server. Router and plain gateway take turns, and the one that goes first changes.
 */
export async function measureThroughput(
  world: World,
  { rounds, seconds }: { readonly rounds: number; readonly seconds: number },
): Promise<readonly Row[]> {
  const rows: Row[] = [];
  for (const { name, flags } of directions) {
    const speeds = await inTurns(rounds, (kind) => runIperf(world, kind, [...flags, '--time', `${seconds}`]));
    const ratio = speeds.router.median / speeds.plain.median;
    rows.push({
      what: `throughput ${name} (n=${rounds}, ${seconds} s each)`,
      router: renderSpread(speeds.router, 'Mbit/s'),
      plain: renderSpread(speeds.plain, 'Mbit/s'),
      target: { text: `≥ ${targetRatio} of plain: ${ratio.toFixed(3)}`, isMet: ratio >= targetRatio },
    });
  }
  return rows;
}

/** Round trip of a ping from client to server, ms; medians of the averages. */
export async function measureRoundTrip(world: World, rounds: number): Promise<Row> {
  const trips = await inTurns(rounds, async (kind) => {
    const output = await world.inClient(kind, 'ping', '-q', '-c', '100', '-i', '0.005', server.address);
    const average = Number(/= [\d.]+\/([\d.]+)\//.exec(output)?.[1]);
    if (Number.isNaN(average)) throw new Error(`ping behind ${kind}: ${output}`);
    return average;
  });
  return {
    what: `round trip of a ping to the server (n=${rounds}, 100 each)`,
    router: renderSpread(trips.router, 'ms'),
    plain: renderSpread(trips.plain, 'ms'),
  };
}

async function inTurns(
  rounds: number,
  measure: (kind: GatewayKind) => Promise<number>,
): Promise<Readonly<Record<GatewayKind, Spread>>> {
  const values: Record<GatewayKind, number[]> = { router: [], plain: [] };
  for (let round = 0; round < rounds; round += 1) {
    const turn = round % 2 === 0 ? gatewayKinds : gatewayKinds.toReversed();
    for (const kind of turn) values[kind].push(await measure(kind));
  }
  return { router: spreadOf(values.router), plain: spreadOf(values.plain) };
}

async function runIperf(world: World, kind: GatewayKind, flags: readonly string[]): Promise<number> {
  // The first second is TCP's slow start. With --json a failure, too, is told in the report.
  const argv = ['iperf3', '--client', server.address, '--json', '--omit', '1', ...flags];
  for (let attempt = 1; ; attempt += 1) {
    const { end, error } = JSON.parse(await world.inClient(kind, ...argv)) as IperfReport;
    const bits = end?.sum_received?.bits_per_second;
    if (bits !== undefined && error === undefined) return bits / 1e6;
    if (attempt === attempts) {
      const log = await world.engine.docker('logs', '--tail', '20', containerOf(kind));
      throw new Error(`iperf3 behind ${kind}: ${error}\n${log}`);
    }
    // The server takes one client at a time, and is busy for a moment after the one before.
    step(`bench: iperf3 behind ${kind}, once more: ${error}`);
    await sleep(retryMs);
  }
}
