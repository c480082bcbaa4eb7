import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import type { Status } from '../../src/health/status.ts';
import { answersOf, startFlow } from './lab/client.ts';
import { untilCounting } from './lab/counting.ts';
import { type Endpoint, endpointOf } from './lab/endpoint.ts';
import { countHoldings } from './lab/reconnects.ts';
import { addresses, makeWorld, ports, type RunningRouter, type World } from './lab/world.ts';

// A client that does its worst to the health endpoint, which is open to it. Root and network namespaces; real OpenVPN.
const token = 'canary-of-control-0123456789';
const fuzzSeconds = 7;

let world: World;
let router: RunningRouter;
let endpoint: Endpoint;
before(async () => {
  world = await makeWorld();
  endpoint = endpointOf(world);
  await writeFile(join(world.folder, 'token'), token);
  await world.startServer();
  router = world.startRouter({
    CONTROL_TOKEN_FILE: join(world.folder, 'token'),
    HEALTH_ADDR: '0.0.0.0:9797',
  });
  await router.untilHealthy(30_000);
  await untilCounting(world);
});
after(() => world?.remove());

/** How long the router's main thread was ready to run and did not, so far: the second field of schedstat. */
function waitedForProcessorMs(): number {
  const [, waitedNs] = readFileSync(`/proc/${router.process.pid}/schedstat`, 'utf8').split(' ');
  return Math.round(Number(waitedNs) / 1e6);
}

/** A thousand clients with counters, so that what a listener does not read is much. */
async function fillCounters(): Promise<void> {
  const all = Array.from(
    { length: 1_000 },
    (_, index) => `172.22.${index >> 8}.${index & 255} counter packets 7 bytes 70`,
  );
  const input = `add element inet underbridge_passed sent { ${all.join(', ')} }\n`;
  await execa(...world.router.argv('nft', '-f', '-'), { input });
}

test('is not stopped, nor its tunnel, by odd requests, a hundred slow listeners and knocks at the control', async (t) => {
  await fillCounters();
  const sources = Array.from({ length: 20 }, (_, index) => `172.22.0.${130 + index}`);
  for (const source of sources) await world.client.run('ip', 'addr', 'add', `${source}/24`, 'dev', 'eth0');
  await endpoint.request('/');
  const before = await countHoldings(world, router);
  const { health } = await endpoint.status();
  await world.forgetLeaks();
  const flow = startFlow(world.other, addresses.web, ports.web, fuzzSeconds + 1, 50);
  const fuzz = world.client.start(
    {},
    'node',
    join(import.meta.dirname, 'lab/fuzz-http.ts'),
    ...[addresses.gateway, '9797', `${fuzzSeconds}`, ...sources],
  );
  await fuzz.says('holding');
  await sleep(500);
  // Nobody outside keeps out the container's own health check, nor who listens there.
  const own = world.router.start({}, 'curl', '-sN', '-m', '3', 'http://127.0.0.1:9797/events');
  await own.says('"schema":1');
  for (let passed = 0; passed < 10; ) {
    const beforeMs = waitedForProcessorMs();
    const { exitCode, output } = await world.router.attempt(
      'env',
      'HEALTH_ADDR=0.0.0.0:9797',
      join(world.folder, 'underbridge/healthcheck'),
    );
    const waitedMs = waitedForProcessorMs() - beforeMs;
    if (exitCode === 0) passed += 1;
    // It waits two seconds for the answer. What other tests take of that is not the router's.
    else assert.ok(waitedMs > 1_000, `no answer, and only ${waitedMs} ms without a processor: ${output}`);
    await sleep(100);
  }
  const amid = await countHoldings(world, router);
  await fuzz.exited;
  await flow.exited;
  const { seen, text } = JSON.parse(fuzz.stdout().split('\n').at(-2) ?? '');
  for (const code of [200, 400, 401, 404, 405, 431]) assert.ok(seen[code] > 0, `no ${code}: ${JSON.stringify(seen)}`);
  // Nor is anything said by mistake, but for what it is asked.
  assert.doesNotMatch(text, /canary|at \S+ \(|node:internal/);
  // As many listeners as there are places, and a no for the others.
  assert.ok(seen['listener: 200'] >= 16 && seen['listener: 503'] > 50, JSON.stringify(seen));
  const answers = answersOf(flow);
  const gaps = answers.slice(1).map((ms, index) => ms - (answers[index] ?? ms));
  assert.ok(answers.length > fuzzSeconds * 10, `${answers.length} answers`);
  const after = await endpoint.status();
  assert.deepEqual(
    [after.health.healthy, after.health.since, after.health.attempts, after.health.repairs, await world.leaked()],
    [true, health.since, 1, 0, 0],
  );
  const { descriptors } = await countHoldings(world, router);
  assert.ok(descriptors <= before.descriptors + 2, `${descriptors} descriptors, ${before.descriptors} before`);
  const mib = (bytes: number) => Math.round(bytes / 1024 ** 2);
  const grown = amid.residentBytes - before.residentBytes;
  assert.ok(mib(grown) <= 64, `${mib(grown)} MiB more`);
  t.diagnostic(
    `${JSON.stringify(seen)}; Node from ${mib(before.residentBytes)} to ${mib(amid.residentBytes)} MiB; ` +
      `longest gap of a client's flow ${Math.max(...gaps)} ms`,
  );
});

test('makes a status once for all who ask while nothing is new, and anew when something is', async () => {
  const url = 'http://127.0.0.1:9797/status';
  const ats = async () =>
    (await world.router.run('curl', '-s', url, url))
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as Status).at);
  // What happens meanwhile makes a new one.
  for (let tries = 0; ; tries += 1) {
    const [one, other] = await ats();
    if (one === other) break;
    assert.ok(tries < 20);
  }
  const before = await endpoint.status();
  await endpoint.post('pause', token);
  const after = await endpoint.status();
  assert.deepEqual([before.verdict.kind, after.verdict.kind], ['protected', 'paused']);
});
