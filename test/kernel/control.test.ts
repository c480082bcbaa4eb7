import assert from 'node:assert/strict';
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { askTcp, startFlow } from './lab/client.ts';
import { type Endpoint, endpointOf } from './lab/endpoint.ts';
import { pidsIn } from './lab/namespace.ts';
import { addresses, makeWorld, ports, type RunningRouter, type World } from './lab/world.ts';

// The control: POST with a token. Root and network namespaces; real OpenVPN and nftables.
const token = 'canary-of-control-0123456789';

let world: World;
let router: RunningRouter;
let endpoint: Endpoint;
before(async () => {
  world = await makeWorld();
  endpoint = endpointOf(world);
  await writeFile(join(world.folder, 'token'), `${token}\n`);
  // The server compares with the other one.
  await copyFile(join(world.folder, 'credentials'), join(world.folder, 'login'));
  await copyFile(join(world.folder, 'client.ovpn'), join(world.folder, 'spare.ovpn'));
  await world.startServer();
  router = world.startRouter({
    CONFIG: ['client.ovpn', 'spare.ovpn'].map((name) => join(world.folder, name)).join(','),
    FAILBACK: 'off',
    OPENVPN_CREDENTIALS_FILE: join(world.folder, 'login'),
    CONTROL_TOKEN_FILE: join(world.folder, 'token'),
    HEALTH_ADDR: '0.0.0.0:9797',
  });
  await router.untilHealthy(30_000);
});
after(() => world?.remove());

function post(action: string, given = token) {
  return endpoint.post(action, given);
}

test('pauses: clients are refused, nothing leaves, until it is told to reconnect', async () => {
  const flow = startFlow(world.client, addresses.web, ports.web, 3, 20);
  await flow.exited;
  assert.equal((await post('pause')).code, 200);
  const { verdict, health } = await endpoint.status();
  assert.deepEqual([verdict.kind, health.healthy], ['paused', false]);
  await world.forgetLeaks();
  assert.match(await askTcp(world.client, addresses.web, ports.web), /^ECONNREFUSED \d{1,3}$/);
  assert.deepEqual([await pidsIn(world.router, 'openvpn'), await world.leaked()], [[], 0]);
  assert.deepEqual([(await post('reconnect')).code, (await router.untilHealthy()) > 0], [200, true]);
  assert.equal(await askTcp(world.client, addresses.web, ports.web), '10.8.0.2');
});

test('changes to the next profile, and reads profiles and credentials again', async () => {
  assert.equal((await post('next')).code, 200);
  await router.untilHealthy();
  assert.equal((await endpoint.status()).health.profile, 'spare.ovpn');
  const file = join(world.folder, 'login');
  const right = await readFile(file);
  await writeFile(file, 'somebody\nsomething else\n');
  assert.equal((await post('reload')).code, 200);
  await endpoint.until(({ health }) => health.cause?.code === 'auth-failed');
  await writeFile(file, 'one line only\n');
  const refused = await post('reload');
  assert.equal(refused.code, 409);
  assert.match(JSON.parse(refused.body).outcome, /^nothing was changed: 1 problem\n/);
  await writeFile(file, right);
  assert.equal((await post('reload')).code, 200);
  await router.untilHealthy();
});

test('does none of it for a wrong token, another method or another path, and writes down who asked', async () => {
  const before = await endpoint.status();
  const wrong = await post('pause', 'wrong');
  assert.ok(wrong.code === 401 && wrong.ms >= 1_000, JSON.stringify(wrong));
  assert.equal((await endpoint.request('/control/pause', '-X', 'POST')).code, 401);
  // As a page of somebody else would: no header of its own without asking first, and that is refused.
  assert.equal(
    (await endpoint.request('/control/pause', '-X', 'POST', '-d', `token=${token}`, '-H', 'origin: http://evil.test'))
      .code,
    401,
  );
  const asked = await endpoint.request(
    '/control/pause',
    '-i',
    '-X',
    'OPTIONS',
    '-H',
    'access-control-request-headers: authorization',
  );
  assert.ok(asked.code === 405 && !/access-control-allow/i.test(asked.body), asked.body);
  assert.equal((await endpoint.request(`/control/pause?token=${token}`)).code, 405);
  assert.equal((await post('explode')).code, 404);
  const { health, events } = await endpoint.status();
  assert.deepEqual([health.healthy, health.since], [true, before.health.since]);
  assert.ok(
    events.some(({ message, details }) => message.startsWith('control refused') && details.includes('from=127.0.0.1')),
  );
  assert.match(router.output(), /INFO: control \{"action":"pause","from":"127\.0\.0\.1"\}/);
});

test('is not made to forget or to write without end by whoever has no token', async () => {
  const before = await endpoint.status();
  const linesBefore = router.output().split('\n').length;
  const knock = `for n in $(seq 8); do
    curl -s -o /dev/null -m 5 -X POST -H 'authorization: Bearer wrong' http://${addresses.gateway}:9797/control/pause &
  done; wait`;
  const shots = 10;
  const fromMs = performance.now();
  for (let round = 0; round < shots; round += 1) await world.client.attempt('sh', '-c', knock);
  const { events } = await endpoint.until(({ events: seen }) =>
    seen.some(({ details }) => details.some((detail) => detail.includes(addresses.client))),
  );
  const refusals = events.filter(({ message }) => message.startsWith('control refused'));
  // A line at once, and one in each ten seconds; 4 are of what came before, and of the second that an answer takes.
  const most = 4 + Math.ceil((performance.now() - fromMs) / 10_000);
  assert.ok(refusals.length <= most, JSON.stringify(refusals));
  assert.ok(router.output().split('\n').length - linesBefore <= most + 4, router.output());
  const counted = refusals.flatMap(({ details }) =>
    details.map((each) => Number(/^requests=(\d+)$/.exec(each)?.[1] ?? 0)),
  );
  assert.ok(counted.reduce((sum, count) => sum + count, 0) >= 30, JSON.stringify(refusals));
  for (const { at, message } of before.events.filter(({ message }) => !message.startsWith('control refused')))
    assert.ok(
      events.some((event) => event.at === at && event.message === message),
      message,
    );
});
