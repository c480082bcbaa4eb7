import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { askTcp, startFlood } from './lab/client.ts';
import { pidsIn } from './lab/namespace.ts';
import { addresses, makeWorld, ports, type RunningRouter, type World } from './lab/world.ts';

// What the kernel does not take, and the router cannot do without. Root and network namespaces; real OpenVPN and nft.
let world: World;
let router: RunningRouter;

const token = 'canary-of-control-0123456789';

before(async () => {
  world = await makeWorld();
  await world.startServer();
  const tokenFile = join(world.folder, 'token');
  await writeFile(tokenFile, token);
  router = world.startRouter({ CONTROL_TOKEN_FILE: tokenFile });
  await router.untilHealthy();
});
after(() => world.remove());

/** Runs a command in the router's mount namespace, which is its own. */
async function inMounts(...command: readonly [string, ...string[]]): Promise<void> {
  const [pid] = await pidsIn(world.router, 'node-MainThread');
  await world.router.run('nsenter', '--mount', `--target=${pid}`, ...command);
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  for (const endMs = performance.now() + 5_000; !(await isSo()); await sleep(50)) {
    assert.ok(performance.now() < endMs, router.output());
  }
}

test('puts the gateway right as soon as that can be done, and takes no lock for refused meanwhile', async () => {
  const path = '/proc/sys/net/ipv4/conf/eth0/forwarding';
  const zero = join(world.folder, 'zero');
  await writeFile(zero, '0\n');
  // What the kernel says is 0, whatever it is told.
  await inMounts('mount', '--bind', zero, path);
  await world.router.run('ip', 'addr', 'del', `${addresses.gateway}/24`, 'dev', 'eth0');
  await router.process.says('the gateway was not put right');
  const [openvpn] = await pidsIn(world.router, 'openvpn');
  process.kill(Number(openvpn), 'SIGKILL');
  await router.process.says(' blocked ');
  await router.untilHealthy();
  assert.doesNotMatch(router.output(), /policy not applied|\brepaired\b/);
  await inMounts('umount', path);
  await until(async () => (await world.router.run('ip', 'addr', 'show', 'dev', 'eth0')).includes(addresses.gateway));
  assert.equal(await askTcp(world.client, addresses.web, ports.web), '10.8.0.2');
  assert.equal(await world.leaked(), 0);
});

test('ends when a pause finds the lockdown refused, and says so to whom asked for it', async () => {
  const flood = startFlood(world.other, addresses.web, ports.web, 20);
  await inMounts('sh', '-c', 'mount --bind /bin/false "$(command -v nft)"');
  const { output } = await world.router.attempt(
    ...['curl', '-s', '-m', '5', '-X', 'POST', '-H', `authorization: Bearer ${token}`, '-w', ' %{http_code}'],
    'http://127.0.0.1:9797/control/pause',
  );
  assert.match(output, /the kernel did not take the lockdown: .* the router ends, .*\n 500$/);
  assert.equal((await router.process.exited).exitCode, 1);
  assert.match(router.output(), /^underbridge: the kernel did not take the lockdown: /m);
  assert.deepEqual(await pidsIn(world.router, 'openvpn'), []);
  flood.kill('SIGTERM');
  assert.equal(await world.leaked(), 0);
});
