// Root and network namespaces; real OpenVPN. The way between router and VPN server carries 1,300 bytes and no more: with
// errors that say so, and without (a black hole). Two MiB each way by TCP, through a UDP and a TCP tunnel.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { execa } from 'execa';
import { countStrays } from './lab/strays.ts';
import { addresses, makeWorld, type World } from './lab/world.ts';

const bulk = join(import.meta.dirname, 'lab/bulk.ts');
const port = 8088;
const whole = `${2 * 1024 * 1024}`;

let world: World;
let strays: () => Promise<number>;

before(async () => {
  world = await makeWorld();
  world.server.start({}, 'node', bulk, 'serve', `${port}`, addresses.web);
  for (const [network, device, own] of [
    ['203.0.113.0/24', 'to-server', '203.0.113.1'],
    ['198.51.100.0/24', 'to-router', addresses.isp],
  ] as const) {
    const way = [network, 'dev', device, 'proto', 'kernel', 'scope', 'link', 'src', own];
    await world.isp.run('ip', 'route', 'replace', ...way, 'mtu', 'lock', '1300');
  }
  strays = await countStrays(world);
});
after(() => world?.remove());

async function transfer(seconds = 15): Promise<Readonly<Record<'get' | 'put', string>>> {
  const one = async (mode: 'get' | 'put') =>
    (await world.client.attempt('node', bulk, mode, addresses.web, `${port}`, `${seconds}`)).output.trim();
  const [get, put] = await Promise.all([one('get'), one('put')]);
  return { get, put };
}

async function through(transport: 'udp' | 'tcp', env: Readonly<Record<string, string>>, work: () => Promise<void>) {
  const server = await world.startServer({ transport });
  const CONFIG = join(world.folder, transport === 'udp' ? 'client.ovpn' : 'client-tcp.ovpn');
  const router = world.startRouter({ CONFIG, ...env });
  try {
    await router.untilHealthy();
    await work();
    assert.equal((await router.health()).repairs, 0, router.output());
    assert.equal(await strays(), 0);
  } finally {
    await router.stop();
    await server.stop();
  }
}

async function whileBlackHole(work: () => Promise<void>) {
  const rules =
    'table inet hole { chain out { type filter hook output priority 0; icmp type destination-unreachable drop; }; }';
  await execa(...world.isp.argv('nft', '-f', '-'), { input: rules });
  // What it has learned of the way when that still told.
  await world.server.run('ip', 'route', 'flush', 'cache');
  try {
    await work();
  } finally {
    await world.isp.run('nft', 'delete', 'table', 'inet', 'hole');
  }
}

for (const transport of ['udp', 'tcp'] as const) {
  test(`goes both ways over a narrow path by ${transport}, without a setting`, async () => {
    await through(transport, {}, async () => assert.deepEqual(await transfer(), { get: whole, put: whole }));
  });

  test(`goes both ways through a black hole by ${transport}, with MTU`, async () => {
    await whileBlackHole(() =>
      through(transport, { MTU: '1200' }, async () => {
        assert.match(await world.router.run('ip', 'link', 'show', 'tun0'), /mtu 1200 /);
        assert.deepEqual(await transfer(), { get: whole, put: whole });
      }),
    );
  });
}

test('stalls in that black hole without it', async () => {
  await whileBlackHole(() =>
    through('udp', {}, async () => assert.deepEqual(await transfer(4), { get: 'stalled', put: 'stalled' })),
  );
});
