// MODE=sidecar in network namespaces: ports of the tunnel and of the local network, and the rules by iptables. Reverse path
// checks are loose.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { answersOf, askDns, askTcp, startFlow } from './lab/client.ts';
import { until } from './lab/containers.ts';
import { startMiniupnpd } from './lab/miniupnpd.ts';
import { pidsIn } from './lab/namespace.ts';
import {
  dockerResolver,
  lan,
  makeSidecar,
  nothing,
  type Sidecar,
  tunnelAddress,
  withoutFrames,
} from './lab/sidecar.ts';
import { addresses, type RunningServer, startResolver } from './lab/world.ts';

let sidecar: Sidecar;
let server: RunningServer;

before(async () => {
  sidecar = await makeSidecar(2);
  server = await sidecar.startServer();
});
after(() => sidecar?.remove());

test('forwards named ports of the tunnel to local processes, and no others', async () => {
  const { startAnew, world } = sidecar;
  const { isp, server } = world;
  await startAnew({ PORT_FWD: '8080/tcp, 9000:8080' });
  assert.equal(await askTcp(server, tunnelAddress, 8080), addresses.tunnelServer);
  assert.equal(await askTcp(server, tunnelAddress, 9000), addresses.tunnelServer);
  const flow = startFlow(server, tunnelAddress, 9000, 1);
  await flow.exited;
  assert.ok(answersOf(flow).length > 3, flow.output());
  await isp.run('ip', 'route', 'replace', `${tunnelAddress}/32`, 'via', addresses.routerUplink);
  const closed = [
    [server, tunnelAddress, 9797],
    [server, tunnelAddress, 5300],
    [isp, tunnelAddress, 8080],
    [isp, addresses.routerUplink, 8080],
    [isp, addresses.routerUplink, 9000],
  ] as const;
  const answers = await Promise.all(closed.map(([from, address, port]) => askTcp(from, address, port)));
  for (const answer of answers) assert.match(answer, /^E/);
});

test('reaches the named part of the local network past the tunnel, and is reached from there', async () => {
  const { app, leakedDuring, startAnew, webSays, world } = sidecar;
  startResolver(world.isp, lan.address);
  assert.match(await askTcp(app, lan.address, lan.port), /^E/);
  await startAnew({
    LAN_ALLOW: `${lan.address}:tcp/${lan.port}`,
    LAN_ALLOW_IN: `${lan.address}:tcp/8080`,
    DNS_LOCAL: `lan.test=${lan.address}`,
  });
  assert.equal(await askTcp(app, lan.address, lan.port), addresses.routerUplink);
  assert.match(await askTcp(app, lan.address, lan.port + 1), /^E/);
  const calls = await world.isp.attempt(
    ...['curl', '-s', '-m', '2', '--http0.9', '--interface', lan.address, `http://${addresses.routerUplink}:8080`],
  );
  assert.equal(calls.output, lan.address);
  assert.match(await askTcp(world.isp, addresses.routerUplink, 8080), /^E/, 'from another address');
  const both = await askDns(app, dockerResolver, 'printer.lan.test');
  assert.deepEqual(both.split('\n').toSorted(), [addresses.resolver, lan.address].toSorted());
  assert.deepEqual(await leakedDuring(webSays), nothing);
});

for (const backend of ['iptables-nft', 'iptables-legacy'] as const) {
  test(`does the same by ${backend}`, async () => {
    const { app, leakedDuring, startAnew, untilProvenAfter, webSays, world } = sidecar;
    await startAnew({ FIREWALL: backend, PORT_FWD: '8080/tcp, 9000:8080' });
    assert.equal(await webSays(), tunnelAddress);
    for (const asked of ['9.9.9.9', dockerResolver]) assert.equal(await askDns(app, asked), addresses.resolver, asked);
    for (const port of [8080, 9000])
      assert.equal(await askTcp(world.server, tunnelAddress, port), addresses.tunnelServer);
    const killOpenvpn = async () => process.kill(Number((await pidsIn(app, 'openvpn'))[0]), 'SIGKILL');
    // There is no gate that could stop frames.
    assert.deepEqual(await leakedDuring(() => untilProvenAfter(killOpenvpn), withoutFrames), nothing);
  });
}

test('says whose port it is when a local process keeps the resolver from starting, and starts it after that', async () => {
  const { app, router, startAnew } = sidecar;
  await startAnew({});
  await router().stop();
  const taker = app.start(
    {},
    'node',
    '-e',
    `
    const socket = require('node:dgram').createSocket('udp4');
    socket.bind(5300, () => console.log('bound'));`,
  );
  await taker.says('bound');
  await startAnew({});
  await until('it says so', async () => JSON.stringify((await router().health()).dns).includes('port 5300'), 8_000);
  taker.kill('SIGKILL');
  await until('names resolve', async () => (await askDns(app, '9.9.9.9')) === addresses.resolver, 8_000);
});

test('forwards a port that the provider assigns to a local process', async () => {
  const { app, startAnew, world } = sidecar;
  await startMiniupnpd(world);
  await startAnew({ PORT_FWD_DYNAMIC: 'natpmp:8080/tcp' });
  const status = async () => JSON.parse(await app.run('curl', '-s', 'http://127.0.0.1:9797/status')).dynamicForward;
  await until('there is a port', async () => (await status()).port > 0, 8_000);
  const { port } = await status();
  const answers = async () => (await askTcp(world.isp, addresses.server, port)) === '203.0.113.1';
  await until('it is forwarded', answers, 8_000);
});

test('tells local processes that their connections are over when a tunnel has another address', async () => {
  const { app, router, startAnew, untilProvenAfter, world } = sidecar;
  const listen = `require('node:net').createServer(() => console.log('called')).listen(7777, '${addresses.web}')`;
  const called = world.server.start({}, 'node', '-e', listen);
  await startAnew({});
  const caller = app.start(
    {},
    'node',
    '-e',
    `
    require('node:net').connect(7777, '${addresses.web}')
      .on('error', ({ code }) => console.log(code)).on('close', () => console.log('closed'));`,
  );
  await called.says('called');
  await server.stop();
  await router().untilUnhealthy();
  await untilProvenAfter(() => world.startServer({ subnet: ['10.9.0.0', '255.255.255.0'] }));
  // It waits for data, so that nothing but the router tells it.
  await until('it is told', async () => caller.output().includes('ECONNABORTED'), 8_000);
});
