// Root and network namespaces; real OpenVPN over IPv6. The uplink has no IPv6 address at the start: a router of the
// provider's, dnsmasq, advertises one later, and changes what it advertises.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { until } from '../leaks/ground.ts';
import { askTcp } from './lab/client.ts';
import { addIpv6, ipv6Addresses, ipv6Server, writeProfile } from './lab/ipv6.ts';
import type { LabProcess } from './lab/namespace.ts';
import { countStrays } from './lab/strays.ts';
import { addresses, makeWorld, ports, type RunningRouter, type World } from './lab/world.ts';

let world: World;
let router: RunningRouter;
let strays: () => Promise<number>;
let advertiser: LabProcess | undefined;

/** The prefix is good for so many seconds. */
async function advertise(seconds: number): Promise<void> {
  advertiser?.kill('SIGKILL');
  await advertiser?.exited;
  advertiser = world.isp.start(
    {},
    'dnsmasq',
    ...['--no-daemon', '--no-resolv', '--no-hosts', '--conf-file=/dev/null', '--port=0', '--enable-ra'],
    ...['--leasefile-ro', '--interface=to-router', '--ra-param=to-router,4,600'],
    `--dhcp-range=2001:db8:198::,ra-only,64,${seconds}`,
  );
  await advertiser.says('started');
}

async function uplinkAddresses(): Promise<string> {
  return world.router.run('ip', '-6', 'addr', 'show', 'dev', 'eth1', 'scope', 'global');
}

before(async () => {
  world = await makeWorld();
  await addIpv6(world);
  await world.router.run('ip', '-6', 'route', 'del', 'default', 'dev', 'eth1');
  await world.router.run('ip', 'addr', 'del', `${ipv6Addresses.routerUplink}/64`, 'dev', 'eth1');
  await world.startServer(ipv6Server({ over: 'ipv6', transport: 'udp' }));
  const CONFIG = await writeProfile(world, {
    name: 'advertised.ovpn',
    remote: `remote ${ipv6Addresses.server} ${ports.openvpn}`,
    transport: 'udp',
  });
  strays = await countStrays(world);
  router = world.startRouter({ CONFIG });
});
after(async () => {
  advertiser?.kill('SIGKILL');
  await world?.remove();
});

const log = async () => router.output();

test('takes an address and a next hop that are advertised after the start', async () => {
  await until(async () => router.output().includes('gateway address claimed'), 10_000, log);
  assert.equal(await uplinkAddresses(), '');
  await advertise(3_600);
  await router.untilHealthy(30_000);
  assert.match(await uplinkAddresses(), /2001:db8:198:.* dynamic/);
  assert.equal(await askTcp(world.client, addresses.web, ports.web), '10.8.0.2');
  const route = await world.router.run('ip', '-6', 'route', 'show', 'table', '7105');
  assert.match(route, new RegExp(`${ipv6Addresses.server} via fe80::`));
  assert.equal(await strays(), 0);
});

test('goes on when it is advertised with another lifetime', async () => {
  const attempts = Number((await router.health()).attempts);
  await advertise(9_000);
  await until(async () => Number(/valid_lft (\d+)sec/.exec(await uplinkAddresses())?.[1]) > 3_600, 20_000, log);
  assert.equal(await askTcp(world.client, addresses.web, ports.web), '10.8.0.2');
  const health = await router.health();
  assert.equal(health.healthy, true);
  assert.deepEqual({ attempts: health.attempts, repairs: health.repairs }, { attempts, repairs: 0 }, router.output());
  assert.equal(await strays(), 0);
});
