// Root and network namespaces; real OpenVPN on both ends. `IPV6: tunnel`, with the server reached over IPv6.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { answersOf, askDns, askTcp, startFlow } from './lab/client.ts';
import { addIpv6, ipv6Addresses, ipv6Server, writeProfile } from './lab/ipv6.ts';
import { addresses, makeWorld, ports, type RunningRouter, type RunningServer, type World } from './lab/world.ts';

const { client, other, web, resolver, tunnel, tunnelServer, gateway } = ipv6Addresses;

let world: World;
let server: RunningServer;
let router: RunningRouter;

before(async () => {
  world = await makeWorld();
  await addIpv6(world);
  server = await world.startServer(ipv6Server({ over: 'ipv6', transport: 'udp' }));
  const CONFIG = await writeProfile(world, {
    name: 'ipv6.ovpn',
    remote: `remote ${ipv6Addresses.server} ${ports.openvpn}`,
    transport: 'udp',
  });
  router = world.startRouter({
    CONFIG,
    IPV6: 'tunnel',
    IP6_ADDR: `${gateway}/64`,
    PORT_FWD: `${addresses.client}:8080, [${client}]:8080, 9000:[${other}]:8080/udp`,
  });
  await router.process.says('IPv6 gateway address claimed');
  await router.untilHealthy();
});
after(() => world?.remove());

test("carries a client's IPv6 through the tunnel, with the tunnel as its address", async () => {
  assert.equal(await askTcp(world.client, web, ports.web), tunnel);
  assert.equal(await askTcp(world.client, addresses.web, ports.web), '10.8.0.2');
  assert.equal((await world.other.attempt('ping', '-c1', '-W2', web)).exitCode, 0);
});

test('answers DNS over IPv6 by the enforced resolver, whatever server the client asks', async () => {
  for (const asked of ['2620:fe::9', gateway, ipv6Addresses.server]) {
    assert.equal(await askDns(world.client, asked, '-t', 'AAAA'), resolver, `udp to ${asked}`);
    assert.equal(await askDns(world.client, asked, '-t', 'AAAA', '+tcp'), resolver, `tcp to ${asked}`);
  }
  assert.match(await askTcp(world.client, '2620:fe::9', 853), /^E\w+ \d{1,3}$/);
});

test('forwards one port of the tunnel to a container by each family, and opens no other', async () => {
  assert.equal(await askTcp(world.server, tunnel, 8080), tunnelServer);
  assert.equal(await askTcp(world.server, '10.8.0.2', 8080), '10.8.0.1');
  const flow = startFlow(world.server, tunnel, 9000, 1);
  await flow.exited;
  assert.ok(answersOf(flow).length > 3, flow.output());
  await world.isp.run('ip', 'route', 'add', `${tunnel}/128`, 'via', ipv6Addresses.routerUplink);
  await world.isp.run('ip', 'route', 'add', 'fd00:7722::/64', 'via', ipv6Addresses.routerUplink);
  const others = [tunnel, ipv6Addresses.routerUplink, client].map((address) => askTcp(world.isp, address, 8080));
  for (const answer of await Promise.all([askTcp(world.server, tunnel, 9797), ...others])) assert.match(answer, /^E/);
});

test('answers a ping of the gateway address, and refuses everything else there at once', async () => {
  assert.equal((await world.client.attempt('ping', '-c1', '-W2', gateway)).exitCode, 0);
  assert.match(await askTcp(world.client, gateway, 9797), /^ECONNREFUSED \d{1,3}$/);
});

test('clamps the segment size to what the tunnel carries', async () => {
  const capture = world.server.start(
    {},
    ...['timeout', '30', 'tcpdump', '-lni', 'tun0', '-c1', 'ip6 and ip6[6] = 6 and ip6[53] & 2 != 0'],
  );
  await capture.says('listening on');
  await askTcp(world.client, web, ports.web);
  await capture.exited;
  const mss = Number(/mss (\d+)/.exec(capture.output())?.[1]);
  const mtu = Number(/mtu (\d+)/.exec(await world.router.run('ip', 'link', 'show', 'tun0'))?.[1]);
  assert.ok(mss <= mtu - 60, `mss ${mss}, mtu ${mtu}`);
});

test('tells at /healthz that IPv6 is carried', async () => {
  const { ipv6, tunnelIpv6Address } = await router.health();
  assert.deepEqual({ ipv6, tunnelIpv6Address }, { ipv6: 'carried', tunnelIpv6Address: tunnel });
});

test('puts back what somebody takes away of its IPv6', async () => {
  await world.router.run('ip', '-6', 'rule', 'flush');
  await world.router.run('ip', '-6', 'route', 'flush', 'table', '7101');
  await world.router.run('ip', 'addr', 'del', `${gateway}/64`, 'dev', 'eth0');
  await world.router.run('nft', 'flush', 'table', 'ip6', 'underbridge_nat');
  await world.router.run('sysctl', '-qw', 'net.ipv6.conf.all.forwarding=0');
  await router.process.says('repaired');
  // The address is asked for again by the kernel before it is used.
  for (let tries = 0; tries < 20; tries += 1) if ((await askTcp(world.client, web, ports.web)) === tunnel) return;
  assert.fail(router.output());
});

test('forgets flows of IPv6 when the tunnel is lost, refuses them at once, and takes them up again', async () => {
  const flow = startFlow(world.client, web, ports.web, 12);
  await server.stop();
  await router.untilUnhealthy();
  const lostMs = Date.now();
  assert.match(await askTcp(world.client, web, ports.web), /^ECONNREFUSED \d{1,3}$/);
  assert.equal((await router.health()).ipv6, 'refused');
  const { output } = await world.router.attempt('conntrack', '-L', '-f', 'ipv6');
  assert.doesNotMatch(output, new RegExp(`src=${tunnel} `));
  server = await world.startServer(ipv6Server({ over: 'ipv6', transport: 'udp' }));
  await router.untilHealthy();
  await flow.exited;
  assert.ok(
    answersOf(flow).some((ms) => ms > lostMs),
    'the same flow runs again',
  );
});

test('refuses IPv6 at once where the server gives no address, and says so', async () => {
  await server.stop();
  await router.untilUnhealthy();
  server = await world.startServer({ args: ['--local', ipv6Addresses.server, '--proto', 'udp6'] });
  await router.untilHealthy();
  assert.match(router.output(), /the server gave no IPv6 address/);
  assert.match(await askTcp(world.client, web, ports.web), /^ECONNREFUSED \d{1,3}$/);
  assert.match(await askDns(world.client, '2620:fe::9'), /unreachable|refused|no servers|prohibited/);
  assert.equal((await router.health()).ipv6, 'refused');
  assert.equal(await askTcp(world.client, addresses.web, ports.web), '10.8.0.2');
});

test('has let nothing out past the tunnel, and stops with both locks in place', async () => {
  assert.equal(await world.leaked(), 0);
  assert.equal((await router.stop()).exitCode, 0, router.output());
  assert.match(await world.router.run('ip', '-6', 'rule'), /110:\tnot from all iif lo unreachable/);
  assert.match(await world.router.run('ip', '-6', 'route', 'show', 'table', '7101'), /^unreachable default/);
});
