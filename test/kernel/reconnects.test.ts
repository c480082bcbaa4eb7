import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { countHoldings, reconnect } from './lab/reconnects.ts';
import { makeWorld, type RunningRouter, type World } from './lab/world.ts';

// Root and network namespaces; real OpenVPN on both ends. `npm run bench:recovery` does the same 1,000 times.
let world: World;
let router: RunningRouter;

before(async () => {
  world = await makeWorld();
  await world.startServer();
  router = world.startRouter();
  await router.untilHealthy();
});
after(() => world.remove());

test('holds after 40 reconnects what it held before: descriptors, processes, routes, rules, addresses, devices', async () => {
  await reconnect(world, router, 5);
  await sleep(1_000);
  const { residentBytes: bytesBefore, ...held } = await countHoldings(world, router);
  await reconnect(world, router, 40);
  // The last process is buried, and the last probe's socket closed.
  await sleep(1_000);
  const { residentBytes: bytesAfter, ...holds } = await countHoldings(world, router);
  assert.deepEqual(holds, held);
  // V8 grows its heap before it collects; a leak of one attempt's 100 KiB would show.
  assert.ok(bytesAfter - bytesBefore < 16 * 1024 * 1024, `${bytesBefore} then ${bytesAfter} bytes`);
  assert.equal(await world.leaked(), 0);
});
