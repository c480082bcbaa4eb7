import type { PassedCounts } from './counts.ts';
import type { ClientSeries, Series } from './status.ts';

/** A step of the whole, and so many of them in the step of a client; both series last an hour. */
export const stepSeconds = 5;
const stepsInClientStep = 12;
const mostSteps = 720;
const mostClientSteps = 60;

/** What passed in the last hour, a step at a time. */
export interface PastTraffic {
  readonly endsMs: number;
  /** Bytes in each step, oldest first. */
  readonly sent: readonly number[];
  readonly received: readonly number[];
  readonly clientsEndMs: number;
  readonly clients: ReadonlyMap<string, readonly number[]>;
  /** The counters at the end of the last step, and of the last step of clients. */
  readonly last?: PassedCounts;
  readonly lastOfClients?: PassedCounts;
  readonly steps: number;
}

export function startPast(nowMs: number): PastTraffic {
  return { endsMs: nowMs, sent: [], received: [], clientsEndMs: nowMs, clients: new Map(), steps: 0 };
}

/** Ends a step. Counters that went back began at 0 in between. */
export function addStep(past: PastTraffic, counts: PassedCounts, nowMs: number): PastTraffic {
  const { last } = past;
  const next: PastTraffic = {
    ...past,
    endsMs: nowMs,
    sent: append(past.sent, growth(last?.total.sent.bytes ?? 0, counts.total.sent.bytes), mostSteps),
    received: append(past.received, growth(last?.total.received.bytes ?? 0, counts.total.received.bytes), mostSteps),
    last: counts,
    steps: past.steps + 1,
  };
  return next.steps % stepsInClientStep === 0 ? addClientStep(next, counts, nowMs) : next;
}

function addClientStep(past: PastTraffic, counts: PassedCounts, nowMs: number): PastTraffic {
  const { clients, lastOfClients } = past;
  const length = Math.min(mostClientSteps, Math.floor(past.steps / stepsInClientStep));
  const next = new Map<string, readonly number[]>();
  for (const address of new Set([...clients.keys(), ...counts.sent.keys(), ...counts.received.keys()])) {
    const known = clients.get(address) ?? new Array<number>(length - 1).fill(0);
    const bytes = growth(bytesOf(lastOfClients, address), bytesOf(counts, address));
    const series = append(known, bytes, mostClientSteps);
    if (series.some((value) => value > 0)) next.set(address, series);
  }
  return { ...past, clientsEndMs: nowMs, clients: next, lastOfClients: counts };
}

function bytesOf(counts: PassedCounts | undefined, address: string): number {
  return (counts?.sent.get(address)?.bytes ?? 0) + (counts?.received.get(address)?.bytes ?? 0);
}

function growth(before: number, after: number): number {
  return after >= before ? after - before : after;
}

function append(values: readonly number[], value: number, most: number): readonly number[] {
  return values.length < most ? [...values, value] : [...values.slice(1), value];
}

export function seriesOf({ endsMs, sent, received }: PastTraffic): Series {
  return { stepSeconds, endsAt: new Date(endsMs).toISOString(), sent, received };
}

export function clientSeriesOf({ clientsEndMs, clients }: PastTraffic): ClientSeries {
  return {
    stepSeconds: stepSeconds * stepsInClientStep,
    endsAt: new Date(clientsEndMs).toISOString(),
    bytes: Object.fromEntries(clients),
  };
}
