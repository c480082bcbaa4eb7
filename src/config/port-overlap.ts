import type { Fault } from '../errors.ts';
import type { IpFamily } from '../net/address.ts';
import { renderPortRange } from './port-range.ts';
import { renderValue } from './report.ts';
import type { PortRange, Transport } from './router-config.ts';

/** The outside ports that one entry of PORT_FWD takes. */
export interface PortClaim {
  /** Counted from 1, as the user counts. */
  readonly entryNumber: number;
  readonly entryText: string;
  readonly outside: PortRange;
  /** Of the target: one port may lead to a container by each. */
  readonly family: IpFamily;
  readonly transports: readonly Transport[];
}

interface Overlap {
  readonly earlier: PortClaim;
  readonly later: PortClaim;
  readonly transports: readonly Transport[];
}

/**
 * Finds outside ports that two entries take for the same protocol, one fault for each later entry and the one it meets.
 * Takes n log n steps however wide the ranges are.
 */
export function findPortOverlaps(claims: readonly PortClaim[]): readonly Fault[] {
  const overlaps = new Map<string, Overlap>();
  for (const transport of ['tcp', 'udp'] as const) {
    const taken = claims.filter((claim) => claim.transports.includes(transport));
    const pairs = (['ipv4', 'ipv6'] as const).flatMap((family) => [
      ...sweep(taken.filter((claim) => claim.family === family)),
    ]);
    for (const [one, other] of pairs) {
      const [earlier, later] = one.entryNumber < other.entryNumber ? [one, other] : [other, one];
      const key = `${later.entryNumber} ${earlier.entryNumber}`;
      // A name takes its port of both families.
      const transports = [...new Set(overlaps.get(key)?.transports).add(transport)];
      overlaps.set(key, { earlier, later, transports });
    }
  }
  return [...overlaps.values()]
    .sort((one, other) => one.later.entryNumber - other.later.entryNumber)
    .map((overlap) => describe(overlap));
}

/** Pairs each claim that starts inside an earlier-starting one with the claim that reaches furthest so far. */
function* sweep(claims: readonly PortClaim[]): Generator<readonly [PortClaim, PortClaim]> {
  const ordered = [...claims].sort((one, other) => one.outside.first - other.outside.first);
  let furthest: PortClaim | undefined;
  for (const claim of ordered) {
    if (furthest !== undefined && claim.outside.first <= furthest.outside.last) yield [furthest, claim];
    if (furthest === undefined || claim.outside.last > furthest.outside.last) furthest = claim;
  }
}

function describe({ earlier, later, transports }: Overlap): Fault {
  const shared = renderPortRange(intersect(earlier.outside, later.outside));
  return {
    name: `PORT_FWD entry ${later.entryNumber}`,
    value: later.entryText,
    problem:
      `takes outside port ${shared} for ${transports.join(' and ')}, ` +
      `which entry ${earlier.entryNumber}, ${renderValue(earlier.entryText)}, has already`,
    hint: 'give each outside port to one container only',
  };
}

function intersect(one: PortRange, other: PortRange): { readonly first: number; readonly last: number } {
  return { first: Math.max(one.first, other.first), last: Math.min(one.last, other.last) };
}
