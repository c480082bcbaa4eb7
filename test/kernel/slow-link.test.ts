import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeStandbyLab, type StandbyLab } from './lab/standby.ts';
import { makeWorld, type World } from './lab/world.ts';

// A link with a long way there and back. Root and network namespaces; real OpenVPN on both ends, and a resolver behind
// them that takes its time.
let world: World;
let lab: StandbyLab;

const resolver = '10.99.0.55';

before(async () => {
  world = await makeWorld();
  await world.server.run('ip', 'addr', 'add', `${resolver}/32`, 'dev', 'lo');
  const late = world.server.start({}, 'node', join(import.meta.dirname, 'lab/late-resolver.ts'), resolver, '150');
  await late.says('listening');
  lab = await makeStandbyLab(world, { DNS: resolver });
});
after(async () => {
  await lab.stop();
  await world.remove();
});

test('keeps both tunnels while every answer takes 150 ms', async () => {
  // One that is given up has lost two answers, 0.2 s apart.
  await sleep(2_500);
  const tunnels = (await lab.router.health()).tunnels as readonly Readonly<Record<string, unknown>>[];
  assert.deepEqual(
    tunnels.map(({ attempts, healthy }) => ({ attempts, healthy })),
    [1, 2].map(() => ({ attempts: 1, healthy: true })),
    lab.router.output(),
  );
});
