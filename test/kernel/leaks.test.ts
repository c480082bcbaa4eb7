// The leak matrix of test/leaks in network namespaces: every row, each a few times. `npm run test:leaks` takes the full
// number of repetitions, which is minutes more. FIREWALL=iptables-nft or iptables-legacy has the rules loaded that way.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { takeLock } from '../leaks/events.ts';
import { backends } from '../leaks/firewall.ts';
import type { Ground } from '../leaks/ground.ts';
import { runRow, sum } from '../leaks/matrix.ts';
import { type Row, rows } from '../leaks/rows.ts';
import { trafficNames } from '../leaks/traffic.ts';
import { layGround } from './lab/leak-ground.ts';
import { makeWorld, type World } from './lab/world.ts';

const isWhole = process.env.LEAKS === 'whole';
const backend = backends.find((name) => name === process.env.FIREWALL) ?? 'nft';

let world: World;
let ground: Ground;

before(async () => {
  world = await makeWorld();
  ground = await layGround(world, { backend });
  await ground.server.start();
  await ground.boot();
  await ground.untilCarried();
});
after(async () => {
  await world?.remove();
});

// What a row would look like that does not hold.
const broken: readonly { readonly what: string; readonly least: number; readonly make: () => Promise<void> }[] = [
  {
    what: 'packets when both locks are away',
    least: 300,
    make: async () => {
      const putBack = await takeLock(ground, 'routes');
      await sleep(1_000);
      await putBack();
    },
  },
  {
    what: "errors of the router's own that quote a client's packet",
    least: 1,
    make: async () => {
      await world.router.run('ip', 'rule', 'del', 'pref', '105');
      await world.router.run('ip', 'link', 'del', 'tun0');
      await sleep(1_000);
    },
  },
];
for (const { what, least, make } of broken) {
  test(`counts and shows ${what}`, async () => {
    const row: Row = {
      group: 'locks',
      event: what,
      kinds: trafficNames,
      times: { whole: 1 },
      without: 'firewall',
      make,
    };
    const { client, lines, faults } = await runRow(ground, row, 1);
    assert.ok(client >= least && lines.length >= least, `${client} counted, ${lines.length} captured`);
    assert.equal(faults.length, 1, `${faults}`);
    await ground.boot();
    await ground.untilCarried();
  });
}

for (const row of rows.filter(({ only }) => only !== 'image')) {
  test(`leaks nothing: ${row.event}`, async (t) => {
    const times = isWhole ? row.times.whole : (row.times.fast ?? 1);
    const { sent, faults, lines, client, router, tookMs } = await runRow(ground, row, times);
    t.diagnostic(`${client} + ${router} of ${sum(sent)} packets leaked, ${Math.round(tookMs)} ms`);
    assert.deepEqual(faults, [], [...lines.slice(0, 5), await ground.log()].join('\n'));
  });
}
