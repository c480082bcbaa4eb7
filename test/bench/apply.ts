import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { renderSpread, spreadOf } from './figures.ts';
import type { ApplyTimes } from './inside/apply.ts';
import type { Row } from './report.ts';
import { gateways, nextHop, type World } from './world.ts';

const targetMs = 300;
const counts = [10, 1_000, 10_000] as const;
const largest = 10_000;
const bundlePath = '/usr/lib/underbridge/underbridge.cjs';

/** Applies rulesets with many forwards in the router's image, by the router's own code, Node options and nft. */
export async function measureApply({ runConfined }: World, rounds: number): Promise<readonly Row[]> {
  const folder = await mkdtemp(join(tmpdir(), 'underbridge-bench-'));
  try {
    const bundle = join(folder, 'apply.cjs');
    await bundleTo(bundle);
    const output = await runConfined({
      options: [
        ...['--env', `IP_ADDR=${gateways.router}`, '--env', `UPLINK_GATEWAY=${nextHop}`],
        ...['--volume', `${bundle}:${bundlePath}:ro`],
      ],
      argv: [`${rounds}`, ...counts.map(String)],
    });
    return (JSON.parse(output) as readonly ApplyTimes[]).flatMap((times) => rowsOf(times, rounds));
  } finally {
    await rm(folder, { recursive: true });
  }
}

function rowsOf({ count, mapEntries, transaction, whole }: ApplyTimes, rounds: number): readonly Row[] {
  const spread = spreadOf(transaction);
  const target = { text: `≤ ${targetMs} ms`, isMet: spread.median <= targetMs };
  return [
    {
      what: `nft -f of ${renderCount(count)} forwards, tcp and udp: ${renderCount(mapEntries)} entries (n=${rounds})`,
      router: renderSpread(spread, 'ms'),
      ...(count === largest ? { target } : {}),
    },
    { what: '… with plan, render, routes, read-back', router: renderSpread(spreadOf(whole), 'ms') },
  ];
}

function renderCount(count: number): string {
  return count.toLocaleString('en');
}

/** With the options of `npm run build`. */
async function bundleTo(outfile: string): Promise<void> {
  await build({
    entryPoints: [join(import.meta.dirname, 'inside/apply.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node26',
    minifySyntax: true,
    logLevel: 'warning',
  });
}
