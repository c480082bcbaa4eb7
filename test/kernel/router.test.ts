import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { answersOf, askDns, askTcp, nextAnswer, startFlow } from './lab/client.ts';
import { assertInTime } from './lab/in-time.ts';
import { pidsIn } from './lab/namespace.ts';
import { addresses, makeWorld, ports, type RunningRouter, type RunningServer, type World } from './lab/world.ts';

// Root and network namespaces; real OpenVPN on both ends.
let world: World;
let server: RunningServer;
let router: RunningRouter;

before(async () => {
  world = await makeWorld();
  server = await world.startServer();
  router = world.startRouter({
    PORT_FWD: `${addresses.client}:8080, 9000:${addresses.other}:8080/udp, 9100-9101:${addresses.other}:8080-8081/tcp`,
  });
  await router.untilHealthy();
});
after(() => world.remove());

test('carries a client through the tunnel, with the tunnel as its address', async () => {
  assert.equal(await askTcp(world.client, addresses.web, ports.web), '10.8.0.2');
  assert.equal(await askTcp(world.other, addresses.web, ports.web), '10.8.0.2');
});

test('answers DNS by the enforced resolver, whatever server the client asks', async () => {
  for (const asked of ['9.9.9.9', '8.8.8.8', addresses.gateway, addresses.server]) {
    assert.equal(await askDns(world.client, asked), addresses.resolver, `udp to ${asked}`);
    assert.equal(await askDns(world.client, asked, '+tcp'), addresses.resolver, `tcp to ${asked}`);
  }
});

test('refuses DNS over TLS to another resolver at once', async () => {
  assert.match(await askTcp(world.client, '9.9.9.9', 853), /^E\w+ \d{1,3}$/);
});

test('answers a ping of the gateway address, and refuses everything else there at once', async () => {
  assert.equal((await world.client.attempt('ping', '-c1', '-W2', addresses.gateway)).exitCode, 0);
  assert.match(await askTcp(world.client, addresses.gateway, 9797), /^ECONNREFUSED \d{1,3}$/);
  assert.match(await askTcp(world.client, addresses.gateway, 22), /^ECONNREFUSED \d{1,3}$/);
});

test('forwards a port of the tunnel to a container, by tcp and udp, and with another port inside', async () => {
  assert.equal(await askTcp(world.server, '10.8.0.2', 8080), '10.8.0.1');
  assert.equal(await askTcp(world.server, '10.8.0.2', 9100), '10.8.0.1');
  const flow = startFlow(world.server, '10.8.0.2', 9000, 1);
  await flow.exited;
  assert.ok(answersOf(flow).length > 3, flow.output());
});

test('opens no other port of the tunnel, and none on the uplink', async () => {
  for (const inside of ['10.8.0.2/32', '172.22.0.0/24'])
    await world.isp.run('ip', 'route', 'add', inside, 'via', addresses.routerUplink);
  const closed = [
    [world.server, '10.8.0.2', 9797],
    [world.server, '10.8.0.2', 8081],
    [world.isp, '10.8.0.2', 8080],
    [world.isp, addresses.routerUplink, 8080],
    [world.isp, addresses.client, ports.web],
  ] as const;
  const answers = await Promise.all(closed.map(([from, address, port]) => askTcp(from, address, port)));
  for (const answer of answers) assert.match(answer, /^E/);
});

test("does not let a client reach the VPN server's own address outside the tunnel", async () => {
  // The address is in the server's namespace, so it answers through the tunnel too; what counts is the way.
  const before = await world.leaked();
  await askTcp(world.client, addresses.server, ports.web);
  await askTcp(world.client, addresses.isp, 80);
  assert.equal(await world.leaked(), before);
});

test('clamps the segment size to what the tunnel carries', async () => {
  const capture = world.server.start(
    {},
    'timeout',
    '30',
    'tcpdump',
    '-lni',
    'tun0',
    '-c1',
    'tcp[tcpflags] & tcp-syn != 0',
  );
  await capture.says('listening on');
  await askTcp(world.client, addresses.web, ports.web);
  await capture.exited;
  const mss = Number(/mss (\d+)/.exec(capture.output())?.[1]);
  const mtu = Number(/mtu (\d+)/.exec(await world.router.run('ip', 'link', 'show', 'tun0'))?.[1]);
  assert.ok(mss <= mtu - 40, `mss ${mss}, mtu ${mtu}`);
});

test('shows nothing of a client with a forged or invalid packet beyond the tunnel', async () => {
  await world.client.run('ip', 'addr', 'add', '192.168.77.7/32', 'dev', 'eth0');
  const capture = world.server.start(
    {},
    'tcpdump',
    '-lni',
    'tun0',
    'src',
    'net',
    '172.22.0.0/24',
    'or',
    'src',
    'host',
    '192.168.77.7',
  );
  await capture.says('listening on');
  await world.client.attempt('ping', '-c2', '-W1', '-I', '192.168.77.7', addresses.web);
  capture.kill('SIGTERM');
  await capture.exited;
  assert.match(capture.output(), /^0 packets captured/m);
});

test('runs OpenVPN as a user of its own without any capability, and with no secret in its arguments', async () => {
  const [pid] = await pidsIn(world.router, 'openvpn');
  const status = await world.router.run('cat', `/proc/${pid}/status`);
  assert.match(status, /^Uid:\s+975\s+975\s+975/m);
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb']) assert.match(status, new RegExp(`^${set}:\\s+0+$`, 'm'));
  assert.match(status, /^NoNewPrivs:\s+1$/m);
  const args = await world.router.run('cat', `/proc/${pid}/cmdline`);
  assert.ok(!args.includes('s#é') && !args.includes('BEGIN'), args);
});

test('tells state, remote and exit interface at /healthz, and is ready', async () => {
  const { healthy, state, remote, exitInterface, ready } = await router.health();
  assert.deepEqual(
    { healthy, state, remote, exitInterface, ready },
    { healthy: true, ready: true, state: 'up', remote: `${addresses.server}:1194/udp`, exitInterface: 'tun0' },
  );
});

test('passes the health check of the image, in milliseconds', async () => {
  const check = `${world.folder}/underbridge/healthcheck`;
  await assertInTime(1_000, async () => {
    const fromMs = performance.now();
    const { exitCode, output } = await world.router.attempt(check);
    assert.equal(exitCode, 0, output);
    return performance.now() - fromMs;
  });
});

test('notices a silently dead server, tells clients at once, and takes up the flow when it returns', async () => {
  const flow = startFlow(world.client, addresses.web, ports.web, 25);
  assert.ok(await nextAnswer(flow, 0, 5_000), 'the flow runs before');
  await server.stop();
  assert.ok((await router.untilUnhealthy(10_000)) < 10_000);
  assert.match(await askTcp(world.client, addresses.web, ports.web), /^ECONNREFUSED \d{1,3}$/);
  assert.match(await askDns(world.client, '9.9.9.9'), /unreachable|refused|no servers/);
  const { exitCode } = await world.router.attempt(`${world.folder}/underbridge/healthcheck`);
  assert.equal(exitCode, 1);
  const returnedMs = Date.now();
  server = await world.startServer();
  assert.ok((await router.untilHealthy(10_000)) < 10_000);
  assert.ok(await nextAnswer(flow, returnedMs, 5_000), 'the same flow runs again');
  flow.kill('SIGKILL');
  assert.equal(await world.leaked(), 0);
});

test('logs no secret', () => {
  const output = router.output();
  for (const secret of ['s#é', 'us er', 'PRIVATE KEY', 'BEGIN CERTIFICATE'])
    assert.ok(!output.includes(secret), secret);
});

test('stops within two seconds of SIGTERM, with both locks in place', async () => {
  await assertInTime(2_000, async () => {
    if ((await router.health()).ready !== true) router = world.startRouter();
    await router.untilHealthy();
    const { exitCode, tookMs } = await router.stop();
    assert.equal(exitCode, 0, router.output());
    return tookMs;
  });
  assert.match(await world.router.run('nft', 'list', 'chain', 'inet', 'underbridge', 'forward'), /policy drop/);
  assert.match(await world.router.run('ip', 'rule'), /110:\tnot from all iif lo unreachable/);
  assert.match(await world.router.run('ip', 'route', 'show', 'table', '7101'), /^unreachable default/);
  assert.deepEqual(await pidsIn(world.router, 'openvpn'), []);
});
