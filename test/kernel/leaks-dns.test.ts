// The leak matrix with a resolver of the router's own, in network namespaces: `DNS: tls://…`, `DNS_LOCAL`, and no cache,
// so that each question of the client is one of the resolver.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { takeLock } from '../leaks/events.ts';
import type { Ground } from '../leaks/ground.ts';
import { runRow, sum } from '../leaks/matrix.ts';
import { resolverRows } from '../leaks/rows.ts';
import { askDns } from './lab/client.ts';
import { makeDotPki, startDotResolver } from './lab/dot.ts';
import { layGround } from './lab/leak-ground.ts';
import { addresses, makeWorld, type World } from './lab/world.ts';

const answer = '10.0.0.53';
let world: World;
let ground: Ground;

before(async () => {
  world = await makeWorld();
  const { folder } = world;
  const pki = await makeDotPki(folder);
  const dot = { address: addresses.resolver, port: 853, certificate: pki.good, answer, folder };
  await startDotResolver(world.server, dot);
  ground = await layGround(world, {
    env: {
      DNS: `tls://${addresses.resolver}#dot.test`,
      DNS_CA_FILE: `${pki.authority}.crt`,
      DNS_CACHE: 'off',
      DNS_LOCAL: 'lan.example=192.168.77.53',
    },
    isCarried: async () => (await askDns(world.client, '9.9.9.9')) === answer,
  });
  await ground.server.start();
  await ground.boot();
  await ground.untilCarried();
});
after(() => world?.remove());

test('counts packets when both locks are away', async () => {
  const [row] = resolverRows;
  assert.ok(row !== undefined);
  const { client } = await runRow(
    ground,
    {
      ...row,
      without: 'firewall',
      make: async () => {
        const putBack = await takeLock(ground, 'routes');
        await sleep(1_000);
        await putBack();
      },
    },
    1,
  );
  assert.ok(client >= 300, `${client} counted`);
});

for (const row of resolverRows) {
  test(`leaks nothing beside a resolver of the router's own: ${row.event}`, async (t) => {
    const { sent, faults, lines, client, router, tookMs } = await runRow(ground, row, 1);
    t.diagnostic(`${client} + ${router} of ${sum(sent)} packets leaked, ${Math.round(tookMs)} ms`);
    assert.deepEqual(faults, [], [...lines.slice(0, 5), await ground.log()].join('\n'));
  });
}
