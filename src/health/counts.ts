import { mostClients } from '../plan/counting.ts';
import type { Traffic } from './status.ts';

/** Packets and bytes of one kind, as the kernel counts them. */
export interface Count {
  readonly packets: number;
  readonly bytes: number;
}

interface BothWays {
  readonly sent: Count;
  readonly received: Count;
}

/** What the counting table holds: a client's address → what went through a tunnel; `opened` also past it. */
export interface PassedCounts {
  readonly sent: ReadonlyMap<string, Count>;
  readonly received: ReadonlyMap<string, Count>;
  readonly opened: ReadonlyMap<string, Count>;
  /** Everything that went through a tunnel, also of clients for which there was no more room. */
  readonly total: BothWays;
  /** What LAN_ALLOW and LAN_ALLOW_IN let past it. */
  readonly past: BothWays;
}

/** What the ruleset's own counters hold. */
export interface RefusedCounts {
  /** By rule, whoever sent it. */
  readonly rules: ReadonlyMap<string, Count>;
  /** Packets by client and rule. */
  readonly clients: ReadonlyMap<string, Readonly<Record<string, number>>>;
}

/** What a table has counted since it was loaded. */
export interface Reading<T> {
  /** Changes whenever the table is loaded anew, and its counters begin at 0. */
  readonly generation: string;
  readonly counts: T;
}

/** Refused packets of one reason, which is the name of the rule. */
export interface Refusal extends Count {
  readonly reason: string;
}

export interface ClientCount extends Traffic {
  readonly address: string;
  readonly openings: number;
  readonly refused: Readonly<Record<string, number>>;
}

const none: Count = { packets: 0, bytes: 0 };
export const nothingPassed: PassedCounts = {
  sent: new Map(),
  received: new Map(),
  opened: new Map(),
  total: { sent: none, received: none },
  past: { sent: none, received: none },
};
export const nothingRefused: RefusedCounts = { rules: new Map(), clients: new Map() };

/** Counts over several loads of a table. */
export interface Tally<T> {
  readonly generation: string;
  /** What earlier tables counted. */
  readonly before: T;
  /** What the present one had counted when it was last read. */
  readonly present: T;
}

export function emptyTally<T>(nothing: T): Tally<T> {
  return { generation: '', before: nothing, present: nothing };
}

/** Takes what was read into the tally: a table that was loaded anew counts from 0 again. */
export function addToTally<T>(
  tally: Tally<T>,
  { generation, counts }: Reading<T>,
  add: (one: T, other: T) => T,
): Tally<T> {
  if (generation === tally.generation) return { ...tally, present: counts };
  return { generation, before: sumOf(tally, add), present: counts };
}

export function sumOf<T>({ before, present }: Tally<T>, add: (one: T, other: T) => T): T {
  return add(before, present);
}

export function addPassed(one: PassedCounts, other: PassedCounts): PassedCounts {
  return {
    sent: merge(one.sent, other.sent, addCounts),
    received: merge(one.received, other.received, addCounts),
    opened: merge(one.opened, other.opened, addCounts),
    total: addBoth(one.total, other.total),
    past: addBoth(one.past, other.past),
  };
}

export function addRefused(one: RefusedCounts, other: RefusedCounts): RefusedCounts {
  return { rules: merge(one.rules, other.rules, addCounts), clients: merge(one.clients, other.clients, addRecords) };
}

/** Where everybody is counted for whom there is no room of his own. */
export const others = 'others';

/** The first 1,024 addresses have names of their own, for good; there may be any number where addresses are forged. */
export function tellApart(known: ReadonlySet<string>, addresses: Iterable<string>): ReadonlySet<string> {
  if (known.size >= mostClients) return known;
  const found = new Set([...known, ...addresses]);
  return found.size === known.size ? known : new Set([...found].slice(0, mostClients));
}

export function foldPassed(counts: PassedCounts, known: ReadonlySet<string>): PassedCounts {
  const fold = (each: ReadonlyMap<string, Count>) => foldOthers(each, known, addCounts);
  return { ...counts, sent: fold(counts.sent), received: fold(counts.received), opened: fold(counts.opened) };
}

export function foldRefused(counts: RefusedCounts, known: ReadonlySet<string>): RefusedCounts {
  return { ...counts, clients: foldOthers(counts.clients, known, addRecords) };
}

function foldOthers<T>(
  counts: ReadonlyMap<string, T>,
  known: ReadonlySet<string>,
  add: (one: T, other: T) => T,
): ReadonlyMap<string, T> {
  if (known.size < mostClients) return counts;
  const folded = new Map<string, T>();
  for (const [address, count] of counts) {
    const name = known.has(address) ? address : others;
    const sum = folded.get(name);
    folded.set(name, sum === undefined ? count : add(sum, count));
  }
  return folded;
}

function addCounts(one: Count, other: Count): Count {
  return { packets: one.packets + other.packets, bytes: one.bytes + other.bytes };
}

function addBoth(one: BothWays, other: BothWays): BothWays {
  return { sent: addCounts(one.sent, other.sent), received: addCounts(one.received, other.received) };
}

function addRecords(one: Readonly<Record<string, number>>, other: Readonly<Record<string, number>>) {
  const sum = { ...one };
  for (const [reason, packets] of Object.entries(other)) sum[reason] = (sum[reason] ?? 0) + packets;
  return sum;
}

function merge<T>(
  one: ReadonlyMap<string, T>,
  other: ReadonlyMap<string, T>,
  add: (one: T, other: T) => T,
): ReadonlyMap<string, T> {
  if (one.size === 0) return other;
  const merged = new Map(one);
  for (const [key, value] of other) {
    const known = merged.get(key);
    merged.set(key, known === undefined ? value : add(known, value));
  }
  return merged;
}

/** Refused packets by reason, the most first. */
export function refusalsOf({ rules }: RefusedCounts): readonly Refusal[] {
  return [...rules]
    .map(([reason, count]) => ({ reason, ...count }))
    .filter(({ packets }) => packets > 0)
    .sort((one, other) => other.packets - one.packets || (one.reason < other.reason ? -1 : 1));
}

export function trafficOf({ sent, received }: BothWays): Traffic {
  return {
    sentBytes: sent.bytes,
    sentPackets: sent.packets,
    receivedBytes: received.bytes,
    receivedPackets: received.packets,
  };
}

/** Every client that sent or opened anything, by address; the others last. */
export function clientsOf(
  { sent, received, opened }: PassedCounts,
  { clients: refused }: RefusedCounts,
): readonly ClientCount[] {
  const addresses = new Set([...sent.keys(), ...received.keys(), ...opened.keys(), ...refused.keys()]);
  return [...addresses]
    .map((address) => ({
      address,
      ...trafficOf({ sent: sent.get(address) ?? none, received: received.get(address) ?? none }),
      openings: (opened.get(address) ?? none).packets,
      refused: refused.get(address) ?? {},
    }))
    .sort(byAddress);
}

function byAddress(one: ClientCount, other: ClientCount): number {
  return orderOf(one.address) - orderOf(other.address);
}

function orderOf(address: string): number {
  if (address === others) return Number.POSITIVE_INFINITY;
  return address.split('.').reduce((value, part) => value * 256 + Number(part), 0);
}
