// `npm run prove`: the leak matrix of test/leaks on the built image and real engines, as a table. Needs root; the engines
// are its own, apart from the machine's. Exit code 0 when every row holds.
import { parseArgs } from 'node:util';
import { duration, heading, say, writeRow } from '../../compose/proof/screen.ts';
import { type EngineName, engines, openEngine, runApart } from '../image/apart.ts';
import { type Result, runRow, sum } from '../leaks/matrix.ts';
import { type Row, rows } from '../leaks/rows.ts';
import { layGround } from './ground.ts';

const usage = `Usage: npm run prove -- [--fast] [--engine=20.10|28.5] [--without=nft|routes] [--row=WORDS] [--markdown]
  --fast      fewer repetitions, and not every row: a few minutes
  --engine    on one engine only
  --without   only the rows in which this lock is away
  --backend   nft, the only one so far
  --row       only the rows whose event has these words in it
  --markdown  the table once more in Markdown`;

/** How the router makes its rules; iptables comes with its renderer. */
const backends = ['nft'] as const;

const { values } = parseArgs({
  options: {
    fast: { type: 'boolean', default: false },
    engine: { type: 'string' },
    without: { type: 'string' },
    backend: { type: 'string', default: 'nft' },
    row: { type: 'string', default: '' },
    markdown: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
const engineNames = (Object.keys(engines) as EngineName[]).filter((name) => values.engine?.startsWith(name) ?? true);
const chosen = rows.filter(
  ({ times, without, event }) =>
    (!values.fast || times.fast !== undefined) &&
    (values.without === undefined || without === values.without) &&
    event.includes(values.row),
);
if (
  values.help ||
  engineNames.length === 0 ||
  chosen.length === 0 ||
  !backends.some((name) => name === values.backend)
) {
  process.stdout.write(`${usage}\n`);
  process.exit(values.help ? 0 : 2);
}

await runApart(import.meta.filename);
const failed: string[] = [];
for (const name of engineNames) failed.push(...(await proveOn(name)));
heading(failed.length === 0 ? 'Every row holds' : `${failed.length} rows do not hold`);
say(...failed);
process.exit(failed.length === 0 ? 0 : 1);

/** Returns the rows that do not hold. */
async function proveOn(name: EngineName): Promise<readonly string[]> {
  const engine = await openEngine(name);
  const { ground, world } = await layGround(engine);
  const results: Result[] = [];
  try {
    await world.startRouter();
    await ground.untilCarried();
    let group = '';
    for (const row of chosen) {
      if (row.group !== group) heading(`Docker ${engine.version}, ${values.backend}: ${row.group}`);
      group = row.group;
      const result = await runRow(ground, row, timesOf(row));
      writeRow({ done: title(result), seen: seen(result), pass: result.faults.length === 0 });
      if (row.limit !== undefined) say(`a known limit: ${row.limit}`);
      if (result.faults.length > 0) say(...result.faults, ...result.lines.slice(0, 5), await ground.log());
      results.push(result);
    }
  } finally {
    await ground.catcher.remove();
    await world.remove();
  }
  if (values.markdown) process.stdout.write(markdown(engine.version, results));
  return results.filter(({ faults }) => faults.length > 0).map((result) => `Docker ${name}: ${title(result)}`);
}

function timesOf({ times }: Row): number {
  return values.fast ? (times.fast ?? times.whole) : times.whole;
}

function title({ row, times }: Result): string {
  return times === 1 ? row.event : `${row.event}, ${times} times`;
}

function seen({ client, router, openvpn, sent, control, tookMs, row }: Result): string {
  const { length: kinds } = row.kinds;
  const others = row.without === undefined || router === 0 ? '' : ` (${router} of the router's own)`;
  return [
    `${row.without === undefined ? client + router : client} of ${count(sum(sent))} packets${others}`,
    `${kinds} ${kinds === 1 ? 'kind' : 'kinds'}, ${openvpn} of OpenVPN passed`,
    `naive router: ${sum(control.counted)} of ${sum(control.sent)}`,
    duration(tookMs),
  ].join('; ');
}

function markdown(version: string, results: readonly Result[]): string {
  const lines = results.map((result) => {
    const { client, router, sent, control, tookMs, row } = result;
    const leaked = row.without === undefined ? client + router : client;
    const kinds = row.kinds.length > 5 ? `${row.kinds.length} kinds` : row.kinds.join(', ');
    const cells = [
      title(result),
      `${count(sum(sent))}: ${kinds}`,
      `${leaked}`,
      `${sum(control.counted)} of ${sum(control.sent)}`,
      duration(tookMs),
      verdict(result),
    ];
    return `| ${cells.join(' | ')} |`;
  });
  const head = ['Event', 'Packets sent', 'On the uplink', 'Naive router before', 'Took', 'Verdict'];
  return `\nDocker ${version}\n\n| ${head.join(' | ')} |\n|${' --- |'.repeat(head.length)}\n${lines.join('\n')}\n`;
}

function verdict({ row, faults, client }: Result): string {
  if (faults.length > 0) return 'LEAKS';
  return row.limit !== undefined && client > 0 ? 'known limit' : 'holds';
}

function count(value: number): string {
  return value.toLocaleString('en-US');
}
