// `npm run prove`: the leak matrix of test/leaks on the built image and real engines, as a table. Needs root; the engines
// are its own, apart from the machine's. Exit code 0 when every row holds.
import { parseArgs } from 'node:util';
import { duration, heading, say, writeRow } from '../../compose/proof/screen.ts';
import { type EngineName, engines, openEngine, runApart } from '../image/apart.ts';
import type { Engine } from '../lab/engine.ts';
import { backends } from '../leaks/firewall.ts';
import { ipv6Rows } from '../leaks/ipv6-rows.ts';
import { type Result, runRow, sum } from '../leaks/matrix.ts';
import { type Row, rows } from '../leaks/rows.ts';
import { layGround, type RouterKind } from './ground.ts';
import { count, leakedIn, type Run, renderSummary, title } from './summary.ts';

interface Kind extends RouterKind {
  readonly rows: readonly Row[];
}

const usage = `Usage: npm run prove -- [--fast] [--all] [--engine=20.10|28.5] [--backend=nft|iptables-nft|iptables-legacy]
                        [--ipv6] [--without=firewall|routes] [--row=WORDS …]
  --fast      fewer repetitions, and not every row: a few minutes
  --all       by every backend: nft, iptables-nft and iptables-legacy; and the rows of --ipv6
  --engine    on one engine only
  --backend   what loads the router's rules; absent: nft
  --ipv6      the rows of a router that carries clients' IPv6
  --without   only the rows in which this lock is away
  --row       only the rows whose group or event has these words in it; may be given again for more rows`;

const { values } = parseArgs({
  options: {
    fast: { type: 'boolean', default: false },
    all: { type: 'boolean', default: false },
    engine: { type: 'string' },
    backend: { type: 'string' },
    ipv6: { type: 'boolean', default: false },
    without: { type: 'string' },
    row: { type: 'string', multiple: true, default: [''] },
    help: { type: 'boolean', default: false },
  },
});
const onEngines = (Object.keys(engines) as EngineName[]).filter((name) => values.engine?.startsWith(name) ?? true);
const isWhole = values.all && values.backend === undefined;
const byBackends = backends.filter((name) => isWhole || name === (values.backend ?? 'nft'));
const isChosen = ({ times, without, group, event, only }: Row) =>
  only !== 'namespaces' &&
  (!values.fast || times.fast !== undefined) &&
  (values.without === undefined || without === values.without) &&
  values.row.some((words) => `${group}: ${event}`.includes(words));
const kinds = byBackends
  .flatMap((backend): readonly Kind[] => [
    ...(values.ipv6 ? [] : [{ backend, rows, carriesIpv6: false }]),
    // By iptables it is not carried.
    ...((values.ipv6 || isWhole) && backend === 'nft' ? [{ backend, rows: ipv6Rows, carriesIpv6: true }] : []),
  ])
  .map((kind) => ({ ...kind, rows: kind.rows.filter(isChosen) }))
  .filter((kind) => kind.rows.length > 0);
if (values.help || [onEngines, kinds].some(({ length }) => length === 0)) {
  process.stdout.write(`${usage}\n`);
  process.exit(values.help ? 0 : 2);
}

await runApart(import.meta.filename);
const runs: Run[] = [];
for (const name of onEngines) {
  const engine = await openEngine(name);
  for (const kind of kinds) runs.push(...(await proveOn(engine, kind)));
}
const failed = runs.filter(({ result }) => result.faults.length > 0);
heading(failed.length === 0 ? 'Every row holds' : `${failed.length} rows do not hold`);
process.stdout.write(`\n${renderSummary(runs)}`);
process.exit(failed.length === 0 ? 0 : 1);

async function proveOn(engine: Engine, kind: Kind): Promise<readonly Run[]> {
  const { backend, carriesIpv6 } = kind;
  const on = `Docker ${engine.version}, ${backend}${carriesIpv6 ? ', IPV6: tunnel' : ''}`;
  const done: Run[] = [];
  const { ground, world } = await layGround(engine, kind);
  try {
    await world.startRouter();
    await ground.untilCarried();
    const { firewall } = (await world.request('/healthz')).body;
    if (firewall !== backend) throw new Error(`the router's rules were loaded by ${firewall}, not by ${backend}`);
    let group = '';
    for (const row of kind.rows) {
      if (row.group !== group) heading(`${on}: ${row.group}`);
      group = row.group;
      const result = await runRow(ground, row, timesOf(row));
      writeRow({ done: title(result), seen: seen(result), pass: result.faults.length === 0 });
      if (row.limit !== undefined) say(`a known limit: ${row.limit}`);
      if (result.faults.length > 0) say(...result.faults, ...result.lines.slice(0, 5), await ground.log());
      done.push({ on, result });
    }
  } finally {
    await ground.catcher.remove();
    await world.remove();
  }
  return done;
}

function timesOf({ times }: Row): number {
  return values.fast ? (times.fast ?? times.whole) : times.whole;
}

function seen(result: Result): string {
  const { router, openvpn, sent, control, tookMs, row } = result;
  const { length: kinds } = row.kinds;
  const others = row.without === undefined || router === 0 ? '' : ` (${router} of the router's own)`;
  return [
    `${leakedIn(result)} of ${count(sum(sent))} packets${others}`,
    `${kinds} ${kinds === 1 ? 'kind' : 'kinds'}, ${openvpn} of OpenVPN passed`,
    `naive router: ${sum(control.counted)} of ${sum(control.sent)}`,
    duration(tookMs),
  ].join('; ');
}
