import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { askDns, askTcp, floodDuring, sentBy, startFlood } from './lab/client.ts';
import { pidsIn } from './lab/namespace.ts';
import { addresses, makeWorld, ports, type RunningRouter, type World } from './lab/world.ts';

// Root and network namespaces; the router's rules loaded by iptables, as on a kernel without nf_tables.
for (const firewall of ['iptables-legacy', 'iptables-nft'] as const) {
  describe(`a router by ${firewall}`, () => {
    let world: World;
    let router: RunningRouter;
    const env = {
      FIREWALL: firewall,
      DNS: 'vpn',
      PORT_FWD: `9100-9101:${addresses.other}:8080-8081/tcp`,
    };
    before(async () => {
      world = await makeWorld();
      await world.startServer();
      // What Docker puts into a container for its resolver; not ours.
      for (const args of [
        ['-N', 'DOCKER_OUTPUT'],
        ['-A', 'OUTPUT', '-d', '127.0.0.11', '-j', 'DOCKER_OUTPUT'],
        ['-A', 'DOCKER_OUTPUT', '-p', 'udp', '--dport', '53', '-j', 'DNAT', '--to', '127.0.0.11:4053'],
      ]) {
        await world.router.run(firewall, '-t', 'nat', ...args);
      }
      // Of a start by nft with IPV6: tunnel.
      await world.router.run('nft', 'add', 'table', 'ip6', 'underbridge_nat');
      foreign = await listForeign();
      router = world.startRouter(env);
      await router.untilHealthy();
    });
    after(() => world.remove());

    let foreign: string;
    const listForeign = async () => {
      const text = await world.router.run(`${firewall}-save`, '-t', 'nat');
      return text
        .split('\n')
        .filter((line) => /DOCKER/.test(line))
        .join('\n');
    };
    const flooded = async (event: () => Promise<unknown>) => {
      const sent = await floodDuring({ from: world.client, address: addresses.web, port: ports.web }, event);
      assert.ok(sent > 500, `${sent}`);
      assert.equal(await world.leaked(), 0);
    };
    const kill = async (signal: string, name: string) => {
      const [pid = assert.fail(`no ${name}`)] = await pidsIn(world.router, name);
      await world.router.run('kill', signal, pid);
    };
    const killOpenvpn = async () => {
      const [killed] = await pidsIn(world.router, 'openvpn');
      await kill('-KILL', 'openvpn');
      for (let pids = [killed]; pids.includes(killed) || pids.length === 0; await sleep(20))
        pids = [...(await pidsIn(world.router, 'openvpn'))];
    };
    const isCarried = async () => {
      await router.untilHealthy();
      assert.equal(await askTcp(world.client, addresses.web, ports.web), '10.8.0.2');
    };

    it('says so, and leaves no table of nft behind', async () => {
      assert.equal((await router.health()).firewall, firewall);
      // But the one that only counts.
      assert.doesNotMatch(await world.router.run('nft', 'list', 'tables'), /underbridge(?!_passed)/);
    });

    it('carries clients, enforces DNS and forwards ports', async () => {
      await isCarried();
      assert.equal(await askDns(world.client, '9.9.9.9'), addresses.resolver);
      assert.equal(await askDns(world.client, '9.9.9.9', '+tcp'), addresses.resolver);
      assert.match(await askTcp(world.client, '9.9.9.9', 853), /^E/);
      assert.equal(await askTcp(world.server, '10.8.0.2', 9100), '10.8.0.1');
      assert.match(await askTcp(world.server, '10.8.0.2', 9797), /^E/);
      assert.match(await askTcp(world.client, addresses.gateway, 22), /^ECONNREFUSED \d{1,3}$/);
    });

    it('leaks nothing when OpenVPN is killed', async () => {
      await flooded(async () => {
        await killOpenvpn();
        await isCarried();
      });
    });

    it('leaks nothing by either lock alone', async () => {
      await flooded(async () => {
        await kill('-STOP', 'node-MainThread');
        for (const table of ['filter', 'raw', 'mangle']) {
          await world.router.run(firewall, '-t', table, '-F');
          if (table === 'filter') await world.router.run(firewall, '-P', 'FORWARD', 'ACCEPT');
        }
        await world.router.run('ip', 'link', 'set', 'tun0', 'down');
        await sleep(1_000);
        await kill('-CONT', 'node-MainThread');
        await isCarried();
      });
      await flooded(async () => {
        await kill('-STOP', 'node-MainThread');
        for (const preference of ['100', '101', '110', '120', '130'])
          await world.router.run('ip', 'rule', 'del', 'pref', preference);
        await world.router.run('ip', 'route', 'replace', 'default', 'via', addresses.isp);
        await sleep(1_000);
        await kill('-CONT', 'node-MainThread');
        await killOpenvpn();
        await isCarried();
      });
    });

    it('repairs what somebody else changes, within seconds', async () => {
      const repairs = async () => Number((await router.health()).repairs);
      for (const args of [
        ['-P', 'FORWARD', 'ACCEPT'],
        ['-I', 'FORWARD', '-j', 'ACCEPT'],
        ['-F', 'ub-outbound'],
      ]) {
        const before = await repairs();
        await world.router.run(firewall, ...args);
        const fromMs = Date.now();
        while ((await repairs()) === before) {
          assert.ok(Date.now() - fromMs < 8_000, router.output());
          await sleep(100);
        }
      }
      assert.match(await world.router.run(firewall, '-S', 'FORWARD'), /^-P FORWARD DROP\n-A FORWARD -j ub-forward$/m);
      await isCarried();
    });

    it('leaks nothing when it is killed and started again', async () => {
      await flooded(async () => {
        await kill('-KILL', 'node-MainThread');
        await router.process.exited;
        router = world.startRouter(env);
        await isCarried();
      });
    });

    it('has not touched a foreign rule', async () => {
      assert.match(foreign, /DNAT/);
      assert.equal(await listForeign(), foreign);
      await router.stop();
    });
  });
}

describe('a router whose FIREWALL is misspelt', () => {
  it('refuses to start, with both locks in place', async () => {
    const world = await makeWorld();
    try {
      const router = world.startRouter({ FIREWALL: 'iptables-nonsense' });
      assert.equal((await router.process.exited).exitCode, 1);
      assert.match(router.output(), /FIREWALL="iptables-nonsense"/);
      const rules = await world.router.run('nft', 'list', 'ruleset');
      assert.equal(rules.match(/policy drop/g)?.length, 3, rules);
      assert.match(await world.router.run('ip', 'rule'), /^130:.*unreachable/m);
    } finally {
      await world.remove();
    }
  });
});

describe('a router on a machine without nft', () => {
  let world: World;
  let folder: string;
  before(async () => {
    world = await makeWorld();
    await world.startServer();
    folder = mkdtempSync(`${tmpdir()}/no-nft-`);
    for (const directory of ['/usr/bin', '/usr/sbin']) {
      for (const name of readdirSync(directory)) {
        if (name !== 'nft' && !existsSync(`${folder}/${name}`))
          symlinkSync(`${directory}/${name}`, `${folder}/${name}`);
      }
    }
    rmSync(`${folder}/node`, { force: true });
    symlinkSync(process.execPath, `${folder}/node`);
  });
  after(async () => {
    await world.remove();
    rmSync(folder, { recursive: true });
  });

  it('takes iptables-legacy by itself, from the first lock on', async () => {
    const router = world.startRouter({ PATH: folder });
    const sent = await floodDuring({ from: world.client, address: addresses.web, port: ports.web }, async () => {
      await router.untilHealthy();
      assert.equal((await router.health()).firewall, 'iptables-legacy');
      assert.equal(await askTcp(world.client, addresses.web, ports.web), '10.8.0.2');
    });
    assert.ok(sent > 500, `${sent}`);
    assert.equal(await world.leaked(), 0);
    await router.stop();
  });

  it('says what is wrong when nft was asked for', async () => {
    const router = world.startRouter({ PATH: folder, FIREWALL: 'nft' });
    assert.equal((await router.process.exited).exitCode, 1);
    assert.match(router.output(), /FIREWALL: the kernel does not take the firewall's rules \(nft .*ENOENT/);
  });
});

describe('another FIREWALL in a namespace that stays', () => {
  for (const [before, after] of [
    ['iptables-legacy', 'nft'],
    ['iptables-nft', 'iptables-legacy'],
  ] as const) {
    it(`takes the rules of ${before} away once those of ${after} hold, and no others`, async () => {
      const world = await makeWorld();
      try {
        await world.startServer();
        await world.router.run(before, '-t', 'nat', '-N', 'DOCKER_OUTPUT');
        const first = world.startRouter({ FIREWALL: before });
        await first.untilHealthy();
        await first.stop();
        const flood = startFlood(world.other, addresses.web, ports.web, 4);
        const second = world.startRouter({ FIREWALL: after });
        await second.untilHealthy();
        assert.equal(await askTcp(world.client, addresses.web, ports.web), '10.8.0.2');
        assert.match(second.output(), new RegExp(`rules of an earlier FIREWALL were removed .*${before}`));
        const left = await world.router.run(`${before}-save`);
        assert.doesNotMatch(left, /ub-|DROP/);
        assert.match(left, /^:DOCKER_OUTPUT/m);
        assert.ok((await sentBy(flood)) > 500);
        assert.equal(await world.leaked(), 0);
        await second.stop();
      } finally {
        await world.remove();
      }
    });
  }
});
