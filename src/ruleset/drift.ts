import type { Table } from './model.ts';
import { renderTable } from './nft.ts';

/** A line of a table that is wanted and missing, or there and not wanted. */
export interface Difference {
  readonly kind: 'missing' | 'unexpected';
  readonly table: string;
  readonly line: string;
}

/**
 * Compares a table with the kernel's listing (`nft -s list table`). Rules are compared in order, map elements as a set.
 */
export function compareTable({ desired, listing }: { desired: Table; listing: string }): readonly Difference[] {
  const table = `${desired.family} ${desired.name}`;
  const wanted = listLines(renderTable(desired));
  const seen = listLines(listing);
  // In one order and of one length: the common case, and the only one that counts as equal.
  if (wanted.length === seen.length && wanted.every((line, index) => line === seen[index])) return [];
  const surplus = subtract(seen, wanted).map((line) => ({ kind: 'unexpected', table, line }) as const);
  const missing = subtract(wanted, seen).map((line) => ({ kind: 'missing', table, line }) as const);
  const differences = [...missing, ...surplus];
  return differences.length > 0 ? differences : [{ kind: 'unexpected', table, line: 'rules in another order' }];
}

function listLines(text: string): readonly string[] {
  return normalise(text)
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

/**
 * One text for one meaning: nft lists the elements of a set in an order of its own, flags in two notations, and numbers of
 * some fields by sixteen (1.1.3).
 */
function normalise(text: string): string {
  return (
    text
      .replace(/\b0x[\da-f]+\b/g, (number) => `${Number(number)}`)
      // Who has connections, by the packets that came: nobody's change.
      .replace(/(\tset \w+ \{[^{}]*?)\t\telements = \{[^{}]*\}\n/g, '$1')
      .replace(/\{ ([^{}]*?) \}/g, (_, elements: string) => `{ ${sortList(elements, ',')} }`)
      // A line for each, so that one that differs is told alone.
      .replace(/elements = \{ ([^{}]*) \}/g, (_, elements: string) => elements.replace(/^|,/g, '\nelement '))
      .replace(
        /tcp flags & \(([^)]*)\) == (\w+)/g,
        (_, mask: string, flag: string) => `tcp flags ${flag} / ${sortList(mask, '|')}`,
      )
      .replace(
        /tcp flags (\w+) \/ ([\w,]+)/g,
        (_, flag: string, mask: string) => `tcp flags ${flag} / ${sortList(mask, ',')}`,
      )
  );
}

function sortList(text: string, separator: string): string {
  return text
    .split(separator)
    .map((element) => element.trim())
    .sort()
    .join(',');
}

function subtract(from: readonly string[], lines: readonly string[]): readonly string[] {
  const left = new Map<string, number>();
  for (const line of lines) left.set(line, (left.get(line) ?? 0) + 1);
  return from.filter((line) => {
    const count = left.get(line) ?? 0;
    left.set(line, count - 1);
    return count <= 0;
  });
}
