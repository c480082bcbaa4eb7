import { proveOutage, proveRecovery } from './outage.ts';
import { type Check, dnsChecks, exitChecks, forwardChecks, leakTrapChecks } from './rows.ts';
import { heading, type Row, writeRow } from './screen.ts';
import type { Stack } from './stack.ts';
import { proveStart } from './start.ts';
import { note } from './transcript.ts';

/** Starts the router, does everything that the demo proves, prints each row as it is seen, and returns them all. */
export async function prove(stack: Stack): Promise<Row[]> {
  const rows: Row[] = [];
  const add = (row: Row) => {
    note(`${row.pass ? 'PASS' : 'FAIL'} ${row.done}: ${row.seen}`);
    writeRow(row);
    rows.push(row);
  };
  const addChecks = async (title: string, checks: readonly Check[]) => {
    heading(title);
    for (const check of checks) add(await check(stack));
  };
  heading('The router starts');
  for (const row of await proveStart(stack)) add(row);
  // A router that does not come up explains itself in its log, which this error quotes.
  await stack.awaitHealth('router');
  await addChecks('A leak would be seen', leakTrapChecks);
  await addChecks('The address that the world sees', exitChecks);
  await addChecks('Who answers a DNS question', dnsChecks);
  await addChecks('A forwarded port', forwardChecks);
  heading('The VPN dies, and comes back (takes half a minute)');
  for (const row of await proveOutage(stack)) add(row);
  for (const row of await proveRecovery(stack)) add(row);
  return rows;
}
