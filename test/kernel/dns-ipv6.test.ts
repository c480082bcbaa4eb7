// Root and network namespaces; real OpenVPN, and unbound on both ends. A resolver of the router's own for clients with IPv6.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { askDns, askTcp, startFlood } from './lab/client.ts';
import { until } from './lab/containers.ts';
import { makeDotPki, startDotResolver } from './lab/dot.ts';
import { addIpv6, ipv6Addresses, ipv6Server } from './lab/ipv6.ts';
import { pidsIn } from './lab/namespace.ts';
import { addresses, makeWorld, ports, type RunningRouter, type RunningServer, type World } from './lab/world.ts';

const { gateway, web, tunnel } = ipv6Addresses;
const dotAnswer = '10.0.0.53';
const carried = { IPV6: 'tunnel', IP6_ADDR: `${gateway}/64` };

let world: World;
let server: RunningServer;
let router: RunningRouter;

const startServer = () => world.startServer(ipv6Server({ over: 'ipv4', transport: 'udp' }));

before(async () => {
  world = await makeWorld();
  await addIpv6(world);
  const { folder } = world;
  const pki = await makeDotPki(folder);
  const dot = { address: addresses.resolver, port: 853, certificate: pki.good, answer: dotAnswer, folder };
  [server] = await Promise.all([startServer(), startDotResolver(world.server, dot)]);
  router = world.startRouter({
    ...carried,
    DNS: `tls://${addresses.resolver}#dot.test`,
    DNS_CA_FILE: `${pki.authority}.crt`,
  });
  await router.process.says('IPv6 gateway address claimed');
  await router.untilHealthy();
});
after(() => world?.remove());

/** Whatever server a client asks, by each family. */
const asked = ['2620:fe::9', gateway, web, '9.9.9.9', addresses.gateway];

async function isAnswered(answer: string, servers: readonly string[] = asked): Promise<void> {
  for (const each of servers) {
    await until(`udp to ${each}`, async () => (await askDns(world.client, each)) === answer, 5_000);
    assert.equal(await askDns(world.client, each, '+tcp'), answer, `tcp to ${each}`);
  }
}

test('answers questions over IPv6 by the resolver with TLS, whatever server is asked', async () => {
  await isAnswered(dotAnswer);
  assert.equal(await world.leaked(), 0);
});

test("answers the router's own name with its IPv6 address, and that address backwards", async () => {
  const dig = async (...question: readonly string[]) =>
    (await world.client.attempt('dig', '+short', '+time=2', '+tries=1', '@2620:fe::9', ...question)).output.trim();
  assert.equal(await dig('AAAA', 'underbridge.internal'), gateway);
  assert.equal(await dig('-x', gateway), 'underbridge.internal.');
});

test('refuses encrypted DNS over IPv6, and questions past the redirection', async () => {
  assert.match(await askTcp(world.client, '2620:fe::9', 853), /^E\w+ \d{1,3}$/);
  assert.match(await askTcp(world.client, gateway, 5300), /^ECONNREFUSED \d{1,3}$/);
});

test('answers nothing and sends nothing while there is no tunnel, and answers again with the next one', async () => {
  const questions = `while :; do for at in ${asked.join(' ')}; do dig +short +time=1 +tries=1 @$at x.test; done; done`;
  const asking = world.client.start({}, 'sh', '-c', questions);
  const flood = startFlood(world.other, web, ports.web, 30);
  await server.stop();
  await router.untilUnhealthy();
  assert.match(await askDns(world.client, '2620:fe::9'), /unreachable|refused|no servers|timed out/);
  await until('no resolver runs', async () => (await pidsIn(world.router, 'unbound')).length === 0, 5_000);
  server = await startServer();
  await router.untilHealthy();
  await isAnswered(dotAnswer);
  asking.kill('SIGKILL');
  flood.kill('SIGTERM');
  assert.equal(await askTcp(world.client, web, ports.web), tunnel);
  assert.equal(await world.leaked(), 0);
});

test('is put right when somebody else takes its address or its rules of IPv6 away', async () => {
  await world.router.run('ip', 'addr', 'del', `${gateway}/64`, 'dev', 'eth0');
  await world.router.run('nft', 'flush', 'table', 'ip6', 'underbridge_nat');
  await router.process.says('repaired');
  await isAnswered(dotAnswer);
  assert.equal(await world.leaked(), 0);
});

test('answers over IPv4 and refuses questions over IPv6, as all of IPv6, where the server gives no such address', async () => {
  await server.stop();
  await router.untilUnhealthy();
  server = await world.startServer();
  await router.untilHealthy();
  await isAnswered(dotAnswer, ['9.9.9.9', addresses.gateway]);
  for (const each of ['2620:fe::9', gateway])
    assert.match(await askDns(world.client, each), /unreachable|refused|no servers|prohibited/);
  assert.match(await askTcp(world.client, web, ports.web), /^ECONNREFUSED \d{1,3}$/);
  assert.equal(await world.leaked(), 0);
  assert.equal((await router.stop()).exitCode, 0);
});

test('asks the resolver that the server pushed over IPv4 where it pushes both, with DNS_CACHE on', async () => {
  await server.stop();
  server = await startServer();
  router = world.startRouter({ ...carried, DNS_CACHE: 'on' });
  await router.process.says('IPv6 gateway address claimed');
  await router.untilHealthy();
  await isAnswered(addresses.resolver);
  assert.equal(await world.leaked(), 0);
});
