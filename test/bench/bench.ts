// `npm run bench`: Underbridge against a plain OpenVPN client container, on this machine, in one run of some minutes.
// `-- --markdown` prints the table as Markdown, `-- --quick` takes fewer rounds (the table says how many).
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ensureBaseImages } from '../lab/base-images.ts';
import { type Engine, ensureEngine } from '../lab/engine.ts';
import { buildImage } from '../lab/image.ts';
import { withLock } from '../lab/lock.ts';
import { step } from '../lab/step.ts';
import { measureApply } from './apply.ts';
import { measureStart } from './first-reply.ts';
import { measureLocks } from './locks.ts';
import { describeMachine, observeLoad } from './machine.ts';
import { measureMemory } from './memory.ts';
import { type Row, renderMarkdown, renderTable, renderVerdict } from './report.ts';
import { measureSize } from './size.ts';
import { measureRoundTrip, measureThroughput } from './throughput.ts';
import { closeWorld, type Images, openWorld, type World } from './world.ts';

/** How often each thing is measured. */
interface Effort {
  readonly starts: number;
  readonly locks: number;
  readonly idleMs: number;
  readonly streams: { readonly rounds: number; readonly seconds: number };
  readonly pings: number;
  readonly applies: number;
}

const thorough: Effort = {
  starts: 11,
  locks: 15,
  idleMs: 15_000,
  streams: { rounds: 8, seconds: 3 },
  pings: 6,
  applies: 7,
};
const quick: Effort = {
  starts: 3,
  locks: 3,
  idleMs: 5_000,
  streams: { rounds: 2, seconds: 2 },
  pings: 2,
  applies: 3,
};
/** A core; above it the figures say more about the other programs. */
const loadLimit = 0.3;

const { values: options } = parseArgs({
  options: { markdown: { type: 'boolean', default: false }, quick: { type: 'boolean', default: false } },
});
const load = observeLoad();
const engine = await ensureEngine();
const interruption = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.once(name, () => {
    process.exitCode = 1;
    interruption.abort(new Error(`stopped by ${name}`));
  });
}
await withLock('underbridge-bench', async () => {
  const images = await makeImages(engine);
  try {
    step('bench: make networks, VPN server and clients');
    const world = await openWorld(engine, images, interruption.signal);
    const machine = await describeMachine(world, load);
    const rows = await measure(world, options.quick ? quick : thorough);
    const table = options.markdown ? renderMarkdown(rows) : renderTable(rows);
    const noise =
      load > loadLimit ? ' Other programs were busy before the run: take the figures again on a quiet machine.' : '';
    process.stdout.write(`\n${machine}\n\n${table}\n\n${renderVerdict(rows)}${noise}\n`);
  } catch (error) {
    // Whatever fails after an interruption fails because of it.
    if (!interruption.signal.aborted) throw error;
    step(`bench: ${(interruption.signal.reason as Error).message}`);
  } finally {
    step('bench: remove them');
    await closeWorld(engine);
  }
});

async function measure(world: World, effort: Effort): Promise<readonly Row[]> {
  step('bench: starts');
  const start = await measureStart(world, effort.starts);
  step('bench: locks');
  const locks = await measureLocks(world, effort.locks);
  step('bench: memory at rest, and the size of the image');
  const [memory, size] = await Promise.all([measureMemory(world, effort.idleMs), measureSize(world)]);
  step('bench: throughput');
  const throughput = await measureThroughput(world, effort.streams);
  const roundTrip = await measureRoundTrip(world, effort.pings);
  step('bench: rules');
  const apply = await measureApply(world, effort.applies);
  return [...start, locks, ...throughput, roundTrip, ...memory, ...size, ...apply];
}

/** A released image can be measured too; the demo reads the same setting. */
async function makeImages(engine: Engine): Promise<Images> {
  const router = process.env.UNDERBRIDGE_IMAGE ?? (await buildImage(engine)).tag;
  const peer = 'underbridge-bench:dev';
  await ensureBaseImages(engine, ['node:26-trixie-slim']);
  step(`build ${peer}`);
  // The host's network: what reaches a package mirror from this machine need not reach it from a bridge.
  await engine.docker('build', '--network=host', '--tag', peer, join(import.meta.dirname, 'peer'));
  return { router, peer };
}
