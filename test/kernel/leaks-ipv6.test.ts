// The leak matrix for clients' IPv6, in network namespaces: `IPV6: tunnel`, the VPN server is reached over IPv6.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { takeLock } from '../leaks/events.ts';
import type { Ground } from '../leaks/ground.ts';
import { ipv6Rows, pushedIpv6Row } from '../leaks/ipv6-rows.ts';
import { runRow, sum } from '../leaks/matrix.ts';
import { askTcp } from './lab/client.ts';
import { addIpv6, addRouterIpv6, addUplinkIpv6, ipv6Addresses, ipv6Server, writeProfile } from './lab/ipv6.ts';
import { layGround } from './lab/leak-ground.ts';
import { addresses, makeWorld, ports, type World } from './lab/world.ts';

let world: World;
let ground: Ground;

before(async () => {
  world = await makeWorld();
  const CONFIG = await writeProfile(world, {
    name: 'ipv6.ovpn',
    remote: `remote ${ipv6Addresses.server} ${ports.openvpn}`,
    transport: 'udp',
  });
  ground = await layGround(world, {
    env: {
      CONFIG,
      IPV6: 'tunnel',
      IP6_ADDR: `${ipv6Addresses.gateway}/64`,
      PORT_FWD: `${addresses.client}:${ports.web}, [${ipv6Addresses.client}]:${ports.web}`,
    },
    prepare: () => addRouterIpv6(world),
    restoreUplink: () => addUplinkIpv6(world),
    startServer: () => world.startServer(ipv6Server({ over: 'ipv6', transport: 'udp' })),
    isCarried: async () => (await askTcp(world.client, ipv6Addresses.web, ports.web)) === ipv6Addresses.tunnel,
  });
  await addIpv6(world);
  await ground.server.start();
  await ground.boot();
  await ground.untilCarried();
});
after(() => world?.remove());

test('counts packets when both locks are away', async () => {
  const [row] = ipv6Rows;
  assert.ok(row !== undefined);
  const { client, faults } = await runRow(
    ground,
    {
      ...row,
      without: 'firewall',
      make: async () => {
        const putBack = await takeLock(ground, 'routes');
        await new Promise((resolve) => setTimeout(resolve, 1_000));
        await putBack();
      },
    },
    1,
  );
  assert.ok(client >= 300, `${client} counted`);
  assert.equal(faults.length, 1, `${faults}`);
});

for (const row of [...ipv6Rows, pushedIpv6Row]) {
  test(`leaks nothing of IPv6: ${row.event}`, async (t) => {
    const { sent, faults, lines, client, router, tookMs } = await runRow(ground, row, row.times.fast ?? 1);
    t.diagnostic(`${client} + ${router} of ${sum(sent)} packets leaked, ${Math.round(tookMs)} ms`);
    assert.deepEqual(faults, [], [...lines.slice(0, 5), await ground.log()].join('\n'));
  });
}
