// The leak matrix for IPv6 by rules that iptables loads, which carry none, in network namespaces: the provider and the
// clients have it, the kernel forwards it, and all of it is dropped. FIREWALL=iptables-legacy: by that one; LEAKS=whole:
// every event.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { backends } from '../leaks/firewall.ts';
import type { Ground } from '../leaks/ground.ts';
import { droppedIpv6Rows } from '../leaks/ipv6-rows.ts';
import { runRow, sum } from '../leaks/matrix.ts';
import { addIpv6, addRouterIpv6, addUplinkIpv6 } from './lab/ipv6.ts';
import { layGround } from './lab/leak-ground.ts';
import { makeWorld, type World } from './lab/world.ts';

const backend = backends.find((name) => name === process.env.FIREWALL) ?? 'iptables-nft';
let world: World;
let ground: Ground;

before(async () => {
  world = await makeWorld();
  ground = await layGround(world, {
    backend,
    prepare: async () => {
      await world.router.run('sysctl', '-qw', 'net.ipv6.conf.all.forwarding=1');
      await addRouterIpv6(world);
    },
    restoreUplink: () => addUplinkIpv6(world),
  });
  await addIpv6(world);
  await ground.server.start();
  await ground.boot();
  await ground.untilCarried();
});
after(() => world?.remove());

const quick =
  /^(boot|VPN server|uplink disconnected|firewall flushed$|rules and routes flushed, main leads to the provider$)/;
for (const row of droppedIpv6Rows.filter(({ event }) => process.env.LEAKS === 'whole' || quick.test(event))) {
  test(`drops all of IPv6 by ${backend}: ${row.event}`, async (t) => {
    const { sent, faults, lines, client, router, tookMs } = await runRow(ground, row, row.times.fast ?? 1);
    t.diagnostic(`${client} + ${router} of ${sum(sent)} packets leaked, ${Math.round(tookMs)} ms`);
    assert.deepEqual(faults, [], [...lines.slice(0, 5), await ground.log()].join('\n'));
  });
}
