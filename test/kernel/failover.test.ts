import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { askTcp } from './lab/client.ts';
import { assertInTime } from './lab/in-time.ts';
import { addresses, makeWorld, ports, type RunningRouter, type RunningServer, type World } from './lab/world.ts';

// Several profiles and servers. Root and network namespaces; real OpenVPN on both ends.
let world: World;
let folder: string;

before(async () => {
  world = await makeWorld();
  folder = join(world.folder, 'profiles');
  await mkdir(folder);
  const text = await readFile(join(world.folder, 'client.ovpn'), 'utf8');
  await writeFile(join(folder, 'a.ovpn'), text);
  await writeFile(join(folder, 'b.ovpn'), text.replace(addresses.server, addresses.secondServer));
});
after(() => world.remove());

const startFirst = () => world.startServer();
const startSecond = () =>
  world.startServer({ address: addresses.secondServer, device: 'tun1', subnet: ['10.9.0.0', '255.255.255.0'] });

async function withRouter(
  env: Readonly<Record<string, string>>,
  servers: readonly (() => Promise<RunningServer>)[],
  check: (router: RunningRouter, servers: readonly RunningServer[]) => Promise<void>,
): Promise<void> {
  const running = await Promise.all(servers.map((start) => start()));
  const router = world.startRouter(env);
  try {
    await check(router, running);
    assert.equal(await world.leaked(), 0, router.output());
  } finally {
    await router.stop();
    await Promise.all(running.map((server) => server.stop()));
  }
}

async function untilCarriedBy(server: 'first' | 'second', limitMs: number): Promise<number> {
  const expected = { first: '10.8.0.2', second: '10.9.0.2' }[server];
  const fromMs = performance.now();
  for (;;) {
    const seen = await askTcp(world.client, addresses.web, ports.web);
    const tookMs = performance.now() - fromMs;
    if (seen === expected) return tookMs;
    assert.ok(tookMs < limitMs, `the client saw ${seen} after ${tookMs} ms`);
    await sleep(50);
  }
}

test('goes on to the next profile when the first is silent', async () => {
  const env = { CONFIG: `${join(folder, 'a.ovpn')}, ${join(folder, 'b.ovpn')}` };
  await withRouter(env, [startSecond], async (router) => {
    await router.untilHealthy(10_000);
    await untilCarriedBy('second', 1_000);
    assert.match(router.output(), /nothing listens at 203\.0\.113\.10:1194\/udp/);
  });
});

test('goes on to the next profile at once when the first one refuses the login', async () => {
  const refusing = () => world.startServer({ args: ['--auth-user-pass-verify', '/bin/false', 'via-file'] });
  await assertInTime(4_000, async () => {
    let tookMs = Number.POSITIVE_INFINITY;
    await withRouter({ CONFIG: folder }, [refusing, startSecond], async (router) => {
      await router.untilHealthy();
      tookMs = performance.now() - router.startedMs;
      await untilCarriedBy('second', 1_000);
      assert.match(router.output(), /did not take the user name and password/);
    });
    return tookMs;
  });
});

test('takes a folder for its profiles by name, and goes back to the first after an idle minute, not before', async () => {
  await withRouter({ CONFIG: folder }, [startSecond], async (router) => {
    await router.untilHealthy(10_000);
    const healthyMs = performance.now();
    await untilCarriedBy('second', 1_000);
    const first = await startFirst();
    try {
      await sleep(55_000);
      assert.equal((await router.health()).remote, `${addresses.secondServer}:1194/udp`);
      // Not a look at its health, which may come after the few moments that this takes.
      await router.process.says('a.ovpn is tried again, as it stands before b.ovpn');
      assert.ok(performance.now() - healthyMs > 60_000);
      await router.untilHealthy(3_000);
      await untilCarriedBy('first', 1_000);
    } finally {
      await first.stop();
    }
  });
});

test('rests a profile whose login is refused, also while the other one is silent', async () => {
  const wrong = join(world.folder, 'wrong');
  await writeFile(wrong, 'alice\nwrong\n');
  const env = { OPENVPN_CREDENTIALS_FILE: wrong, CONFIG: folder };
  await withRouter(env, [startFirst], async (router) => {
    // b.ovpn is silent meanwhile, so a.ovpn is asked in between its attempts, but never again at once.
    await sleep(8_000);
    assert.ok((router.output().match(/did not take the user name and password/g) ?? []).length <= 2, router.output());
    assert.equal((await router.health()).healthy, false);
  });
});
