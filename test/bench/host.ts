// What the host role costs: `npm run bench:host`, on Docker 28.5 in a place apart. Needs root; takes some minutes, or less
// than one without the containers that start at once: `npm run bench:host -- looks`.
import { performance } from 'node:perf_hooks';
import { openEngine, runApart } from '../image/apart.ts';
import { openHostWorld, until, usageOf } from '../image/host/world.ts';
import type { LabProcess } from '../kernel/lab/namespace.ts';

await runApart(import.meta.filename);

const engine = await openEngine('28.5');
const world = await openHostWorld(engine);
const say = (what: string, figure: string) => process.stdout.write(`| ${what} | ${figure} |\n`);
const ms = (time: number) => `${time.toFixed(0)} ms`;
const file = 'published: { interfaces: [tailscale0], hairpin: true }\n';
try {
  await engine.docker('network', 'create', '--subnet', '10.90.0.0/16', 'apps');
  const role = await world.startHost(file);
  const look = async (count: number, prepare = async () => role.kill('SIGHUP') as unknown) => {
    const times: number[] = [];
    while (times.length < count) {
      const before = (await world.status()).counts.reconciles;
      await prepare();
      await until('it looked', async () => (await world.status()).counts.reconciles > before, 30_000);
      times.push((await world.status()).last?.tookMs ?? Number.NaN);
    }
    return times.toSorted((one, other) => one - other);
  };
  const shown = (times: readonly number[]) =>
    `${ms(times[Math.floor(times.length / 2)] ?? Number.NaN)} (${ms(times[0] ?? 0)}–${ms(times.at(-1) ?? 0)}, n=${times.length})`;

  say('nothing to do, no container', shown(await look(10)));
  for (let index = 0; index < 10; index += 1) {
    const first = 10_000 + 100 * index;
    const range = `${first}-${first + 99}:${first}-${first + 99}`;
    await world.serve(`many${index}`, ['tcp:80'], '--network', 'apps', '--publish', range);
  }
  await until('1,000 ports are forwarded', async () => (await forwards()) >= 1_000, 60_000);
  say('nothing to do, 1,000 published ports', shown(await look(10)));
  const written = await look(6, async () => {
    await world.rewrite((await world.status()).counts.writes % 2 ? file : file.replace('true', 'false'));
  });
  say('all 1,000 written anew (the file changed)', shown(written));
  say('memory with 1,000 ports', `${usageOf(role.pid).residentMiB.toFixed(0)} MiB`);
  if (process.argv[2] !== 'looks') await rest(role);
} finally {
  await world.close();
  await engine.stop();
}

/** Idleness, and many containers at once. */
async function rest(role: LabProcess): Promise<void> {
  const idle = usageOf(role.pid).cpuMs;
  await new Promise((resolve) => setTimeout(resolve, 40_000));
  say('CPU in 40 s of idleness, a full look among it', ms(usageOf(role.pid).cpuMs - idle));

  const before = (await world.status()).counts;
  const names = Array.from({ length: 200 }, (_, index) => `one${index}`);
  const start = performance.now();
  const pending = [...names.entries()];
  const worker = async () => {
    for (let next = pending.shift(); next !== undefined; next = pending.shift()) {
      await world.serve(next[1], ['tcp:80'], '--network', 'apps', '--publish', `${20_000 + next[0]}:80`);
    }
  };
  await Promise.all(Array.from({ length: 8 }, worker));
  const started = performance.now();
  await until('all are forwarded', async () => (await forwards()) >= 1_200, 60_000);
  const { counts } = await world.status();
  say('200 containers started at once', ms(started - start));
  say('… the last of them forwarded after its start', ms(performance.now() - started));
  say('… looks, and writes among them', `${counts.reconciles - before.reconciles}, ${counts.writes - before.writes}`);
  say('memory then', `${usageOf(role.pid).residentMiB.toFixed(0)} MiB`);
}

async function forwards(): Promise<number> {
  return (await world.status()).resources.forward ?? 0;
}
