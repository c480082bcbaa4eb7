import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { askTcp, sentBy, startFlood } from './lab/client.ts';
import { pidsIn } from './lab/namespace.ts';
import { addresses, makeWorld, ports, type RunningRouter, type World } from './lab/world.ts';

// Every test floods from a client while something breaks, and counts what arrives at the internet provider.
let world: World;
let router: RunningRouter;

before(async () => {
  world = await makeWorld();
  await world.startServer();
});
after(() => world.remove());

async function pidOf(name: string): Promise<string> {
  const [pid, ...others] = await pidsIn(world.router, name);
  assert.ok(pid !== undefined && others.length === 0, `${name}: ${[pid, ...others]}`);
  return pid;
}

async function floodDuring(seconds: number, event: () => Promise<void>): Promise<number> {
  const flood = startFlood(world.client, addresses.web, ports.web, seconds);
  await sleep(700);
  await event();
  return sentBy(flood);
}

/** OpenVPN was replaced, or the tunnel made anew, and clients are carried again. */
async function recovers(): Promise<void> {
  await router.untilHealthy(10_000);
  assert.equal(await askTcp(world.client, addresses.web, ports.web), '10.8.0.2');
}

test('counts the packets of a router without locks: the catcher works', async () => {
  await world.router.run('sysctl', '-qw', 'net.ipv4.ip_forward=1');
  await world.router.run('ip', 'addr', 'add', `${addresses.gateway}/24`, 'dev', 'eth0');
  await world.router.run('ip', 'route', 'replace', 'default', 'via', addresses.isp);
  const sent = await sentBy(startFlood(world.client, addresses.web, ports.web, 1));
  assert.ok((await world.leaked()) > sent / 2, `${await world.leaked()} of ${sent}`);
  await world.router.run('ip', 'addr', 'del', `${addresses.gateway}/24`, 'dev', 'eth0');
  await world.router.run('sysctl', '-qw', 'net.ipv4.ip_forward=0');
  await world.forgetLeaks();
});

test('leaks nothing at boot under flood from a client that knows the router already', async () => {
  const mac = (await world.router.run('cat', '/sys/class/net/eth0/address')).trim();
  await world.client.run('ip', 'neigh', 'replace', addresses.gateway, 'lladdr', mac, 'nud', 'permanent', 'dev', 'eth0');
  const flood = startFlood(world.client, addresses.web, ports.web, 3);
  await sleep(500);
  router = world.startRouter();
  await router.untilHealthy();
  assert.ok((await sentBy(flood)) > 1_000);
  assert.equal(await world.leaked(), 0);
  await world.client.run('ip', 'neigh', 'del', addresses.gateway, 'dev', 'eth0');
});

test('leaks nothing when OpenVPN is killed, and starts it anew', async () => {
  const killed = await pidOf('openvpn');
  const sent = await floodDuring(3, () => world.router.run('kill', '-KILL', killed).then(() => undefined));
  await recovers();
  assert.notEqual(await pidOf('openvpn'), killed);
  assert.ok(sent > 1_000);
  assert.equal(await world.leaked(), 0);
});

test('leaks nothing when OpenVPN hangs, and replaces it', async () => {
  const stopped = await pidOf('openvpn');
  await world.router.run('kill', '-STOP', stopped);
  await router.untilUnhealthy(10_000);
  await recovers();
  assert.notEqual(await pidOf('openvpn'), stopped);
  assert.equal(await world.leaked(), 0);
});

test('leaks nothing when the tunnel device is deleted, and makes it anew', async () => {
  const sent = await floodDuring(3, () => world.router.run('ip', 'link', 'del', 'tun0').then(() => undefined));
  await recovers();
  assert.ok(sent > 1_000);
  assert.equal(await world.leaked(), 0);
});

test('leaks nothing when the firewall is flushed: the routing lock holds alone', async () => {
  const sent = await floodDuring(3, async () => {
    await world.router.run('nft', 'flush', 'ruleset');
    // Without a tunnel and without a firewall, only the routing lock is left.
    await world.router.run('kill', '-STOP', await pidOf('node-MainThread'));
    await world.router.run('ip', 'link', 'set', 'tun0', 'down');
    await sleep(1_500);
    await world.router.run('kill', '-CONT', await pidOf('node-MainThread'));
  });
  assert.ok(sent > 1_000);
  assert.equal(await world.leaked(), 0);
  // The rules and the device are put right before the probe gives the tunnel up.
  await recovers();
});

test('leaks nothing when the routing lock is removed: the firewall holds alone', async () => {
  const sent = await floodDuring(3, async () => {
    await world.router.run('kill', '-STOP', await pidOf('node-MainThread'));
    for (const preference of ['100', '101', '105', '110', '120', '130'])
      await world.router.run('ip', 'rule', 'del', 'pref', preference);
    // main now leads to the internet provider.
    await sleep(1_500);
    await world.router.run('kill', '-CONT', await pidOf('node-MainThread'));
    await world.router.run('kill', '-KILL', await pidOf('openvpn'));
  });
  assert.ok(sent > 1_000);
  assert.equal(await world.leaked(), 0);
  await recovers();
});

test('leaks nothing when the router itself is killed, and takes up its work when it is started again', async () => {
  const sent = await floodDuring(3, async () => {
    await world.router.run('kill', '-KILL', await pidOf('node-MainThread'));
    await router.process.exited;
  });
  assert.ok(sent > 1_000);
  assert.equal(await world.leaked(), 0);
  router = world.startRouter();
  await recovers();
});

test('leaks nothing over ten reconnects in a row', async () => {
  const flood = startFlood(world.client, addresses.web, ports.web, 8);
  for (let round = 0; round < 10; round += 1) {
    await world.router.run('kill', '-KILL', await pidOf('openvpn'));
    await router.untilUnhealthy();
    await router.untilHealthy();
  }
  assert.ok((await sentBy(flood)) > 1_000);
  assert.equal(await world.leaked(), 0);
});

test('repairs rules that somebody flushed and a network that came back, while the tunnel works', async () => {
  await world.router.run('nft', 'flush', 'ruleset');
  await world.router.run('ip', 'addr', 'flush', 'dev', 'eth0');
  await world.router.run('ip', 'addr', 'add', `${addresses.routerLan}/24`, 'dev', 'eth0');
  const fromMs = Date.now();
  while ((await askTcp(world.client, addresses.web, ports.web)) !== '10.8.0.2') {
    assert.ok(Date.now() - fromMs < 20_000, router.output());
    await sleep(500);
  }
  assert.match(router.output(), /the kernel was changed by somebody else/);
  assert.match(await world.router.run('nft', 'list', 'chain', 'inet', 'underbridge', 'forward'), /policy drop/);
  assert.equal(await world.leaked(), 0);
});

test('leaves nothing behind: one OpenVPN, one address, six rules', async () => {
  assert.equal((await pidsIn(world.router, 'openvpn')).length, 1);
  const rules = (await world.router.run('ip', 'rule')).split('\n').filter((line) => /^1[0-3]\d:/.test(line));
  assert.equal(rules.length, 6);
  const tun = await world.router.run('ip', '-4', '-o', 'addr', 'show', 'dev', 'tun0');
  assert.equal(tun.trim().split('\n').length, 1);
  await router.stop();
});
