import { duration } from '../../compose/proof/screen.ts';
import { type Result, sum } from '../leaks/matrix.ts';
import type { Row } from '../leaks/rows.ts';

/** A row that was run. */
export interface Run {
  /** `Docker 20.10.24, nft` */
  readonly on: string;
  readonly result: Result;
}

/** Packets on the uplink that count against a row: with a lock away, the router's kernel may answer for itself. */
export function leakedIn({ row, client, router }: Result): number {
  return row.without === undefined ? client + router : client;
}

export function title({ row, times }: Pick<Result, 'row' | 'times'>): string {
  return times === 1 ? row.event : `${row.event}, ${times} times`;
}

export function count(value: number): string {
  return value.toLocaleString('en-US');
}

/** A table in Markdown, one line for each row, whatever it was run on. */
export function renderSummary(runs: readonly Run[]): string {
  const lines = [...Map.groupBy(runs, ({ result }) => result.row)].map(([row, same]) => {
    const results = same.map(({ result }) => result);
    const total = (amount: (result: Result) => number) => results.reduce((all, result) => all + amount(result), 0);
    const kinds = row.kinds.length > 5 ? `${row.kinds.length} kinds` : row.kinds.join(', ');
    return [
      title(results[0] ?? { row, times: 1 }),
      `${same.length}`,
      `${count(total(({ sent }) => sum(sent)))}: ${kinds}`,
      `${count(total(leakedIn))}`,
      `${count(total(({ control }) => sum(control.counted)))} of ${count(total(({ control }) => sum(control.sent)))}`,
      duration(total(({ tookMs }) => tookMs)),
      verdict(row, same),
    ];
  });
  const head = ['Event', 'Routers', 'Packets sent', 'On the uplink', 'Naive router before', 'Took', 'Verdict'];
  return [head, head.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |\n`).join('');
}

function verdict(row: Row, same: readonly Run[]): string {
  const faulty = same.filter(({ result }) => result.faults.length > 0).map(({ on }) => on);
  if (faulty.length > 0) return `does not hold: ${faulty.join('; ')}`;
  return row.limit !== undefined && same.some(({ result }) => result.client > 0) ? 'known limit' : 'holds';
}
