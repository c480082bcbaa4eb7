// The leak matrix of test/leaks in network namespaces: every row, each a few times. `npm run test:leaks` takes the full
// number of repetitions, which is minutes more. FIREWALL=iptables-nft or iptables-legacy has the rules loaded that way.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openCatcher } from '../leaks/catcher.ts';
import { backends } from '../leaks/firewall.ts';
import { findLink, type Ground, makeNaive, until } from '../leaks/ground.ts';
import { runRow, sum } from '../leaks/matrix.ts';
import { type Row, rows, takeLock } from '../leaks/rows.ts';
import { type Scene, trafficNames } from '../leaks/traffic.ts';
import { askTcp } from './lab/client.ts';
import { pidsIn } from './lab/namespace.ts';
import { addresses, hardwareAddress, makeWorld, ports, type RunningRouter, type World } from './lab/world.ts';

const isWhole = process.env.LEAKS === 'whole';
const backend = backends.find((name) => name === process.env.FIREWALL) ?? 'nft';

let world: World;
let ground: Ground;

before(async () => {
  world = await makeWorld();
  ground = await layGround();
  await ground.server.start();
  await ground.boot();
  await ground.untilCarried();
});
after(async () => {
  await world?.remove();
});

// What a row would look like that does not hold.
const broken: readonly { readonly what: string; readonly least: number; readonly make: () => Promise<void> }[] = [
  {
    what: 'packets when both locks are away',
    least: 300,
    make: async () => {
      const putBack = await takeLock(ground, 'routes');
      await sleep(1_000);
      await putBack();
    },
  },
  {
    what: "errors of the router's own that quote a client's packet",
    least: 1,
    make: async () => {
      await world.router.run('ip', 'rule', 'del', 'pref', '105');
      await world.router.run('ip', 'link', 'del', 'tun0');
      await sleep(1_000);
    },
  },
];
for (const { what, least, make } of broken) {
  test(`counts and shows ${what}`, async () => {
    const row: Row = {
      group: 'locks',
      event: what,
      kinds: trafficNames,
      times: { whole: 1 },
      without: 'firewall',
      make,
    };
    const { client, lines, faults } = await runRow(ground, row, 1);
    assert.ok(client >= least && lines.length >= least, `${client} counted, ${lines.length} captured`);
    assert.equal(faults.length, 1, `${faults}`);
    await ground.boot();
    await ground.untilCarried();
  });
}

for (const row of rows.filter(({ only }) => only === undefined)) {
  test(`leaks nothing: ${row.event}`, async (t) => {
    const times = isWhole ? row.times.whole : (row.times.fast ?? 1);
    const { sent, faults, lines, client, router, tookMs } = await runRow(ground, row, times);
    t.diagnostic(`${client} + ${router} of ${sum(sent)} packets leaked, ${Math.round(tookMs)} ms`);
    assert.deepEqual(faults, [], [...lines.slice(0, 5), await ground.log()].join('\n'));
  });
}

async function layGround(): Promise<Ground> {
  const { client, isp, router, server } = world;
  const scene: Scene = {
    client: addresses.client,
    other: addresses.other,
    gateway: addresses.gateway,
    routerUplink: addresses.routerUplink,
    isp: addresses.isp,
    server: addresses.server,
    serverPort: ports.openvpn,
    web: '203.0.113.80',
    resolver: '203.0.113.53',
    tunnel: '10.8.0.2',
    caller: { address: addresses.tunnelServer, port: 40_000, forwardedPort: ports.web },
  };
  const ispDevice = await findLink(isp, addresses.isp);
  const neighbour = await world.addNeighbour({ lan: '172.22.0.3/24', uplink: '198.51.100.3/24' });
  const givenMac = await hardwareAddress(router, 'eth0');
  let running: RunningRouter | undefined;
  let vpnServer: Awaited<ReturnType<World['startServer']>> | undefined;
  const start = () => {
    running = world.startRouter({ FIREWALL: backend, PORT_FWD: `${addresses.client}:${ports.web}` });
  };
  const pidOf: Ground['pidOf'] = async (program) => {
    const [pid, ...others] = await pidsIn(router, program);
    assert.ok(pid !== undefined && others.length === 0, `${program}: ${[pid, ...others]}\n${running?.output()}`);
    return Number(pid);
  };
  const log = async () => running?.output().split('\n').slice(-12).join('\n') ?? '';
  return {
    scene,
    backend,
    client,
    clientDevice: await findLink(client, addresses.client),
    isp,
    ispDevice,
    catcher: await openCatcher({
      ns: isp,
      device: 'to-router',
      routers: [addresses.routerUplink, '198.51.100.22'],
      scene,
    }),
    naive: await makeNaive(neighbour, { address: addresses.isp, mac: ispDevice.mac }),
    router: async () => router,
    pidOf,
    // Here forwarding is off before the devices are there, so the given one may be known, too.
    knownMacs: async () => [await hardwareAddress(router, 'eth0'), givenMac],
    givenMac,
    boot: async () => {
      await world.renewRouter();
      start();
    },
    killDaemon: async () => {
      process.kill(await pidOf('node-MainThread'), 'SIGKILL');
      await running?.process.exited;
      start();
    },
    untilCarried: async () => {
      const carried = async () => (await askTcp(client, addresses.web, ports.web)) === scene.tunnel;
      await until(carried, 25_000, log);
    },
    server: {
      kill: async () => {
        await vpnServer?.stop();
        vpnServer = undefined;
      },
      start: async (push = []) => {
        vpnServer ??= await world.startServer({ pushes: push });
      },
    },
    uplink: {
      disconnect: async () => {
        await router.run('ip', 'link', 'set', 'eth1', 'down');
        await router.run('ip', 'addr', 'flush', 'dev', 'eth1');
      },
      connect: async (address) => {
        await router.run('ip', 'addr', 'add', `${address}/24`, 'dev', 'eth1');
        await router.run('ip', 'link', 'set', 'eth1', 'up');
      },
    },
    startCaller: async () => {
      const { address, port, forwardedPort } = scene.caller;
      const program = join(import.meta.dirname, '../leaks/caller.ts');
      const caller = server.start({}, 'node', program, address, `${port}`, scene.tunnel, `${forwardedPort}`);
      await caller.says('answered');
      return caller;
    },
    log,
  };
}
