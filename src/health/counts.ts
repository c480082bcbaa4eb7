/** Packets and bytes of one kind, as the kernel counts them. */
export interface Count {
  readonly packets: number;
  readonly bytes: number;
}

/** What the counting table holds: a client's address → what passed. */
export interface PassedCounts {
  readonly sent: ReadonlyMap<string, Count>;
  readonly received: ReadonlyMap<string, Count>;
  readonly opened: ReadonlyMap<string, Count>;
  /** Everything that passed, also of clients for which there was no more room. */
  readonly total: { readonly sent: Count; readonly received: Count };
}

/** What the ruleset's own counters hold, since it was loaded. */
export interface RefusedCounts extends RefusedSums {
  /** Changes whenever the ruleset is loaded anew, and its counters begin at 0. */
  readonly generation: string;
}

interface RefusedSums {
  /** By rule, whoever sent it. */
  readonly rules: ReadonlyMap<string, Count>;
  /** Packets by client and rule. */
  readonly clients: ReadonlyMap<string, Readonly<Record<string, number>>>;
}

/** Refused packets of one reason, which is the name of the rule. */
export interface Refusal extends Count {
  readonly reason: string;
}

export interface ClientCount {
  readonly address: string;
  readonly sentBytes: number;
  readonly sentPackets: number;
  readonly receivedBytes: number;
  readonly receivedPackets: number;
  readonly openings: number;
  readonly refused: Readonly<Record<string, number>>;
}

/** Counts over several loads of a ruleset. */
export interface Tally {
  readonly generation: string;
  /** What earlier rulesets counted. */
  readonly before: RefusedSums;
  /** What the present one had counted when it was last read. */
  readonly present: RefusedSums;
}

const nothing: RefusedSums = { rules: new Map(), clients: new Map() };
export const emptyTally: Tally = { generation: '', before: nothing, present: nothing };

/** Takes what was read into the tally: a ruleset that was loaded anew counts from 0 again. */
export function addToTally(tally: Tally, { generation, rules, clients }: RefusedCounts): Tally {
  const present = { rules, clients };
  if (generation === tally.generation) return { ...tally, present };
  return { generation, before: sumsOf(tally), present };
}

function sumsOf({ before, present }: Tally): RefusedSums {
  return {
    rules: merge(before.rules, present.rules, (one, other) => ({
      packets: one.packets + other.packets,
      bytes: one.bytes + other.bytes,
    })),
    clients: merge(before.clients, present.clients, addRecords),
  };
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
export function refusalsOf(tally: Tally): readonly Refusal[] {
  return [...sumsOf(tally).rules]
    .map(([reason, count]) => ({ reason, ...count }))
    .filter(({ packets }) => packets > 0)
    .sort((one, other) => other.packets - one.packets || (one.reason < other.reason ? -1 : 1));
}

const none: Count = { packets: 0, bytes: 0 };

/** Every client that sent anything, by address. */
export function clientsOf({ sent, received, opened }: PassedCounts, tally: Tally): readonly ClientCount[] {
  const refused = sumsOf(tally).clients;
  const addresses = new Set([...sent.keys(), ...received.keys(), ...refused.keys()]);
  return [...addresses]
    .map((address) => ({
      address,
      sentBytes: (sent.get(address) ?? none).bytes,
      sentPackets: (sent.get(address) ?? none).packets,
      receivedBytes: (received.get(address) ?? none).bytes,
      receivedPackets: (received.get(address) ?? none).packets,
      openings: (opened.get(address) ?? none).packets,
      refused: refused.get(address) ?? {},
    }))
    .sort(byAddress);
}

function byAddress(one: ClientCount, other: ClientCount): number {
  return orderOf(one.address) - orderOf(other.address);
}

function orderOf(address: string): number {
  return address.split('.').reduce((value, part) => value * 256 + Number(part), 0);
}
