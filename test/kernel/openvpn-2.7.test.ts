import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ensureNewOpenvpn } from '../lab/openvpn.ts';
import { askDns, askTcp, startFlood } from './lab/client.ts';
import { pushUpdate } from './lab/push-update.ts';
import { addresses, makeWorld, ports, type RunningRouter, type RunningServer, type World } from './lab/world.ts';

// OpenVPN 2.7 on both ends, which the image does not have yet. Root and network namespaces; Debian testing's package.
let world: World;
let server: RunningServer;
let router: RunningRouter;
let managementSocket: string;

const newResolver = '10.99.0.54';

before(async () => {
  world = await makeWorld();
  const folder = await ensureNewOpenvpn();
  managementSocket = join(world.folder, 'server.sock');
  await world.server.run('ip', 'addr', 'add', `${newResolver}/32`, 'dev', 'lo');
  const resolver = world.server.start(
    {},
    'dnsmasq',
    ...['--no-daemon', '--no-resolv', '--no-hosts', '--conf-file=/dev/null', '--bind-interfaces'],
    ...[`--listen-address=${newResolver}`, '--except-interface=tun*', `--address=/who-answers.test/${newResolver}`],
  );
  await resolver.says('started');
  const program = join(folder, 'openvpn');
  server = await world.startServer({ program, args: ['--management', managementSocket, 'unix'] });
  router = world.startRouter({ PATH: `${folder}:${process.env.PATH}`, LOG_LEVEL: 'debug' });
});
after(async () => {
  await router.stop();
  await server.stop();
  await world.remove();
});

async function until(isSo: () => Promise<boolean>): Promise<void> {
  for (const deadlineMs = performance.now() + 10_000; !(await isSo()); await sleep(50)) {
    assert.ok(performance.now() < deadlineMs, router.output());
  }
}

test('carries clients through OpenVPN 2.7', async () => {
  await router.untilHealthy();
  assert.match(router.output(), /OpenVPN 2\.7\./);
  assert.equal(await askTcp(world.client, addresses.web, ports.web), '10.8.0.2');
  assert.equal(await askDns(world.client, '192.0.2.53'), addresses.resolver);
  assert.equal(await world.leaked(), 0);
});

test('takes an address and a resolver that the server changes while the tunnel is up', async () => {
  const flood = startFlood(world.other, addresses.web, ports.web, 20);
  await pushUpdate(managementSocket, `ifconfig 10.8.0.77 255.255.255.0,dhcp-option DNS ${newResolver}`);
  await until(async () => (await router.health()).tunnelAddress === '10.8.0.77');
  await router.untilHealthy();
  flood.kill('SIGTERM');
  assert.equal(await askTcp(world.client, addresses.web, ports.web), '10.8.0.77');
  assert.equal(await askDns(world.client, '192.0.2.53'), newResolver);
  assert.equal((await router.health()).attempts, 1);
  assert.equal(await world.leaked(), 0);
});

test('gives a tunnel up whose server changes the address to one of the isolated network', async () => {
  const text = 'the server gave 172.22.0.77, which belongs to the isolated network';
  // A client that is just connecting again misses it.
  await until(async () => {
    await pushUpdate(managementSocket, 'ifconfig 172.22.0.77 255.255.255.0').catch(() => undefined);
    await sleep(200);
    return router.output().includes(text);
  });
  assert.equal(await world.leaked(), 0);
});
