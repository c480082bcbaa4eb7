// Root and network namespaces; real OpenVPN on both ends, and dnsmasq in the place of Docker's resolver. `PORT_FWD` by name
// where clients have IPv6.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Containers, startContainers, startNamed, startTalk, until, whoAnswers } from './lab/containers.ts';
import { addIpv6, ipv6Addresses, ipv6Server } from './lab/ipv6.ts';
import type { LabProcess } from './lab/namespace.ts';
import { addresses, makeWorld, type RunningRouter, type RunningServer, type World } from './lab/world.ts';

const { client, other, tunnel, gateway } = ipv6Addresses;
const tunnel4 = '10.8.0.2';
/** What the issue allows a container that moves. */
const followMs = 5_000;
let world: World;
let containers: Containers;
let server: RunningServer;
let router: RunningRouter;

const startServer = () => world.startServer(ipv6Server({ over: 'ipv4', transport: 'udp' }));

before(async () => {
  world = await makeWorld();
  await addIpv6(world);
  containers = await startContainers(world);
  server = await startServer();
  startNamed(world.client, 'client', 8081);
  startNamed(world.other, 'other', 8081);
  router = world.startRouter({
    IPV6: 'tunnel',
    IP6_ADDR: `${gateway}/64`,
    PORT_FWD: 'web:8081, 9000-9001:web:8081-8082/udp',
  });
  await router.process.says('IPv6 gateway address claimed');
  await router.untilHealthy();
});
after(async () => {
  await containers?.remove();
  await world?.remove();
});

const over6 = () => whoAnswers(world.server, tunnel, 8081);
const over4 = () => whoAnswers(world.server, tunnel4, 8081);
/** One name at several addresses. */
const placeWeb = (...at: readonly string[]) => containers.place(at.length === 0 ? {} : { web: at.join(' web\n') });
const rules = () => world.router.run('nft', 'list', 'table', 'ip6', 'underbridge_nat');

test('waits for a container that is absent', async () => {
  assert.equal(await over6(), 'TIMEOUT');
  assert.ok(containers.asked().includes('web'));
});

test('forwards to a container by each family that it has', async () => {
  await placeWeb(addresses.client, client);
  await until('web is forwarded', async () => (await over6()) === 'client', followMs);
  assert.equal(await over4(), 'client');
  await placeWeb(client);
  await until('IPv4 leads nowhere', async () => (await over4()) !== 'client', followMs);
  assert.equal(await over6(), 'client');
  const [web] = (
    JSON.parse((await world.router.attempt('curl', '-s', 'http://127.0.0.1:9797/status')).output) as {
      forwards: readonly { addresses?: readonly string[] }[];
    }
  ).forwards;
  assert.deepEqual(web?.addresses, [client]);
});

let talk: LabProcess;

test('follows a container that moves, with flows that are open', async (t) => {
  talk = startTalk(world.server, tunnel, 9000);
  await talk.says('client');
  await placeWeb(addresses.other, other);
  const tookMs = await until('the flow is answered by the other', () => talk.output().includes('other'), followMs);
  t.diagnostic(`followed after ${Math.round(tookMs)} ms`);
  assert.deepEqual([await over6(), await over4()], ['other', 'other']);
});

test('puts right what somebody else changes of it', async () => {
  await world.router.run('nft', 'delete element ip6 underbridge_nat forwards { tcp . 8081 }');
  await until('it is repaired', async () => Number((await router.health()).repairs) >= 1, followMs);
  await until('it is forwarded again', async () => (await over6()) === 'other', followMs);
});

test('forwards again after the tunnel was lost, the same flow with it', async () => {
  await server.stop();
  await router.untilUnhealthy();
  server = await startServer();
  await router.untilHealthy();
  const heard = talk.output().length;
  await until('the flow goes on', () => talk.output().length > heard, followMs);
  assert.equal(await over6(), 'other');
});

test('takes no address outside of the isolated network, nor that of the gateway', async () => {
  const before = containers.asked().length;
  await placeWeb(ipv6Addresses.isp, ipv6Addresses.web, gateway, 'fd00:7723::128');
  await until('it was asked for twice', () => containers.asked().length >= before + 4, followMs);
  await until('nothing leads there', async () => !/8081 :|dnat to .* map/.test(await rules()), followMs);
  assert.notEqual(await over6(), 'other');
});

test('has let nothing out past the tunnel', async () => {
  assert.equal(await world.leaked(), 0);
});
