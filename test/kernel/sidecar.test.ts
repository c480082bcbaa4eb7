// MODE=sidecar in network namespaces, with real OpenVPN: the processes of the router's own namespace are the clients. Some
// of them are hostile, and root. Reverse path checks are strict.
import assert from 'node:assert/strict';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { resolverUid } from '../../src/plan/local-resolver.ts';
import { flushRules } from '../leaks/firewall.ts';
import { askDns, askTcp } from './lab/client.ts';
import { until } from './lab/containers.ts';
import { anybodysKinds, rootsKinds, startLocalSender, strangers } from './lab/local-sender.ts';
import { pidsIn } from './lab/namespace.ts';
import { dockerResolver, makeSidecar, nothing, type Sidecar, tunnelAddress, withoutFrames } from './lab/sidecar.ts';
import { addresses, type RunningServer, startResolver } from './lab/world.ts';

let sidecar: Sidecar;
let server: RunningServer;

before(async () => {
  sidecar = await makeSidecar(1);
});
after(() => sidecar?.remove());

test('the catcher counts each kind of packet when there are no locks', async () => {
  const { app, caught } = sidecar;
  await app.run('ip', '-6', 'neigh', 'replace', 'fe80::1', 'lladdr', '02:00:00:00:00:01', 'dev', 'eth1');
  await app.run('ip', '-6', 'route', 'replace', 'default', 'via', 'fe80::1', 'dev', 'eth1');
  for (const kind of rootsKinds) {
    const earlier = await caught();
    const sender = await startLocalSender(app, { uid: 0, kinds: [kind] });
    await until(kind, async () => (await caught()) > earlier, 3_000);
    sender.kill('SIGTERM');
    await sender.exited;
  }
});

test('leaks nothing by the locks of the entrypoint alone, and keeps Docker from being asked', async () => {
  const { app, docker, leakedDuring, world } = sidecar;
  const folder = join(world.folder, 'boot');
  await cp(join(world.folder, 'underbridge'), folder, { recursive: true });
  await writeFile(join(folder, 'run'), '#!/bin/sh\n', { mode: 0o755 });
  const boot = () => app.run('env', 'MODE=sidecar', join(folder, 'entrypoint'));
  await boot();
  // Again: the tables are there, as when the router starts anew in a pod. Of the uplink's device, whose gate stops frames,
  // nothing is known yet.
  assert.deepEqual(await leakedDuring(boot, withoutFrames), nothing);
  assert.doesNotMatch(await askDns(app, dockerResolver), /^\d/m);
  assert.deepEqual(docker.asked(), []);
});

test('leaks nothing while it dials, and tells local processes at once that there is no tunnel', async () => {
  const { app, leakedDuring, router, start } = sidecar;
  start();
  await router().process.says('dialing');
  assert.deepEqual(await leakedDuring(() => router().process.says('blocked')), nothing);
  assert.match(await askTcp(app, addresses.web, 8080), /^E(NETUNREACH|HOSTUNREACH) \d{1,3}$/);
});

test('carries local processes through the tunnel, and leaks nothing', async () => {
  const { leakedDuring, router, webSays } = sidecar;
  server = await sidecar.startServer();
  await router().untilHealthy(20_000);
  assert.deepEqual(await leakedDuring(async () => assert.equal(await webSays(), tunnelAddress)), nothing);
});

test('answers DNS by the enforced resolver, whatever server is asked, and Docker is not', async () => {
  const { app, docker } = sidecar;
  for (const asked of ['9.9.9.9', addresses.isp, addresses.server, dockerResolver, '127.0.0.53', addresses.resolver]) {
    assert.equal(await askDns(app, asked), addresses.resolver, `udp to ${asked}`);
    assert.equal(await askDns(app, asked, '+tcp'), addresses.resolver, `tcp to ${asked}`);
  }
  assert.match(await askTcp(app, '9.9.9.9', 853), /^E\w+ \d{1,3}$/);
  assert.match(await askTcp(app, dockerResolver, 8080), /^E\w+ \d{1,3}$/, 'nor by the port that Docker listens on');
  assert.deepEqual(docker.asked(), []);
});

const events: readonly { readonly what: string; readonly make: () => Promise<unknown> }[] = [
  {
    what: 'the server is killed',
    make: async () => {
      await server.stop();
      await sidecar.router().untilUnhealthy();
    },
  },
  {
    what: 'it comes back',
    make: () =>
      sidecar.untilProvenAfter(async () => {
        server = await sidecar.startServer();
      }),
  },
  {
    what: 'OpenVPN is killed',
    make: () =>
      sidecar.untilProvenAfter(async () => {
        process.kill(Number((await pidsIn(sidecar.app, 'openvpn'))[0]), 'SIGKILL');
      }),
  },
  {
    what: "the tunnel's device is deleted",
    make: () => sidecar.untilProvenAfter(() => sidecar.app.run('ip', 'link', 'del', 'tun0')),
  },
  {
    what: 'the daemon is killed, and started again',
    make: async () => {
      const { router, start } = sidecar;
      router().process.kill('SIGKILL');
      await router().process.exited;
      await sleep(300);
      start();
      await router().untilHealthy(20_000);
    },
  },
  {
    what: 'the rules of routing are flushed, and main leads to the uplink',
    make: async () => {
      const { app, router } = sidecar;
      router().process.kill('SIGSTOP');
      for (const family of ['-4', '-6']) {
        await app.run('ip', family, 'rule', 'flush');
        await app.run('ip', family, 'rule', 'add', 'pref', '32766', 'lookup', 'main');
      }
      await sleep(500);
      router().process.kill('SIGCONT');
      await router().process.says('repaired');
    },
  },
];
for (const { what, make } of events) {
  test(`leaks nothing while ${what}`, async () => {
    assert.deepEqual(await sidecar.leakedDuring(make), nothing);
  });
}

test('leaks nothing by the routing lock alone while the firewall is flushed, but for its known limits', async () => {
  const { app, leakedDuring, router, start, webSays } = sidecar;
  await router().stop();
  start();
  await router().untilHealthy(20_000);
  router().process.kill('SIGSTOP');
  await flushRules(app, 'nft');
  // Multicast is of the link alone, frames ask no route, and root may take the address that the reverse path check has.
  const limits = ['multicast', 'frame', 'udp-address'];
  const leaked = await leakedDuring(
    async () => undefined,
    [
      { uid: 1000, kinds: anybodysKinds.filter((kind) => kind !== 'multicast') },
      { uid: 0, kinds: rootsKinds.filter((kind) => !limits.includes(kind)) },
      { uid: 0, kinds: ['udp-address'], to: strangers },
      { uid: resolverUid, kinds: ['udp-device', 'udp-both'] },
    ],
  );
  router().process.kill('SIGCONT');
  assert.deepEqual(leaked, nothing);
  await router().process.says('repaired');
  assert.equal(await webSays(), tunnelAddress);
});

test("looks the server's name up as OpenVPN's user, whom nobody else may follow", async () => {
  const { app, leakedDuring, router, start, world } = sidecar;
  await router().stop();
  await writeFile(`/etc/netns/${app.name}/resolv.conf`, `nameserver ${addresses.isp}\n`);
  const profile = (await readFile(join(world.folder, 'client.ovpn'), 'utf8')).replace(addresses.server, 'vpn.test');
  await writeFile(join(world.folder, 'named.ovpn'), profile);
  const capture = world.isp.start({}, 'tcpdump', '-lni', 'to-router', 'udp', 'dst', 'port', '53');
  await capture.says('listening');
  start({ CONFIG: join(world.folder, 'named.ovpn') });
  await router().process.says('resolve by');
  // Nobody answers, so that it goes on asking. Its own questions are the router's.
  const { client } = await leakedDuring(() => capture.says('vpn.test'));
  assert.equal(client, 0);
  startResolver(world.isp, addresses.isp, `--address=/vpn.test/${addresses.server}`);
  await router().untilHealthy(20_000);
  capture.kill('SIGTERM');
});
