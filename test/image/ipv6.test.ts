// Clients' IPv6 on real engines: the image with `IPV6: tunnel`, a VPN server that is reached over IPv6. Needs root; starts
// engines apart.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { askDns, askTcp } from '../kernel/lab/client.ts';
import { ipv6Addresses } from '../kernel/lab/ipv6.ts';
import { until } from '../leaks/ground.ts';
import { type EngineName, image, openEngine, runApart } from './apart.ts';
import { isIpv6Carried, openIpv6World, webPort } from './ipv6-world.ts';
import { addresses, runFor, slackMs, type World } from './world.ts';

await runApart(import.meta.filename);

const { resolver, tunnel, tunnelServer } = ipv6Addresses;

for (const on of ['20.10', '28.5'] satisfies readonly EngineName[]) {
  describe(`Docker ${on}`, () => {
    let world: World;

    before(async () => {
      world = openIpv6World(await openEngine(on), { isolated: 'last' });
      await world.startScene(['client1', 'client2', 'isp', 'provider', 'web', 'resolvers']);
    });
    after(() => world?.remove());

    test('reaches the server over IPv6, and carries both families of clients', async (t) => {
      await world.startRouter();
      const tookMs = await world.untilHealth('router', 'healthy', 5_000 + slackMs);
      t.diagnostic(`${on}: healthy ${Math.round(tookMs)} ms after up`);
      const { body } = await world.request('/healthz');
      assert.equal(body.remote, `[${ipv6Addresses.server}]:1194/udp`);
      assert.deepEqual([body.ipv6, body.tunnelIpv6Address], ['carried', tunnel]);
      const client = await world.enter('client1');
      await until(
        () => isIpv6Carried(client),
        5_000 + slackMs,
        () => world.logs('router'),
      );
      const seen = await world.exec('client1', 'until', 'answered', '5');
      assert.match(seen.stdout, new RegExp(` ${addresses.vpnExit}$`, 'm'));
    });

    test('enforces the resolver over IPv6, and forwards a port', async () => {
      const client = await world.enter('client1');
      for (const asked of ['2620:fe::9', ipv6Addresses.gateway])
        assert.equal(await askDns(client, asked, '-t', 'AAAA'), resolver, asked);
      assert.equal(await askTcp(await world.enter('provider'), tunnel, webPort), tunnelServer);
    });

    test('doctor finds nothing there, by the socket and from inside', async () => {
      const socket = ['--volume', '/var/run/docker.sock:/var/run/docker.sock:ro'];
      const outside = await runFor(world.engine, ['docker', 'run', '--rm', ...socket, image, 'doctor']);
      assert.equal(outside.code, 0, outside.stdout + outside.stderr);
      const inside = await world.exec('router', 'underbridge', 'doctor');
      assert.equal(inside.code, 0, inside.stdout + inside.stderr);
    });
  });
}
