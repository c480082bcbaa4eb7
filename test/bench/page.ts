// What it costs to be looked at: CPU time of an idle router while its page is open in a browser and while it is not, and
// how soon the page, /healthz and a scrape are answered. Root and network namespaces, a real Chromium; no engine.
// `npm run bench:page -- [--rounds N] [--seconds N]`
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { openBrowser } from '../kernel/lab/browser.ts';
import { untilCounting } from '../kernel/lab/counting.ts';
import { endpointOf } from '../kernel/lab/endpoint.ts';
import { pidsIn } from '../kernel/lab/namespace.ts';
import { makeWorld, type World } from '../kernel/lab/world.ts';
import { renderNumber, renderSpread, spreadOf } from './figures.ts';

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '1' }, seconds: { type: 'string', default: '60' } },
});
const rounds = Number(values.rounds);
const roundMs = Number(values.seconds) * 1_000;
const targetPercent = 0.3;

const world = await makeWorld();
try {
  await world.startServer();
  const router = world.startRouter();
  await router.untilHealthy(60_000);
  await untilCounting(world);
  // A browser in the router's namespace is no part of the router.
  const own = await pidsIn(world.router);
  const { browser, close } = await openBrowser(world.router);
  const page = await browser.newPage();
  await page.goto('http://127.0.0.1:9797/');
  await page.locator('#live', { hasText: /^Live$/ }).waitFor();
  const interactive = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd";
  say(`page interactive after ${Math.round(await page.evaluate<number>(interactive))} ms`);
  // What is loaded when a page is first opened, and doctor's look, are no idling.
  await sleep(4_000);
  const percents: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const percent = await measureCpu(own, roundMs);
    percents.push(percent.all);
    say(`page open, ${roundMs / 1_000} s: ${percent.all.toFixed(3)} % of a core (${percent.text})`);
  }
  const spread = spreadOf(percents);
  say(`idle with the page open: ${renderSpread(spread, '%')} of a core, target ≤ ${targetPercent} %`);
  if (spread.median > targetPercent) process.exitCode = 1;
  const residentMib = own.map(observeResidentMib);
  say(`resident memory, all processes: ${renderNumber(residentMib.reduce((sum, mib) => sum + mib, 0))} MiB`);
  await close();
  await measureAnswers(world);
} finally {
  await world.remove();
}

/** CPU time of processes, as a part of a core; those that were started and ended meanwhile are in their parents'. */
async function measureCpu(pids: readonly string[], lengthMs: number) {
  const before = pids.map(observeCpuMs);
  const fromMs = performance.now();
  await sleep(lengthMs);
  const tookMs = performance.now() - fromMs;
  const each = pids.map((pid, index) => {
    const { program, cpuMs } = observeCpuMs(pid);
    return { program, percent: ((cpuMs - (before[index]?.cpuMs ?? 0)) / tookMs) * 100 };
  });
  return {
    all: each.reduce((sum, { percent }) => sum + percent, 0),
    text: each.map(({ program, percent }) => `${program} ${percent.toFixed(3)} %`).join(', '),
  };
}

/** In steps of 10 ms, but of the time that the scheduler measured. */
function observeCpuMs(pid: string): { readonly program: string; readonly cpuMs: number } {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [own, children] = [fields.slice(11, 13), fields.slice(13, 15)].map((ticks) =>
    ticks.reduce((sum, text) => sum + Number(text) * 10, 0),
  );
  return { program: /\((.*)\)/.exec(stat)?.[1] ?? pid, cpuMs: (own ?? 0) + (children ?? 0) };
}

function observeResidentMib(pid: string): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}

async function measureAnswers(lab: World): Promise<void> {
  const { request } = endpointOf(lab);
  for (const path of ['/healthz', '/status', '/metrics', '/']) {
    const times: number[] = [];
    for (let asked = 0; asked < 15; asked += 1) times.push((await request(path)).ms);
    say(`${path}: ${renderSpread(spreadOf(times), 'ms')}`);
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
