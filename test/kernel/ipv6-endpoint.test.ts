// Root and network namespaces; real OpenVPN on both ends, which meet over IPv6.
import assert from 'node:assert/strict';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { askTcp } from './lab/client.ts';
import { addIpv6, ipv6Addresses, ipv6Server, writeProfile } from './lab/ipv6.ts';
import { addresses, makeWorld, ports, type RunningRouter, type World } from './lab/world.ts';

let world: World;
const { server: server6 } = ipv6Addresses;

before(async () => {
  world = await makeWorld();
  await addIpv6(world);
});
after(() => world?.remove());

async function withRouter(env: Readonly<Record<string, string>>, work: (router: RunningRouter) => Promise<void>) {
  const router = world.startRouter(env);
  try {
    await work(router);
  } finally {
    await router.stop();
  }
}

for (const transport of ['udp', 'tcp'] as const) {
  test(`carries clients through a server that is reached by ${transport}6, and nothing else leaves`, async () => {
    const server = await world.startServer(ipv6Server({ over: 'ipv6', transport }));
    const CONFIG = await writeProfile(world, {
      name: `literal-${transport}.ovpn`,
      remote: `remote ${server6} ${ports.openvpn}`,
      transport,
    });
    await withRouter({ CONFIG }, async (router) => {
      await router.untilHealthy();
      assert.equal(await askTcp(world.client, addresses.web, ports.web), '10.8.0.2');
      assert.equal((await router.health()).remote, `[${server6}]:${ports.openvpn}/${transport}`);
      // IPV6 is off: a client's own IPv6 goes nowhere, though the uplink has it now.
      const asked = [ipv6Addresses.web, ipv6Addresses.isp].map((each) => askTcp(world.client, each, ports.web));
      for (const answer of await Promise.all(asked)) assert.match(answer, /^E/);
      assert.equal(await world.leaked(), 0);
      assert.match(await world.router.run('ip', '-6', 'route', 'show', 'table', '7105'), new RegExp(server6));
    });
    await server.stop();
  });
}

test('works on an uplink that has IPv6 alone, with a name for a server', async () => {
  await world.router.run('ip', 'addr', 'del', `${addresses.routerUplink}/24`, 'dev', 'eth1');
  const server = await world.startServer(ipv6Server({ over: 'ipv6', transport: 'udp' }));
  const CONFIG = await writeProfile(world, {
    name: 'named.ovpn',
    remote: `remote vpn.example.test ${ports.openvpn}`,
    transport: 'udp',
  });
  const folder = `/etc/netns/${world.router.name}`;
  await mkdir(folder, { recursive: true });
  await writeFile(`${folder}/resolv.conf`, `nameserver ${ipv6Addresses.isp}\n`);
  const resolver = world.isp.start(
    {},
    'dnsmasq',
    ...['--no-daemon', '--no-resolv', '--no-hosts', '--conf-file=/dev/null', '--bind-interfaces'],
    ...[`--listen-address=${ipv6Addresses.isp}`, `--address=/vpn.example.test/${server6}`],
    `--address=/vpn.example.test/${addresses.server}`,
  );
  await resolver.says('started');
  try {
    await world.forgetLeaks();
    await withRouter({ CONFIG }, async (router) => {
      await router.untilHealthy();
      assert.match(router.output(), new RegExp(`resolve by ${ipv6Addresses.isp}`));
      assert.equal((await router.health()).remote, `[${server6}]:${ports.openvpn}/udp`);
      assert.equal(await askTcp(world.client, addresses.web, ports.web), '10.8.0.2');
    });
  } finally {
    await rm(folder, { recursive: true });
    resolver.kill('SIGKILL');
    await server.stop();
    await world.router.run('ip', 'addr', 'add', `${addresses.routerUplink}/24`, 'dev', 'eth1');
  }
});
