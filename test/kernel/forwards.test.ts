import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Containers, startContainers, startNamed, startTalk, until, whoAnswers } from './lab/containers.ts';
import type { LabProcess } from './lab/namespace.ts';
import { addresses, makeWorld, type RunningRouter, type RunningServer, type World } from './lab/world.ts';

// Root and network namespaces; real OpenVPN on both ends, and dnsmasq in the place of Docker's resolver.
const tunnel = '10.8.0.2';
/** What the issue allows a container that moves. */
const followMs = 5_000;
let world: World;
let containers: Containers;
let server: RunningServer;
let router: RunningRouter;

before(async () => {
  world = await makeWorld();
  containers = await startContainers(world);
  server = await world.startServer();
  startNamed(world.client, 'client', 8081);
  startNamed(world.other, 'other', 8081);
  router = world.startRouter({
    PORT_FWD: `web:8081            # both protocols
      9000-9001:web:8081-8082/udp
      9100:${addresses.other}:8081/tcp`,
    PORT_FWD_HAIRPIN: 'on',
  });
  await router.untilHealthy();
});
after(async () => {
  await containers?.remove();
  await world?.remove();
});

const fromOutside = () => whoAnswers(world.server, tunnel, 8081);
const forwards = () => world.router.run('nft', 'list', 'map', 'ip', 'underbridge_nat', 'forwards');

test('waits for a container that is absent, while the others are forwarded', async () => {
  assert.equal(await whoAnswers(world.server, tunnel, 9100), 'other');
  assert.equal(await fromOutside(), 'TIMEOUT');
  assert.ok(containers.asked().includes('web'));
});

test('forwards to a container as soon as it is there', async (t) => {
  await containers.place({ web: addresses.client });
  const tookMs = await until('web is forwarded', async () => (await fromOutside()) === 'client', followMs);
  t.diagnostic(`there after ${Math.round(tookMs)} ms`);
});

let talk: LabProcess;

test('follows a container that moves, with flows that are open, and changes nothing but those elements', async (t) => {
  talk = startTalk(world.server, tunnel, 9000);
  await talk.says('client');
  const monitor = world.router.start({}, 'nft', 'monitor');
  await containers.place({ web: addresses.other });
  const tookMs = await until('the flow is answered by the other', () => talk.output().includes('other'), followMs);
  t.diagnostic(`followed after ${Math.round(tookMs)} ms`);
  assert.equal(await fromOutside(), 'other');
  await until('the monitor tells of it', () => monitor.output().includes('add element'), 2_000);
  monitor.kill('SIGTERM');
  assert.match(monitor.output(), /delete element ip underbridge_nat forwards/);
  assert.doesNotMatch(monitor.output(), /(add|delete) (table|chain) /);
  assert.doesNotMatch(monitor.output(), /inet underbridge/);
});

test('takes what it changed for its own, and puts right what somebody else changes of it', async () => {
  assert.equal((await router.health()).repairs, 0);
  await world.router.run('nft', 'delete element ip underbridge_nat forwards { tcp . 8081 }');
  await until('it is repaired', async () => (await router.health()).repairs === 1, followMs);
  await until('it is forwarded again', async () => (await fromOutside()) === 'other', followMs);
});

test('reaches a forwarded port from a client by the address of the tunnel, and no other port there', async () => {
  assert.equal(await whoAnswers(world.client, tunnel, 8081), 'other');
  // The container itself gets its answer, too.
  assert.equal(await whoAnswers(world.other, tunnel, 9100), 'other');
  assert.equal(await whoAnswers(world.client, tunnel, 8082), 'ECONNREFUSED');
  assert.equal(await whoAnswers(world.client, addresses.gateway, 8081), 'ECONNREFUSED');
});

test('forwards again after the tunnel was lost, the same flow with it', async () => {
  await server.stop();
  await router.untilUnhealthy();
  server = await world.startServer();
  await router.untilHealthy();
  const heard = talk.output().length;
  await until('the flow goes on', () => talk.output().length > heard, followMs);
  assert.equal(await fromOutside(), 'other');
});

test('leaves an address to nobody when its container has gone', async () => {
  await containers.place({});
  await until('nothing leads there', async () => !(await forwards()).includes('8081 :'), followMs);
  assert.doesNotMatch(await forwards(), /udp \. 900/);
  assert.equal(await whoAnswers(world.server, tunnel, 9100), 'other');
});

test('takes no address outside of the isolated network', async () => {
  const before = containers.asked().length;
  const wrong = [addresses.isp, addresses.web, addresses.gateway, '172.22.0.255', '172.22.0.0'];
  await containers.place({ web: wrong.join(' web\n') });
  await until('it was asked for twice', () => containers.asked().length >= before + 2, followMs);
  assert.doesNotMatch(await forwards(), /udp \. 900/);
});

test('lets nothing out past the tunnel in all of it', async () => {
  assert.equal(await world.leaked(), 0);
});

test('does not start with a name that Docker would ask elsewhere', async () => {
  await router.stop();
  await containers.setNdots(0);
  const refused = world.startRouter({ PORT_FWD: 'web:8081' });
  const { exitCode } = await refused.process.exited;
  assert.equal(exitCode, 1);
  assert.match(refused.output(), /dns_opt: \['ndots:1'\]/);
});
