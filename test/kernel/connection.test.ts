import assert from 'node:assert/strict';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { askTcp } from './lab/client.ts';
import { firstCause } from './lab/first-cause.ts';
import { assertInTime } from './lab/in-time.ts';
import { pidsIn } from './lab/namespace.ts';
import { addresses, makeWorld, ports, type RunningRouter, type RunningServer, type World } from './lab/world.ts';

// Ways to a server, and what is in the way. Root and network namespaces; real OpenVPN on both ends.
let world: World;
let server: RunningServer | undefined;
let router: RunningRouter | undefined;

before(async () => {
  world = await makeWorld();
});
after(() => world.remove());

async function profileWith(name: string, change: (text: string) => string): Promise<string> {
  const path = join(world.folder, name);
  await writeFile(path, change(await readFile(join(world.folder, 'client.ovpn'), 'utf8')));
  return path;
}

/** Each test has a server and a router of its own in the same world. */
async function withRouter(
  options: {
    readonly env?: Readonly<Record<string, string>>;
    readonly transport?: 'udp' | 'tcp';
    readonly subnet?: readonly [string, string];
  },
  check: (router: RunningRouter) => Promise<void>,
): Promise<void> {
  server = await world.startServer({
    transport: options.transport ?? 'udp',
    ...(options.subnet === undefined ? {} : { subnet: options.subnet }),
  });
  router = world.startRouter(options.env ?? {});
  try {
    await check(router);
    assert.equal(await world.leaked(), 0, router.output());
  } finally {
    await router.stop();
    await server.stop();
  }
}

async function carries(): Promise<void> {
  assert.equal(await askTcp(world.client, addresses.web, ports.web), '10.8.0.2');
}

test('connects over TCP, and notices at once when the server closes', async () => {
  await withRouter({ env: { CONFIG: join(world.folder, 'client-tcp.ovpn') }, transport: 'tcp' }, async (running) => {
    await assertInTime(3_000, async () => {
      await running.untilHealthy();
      await carries();
      await server?.stop();
      const tookMs = await running.untilUnhealthy();
      server = await world.startServer({ transport: 'tcp' });
      await running.untilHealthy(10_000);
      await carries();
      return tookMs;
    });
  });
});

test('works where the kernel forwards from the start, and says what that costs', async () => {
  const warning = /WARN: the router starts with net\.ipv4\.ip_forward=1 .*until the locks are in/;
  await world.router.run('sysctl', '-qw', 'net.ipv4.ip_forward=1');
  await withRouter({}, async (running) => {
    await running.untilHealthy();
    await carries();
    assert.match(running.output(), warning);
  });
  await world.router.run('sysctl', '-qw', 'net.ipv4.ip_forward=0');
  await withRouter({}, async (running) => {
    await running.untilHealthy();
    assert.doesNotMatch(running.output(), warning);
  });
});

for (const mode of ['1', '2']) {
  test(`works with reverse path filtering ${mode}`, async () => {
    await world.router.run('sysctl', '-qw', `net.ipv4.conf.all.rp_filter=${mode}`);
    await withRouter({}, async (running) => {
      await running.untilHealthy();
      await carries();
    });
    await world.router.run('sysctl', '-qw', 'net.ipv4.conf.all.rp_filter=0');
  });
}

for (const mode of ['1', '2']) {
  test(`answers the ARP requests of its gateway in every state, with reverse path filtering ${mode}`, async () => {
    await setReversePathFilter(mode);
    const wrong = join(world.folder, 'wrong');
    await writeFile(wrong, 'alice\nwrong\n');
    try {
      await withRouter({}, async (running) => {
        await running.untilHealthy();
        await answersGatewayIn('forward');
        // A server that hangs: the router gives the tunnel up, and then waits for the first answer of every attempt.
        server?.signal('SIGSTOP');
        await running.untilUnhealthy();
        await answersGatewayIn('dial');
      });
      // The wait after refused credentials is long enough to look at.
      await withRouter({ env: { OPENVPN_CREDENTIALS_FILE: wrong } }, async (running) => {
        await untilBlocked(running);
        await answersGatewayIn('lockdown');
      });
    } finally {
      await setReversePathFilter('0');
    }
  });
}

/** The kernel takes the greater of the two for a device. */
async function setReversePathFilter(mode: string): Promise<void> {
  for (const name of ['all', 'eth1'])
    await world.router.run('sysctl', '-qw', `net.ipv4.conf.${name}.rp_filter=${mode}`);
}

type OpenPolicy = 'lockdown' | 'dial' | 'forward';

/** What the kernel of the router lets the router itself reach, told by its routes. */
async function policyInKernel(): Promise<OpenPolicy> {
  const routes = await world.router.run('ip', 'route', 'show', 'table', '7100');
  if (/^default dev tun0/m.test(routes)) return 'forward';
  return routes.includes(addresses.server) ? 'dial' : 'lockdown';
}

async function untilBlocked(running: RunningRouter): Promise<void> {
  for (let waitedMs = 0; (await running.health()).state !== 'blocked'; waitedMs += 50) {
    if (waitedMs > 10_000) assert.fail(`not blocked in ${waitedMs} ms:\n${running.output()}`);
    await sleep(50);
  }
}

/**
 * The gateway forgets the router's hardware address and asks for it, all while the kernel holds this policy. A look
 * that begins late in a short state may outlast it, and says nothing then: there are several.
 */
async function answersGatewayIn(policy: OpenPolicy): Promise<void> {
  for (let look = 1; look <= 5; look += 1) {
    const seen = await askRouterDuring(policy);
    if ((await policyInKernel()) !== policy) continue;
    assert.match(seen, / REACHABLE/, `in ${policy}`);
    return;
  }
  assert.fail(`${policy} never lasted as long as a look`);
}

async function askRouterDuring(policy: OpenPolicy): Promise<string> {
  for (let waitedMs = 0; (await policyInKernel()) !== policy; waitedMs += 50) {
    assert.ok(waitedMs < 10_000, `no ${policy} in ${waitedMs} ms`);
    await sleep(50);
  }
  const asked = `${addresses.routerUplink} dev to-router`;
  // In one go, so that no request of the router's own tells the gateway the address in between.
  const commands = `ip neigh flush to ${asked} && ip neigh replace ${asked} use`;
  await world.isp.run('sh', '-c', commands);
  // Three requests, one second apart, are what the kernel sends before it gives up.
  let seen = '';
  for (let waitedMs = 0; !/REACHABLE/.test(seen) && waitedMs < 2_500; waitedMs += 50) {
    await sleep(50);
    seen = await world.isp.run('ip', 'neigh', 'show', 'to', addresses.routerUplink, 'dev', 'to-router');
  }
  return seen;
}

test("looks up the server's name by the resolver of the uplink as it is now, which is open only for that moment", async () => {
  const folder = `/etc/netns/${world.router.name}`;
  await mkdir(folder, { recursive: true });
  await writeFile(`${folder}/resolv.conf`, 'nameserver 198.51.100.66\n');
  const answer = [
    '--no-daemon',
    '--no-resolv',
    '--no-hosts',
    '--conf-file=/dev/null',
    `--address=/vpn.test/${addresses.server}`,
  ];
  const resolver = world.isp.start({}, 'dnsmasq', ...answer, '--bind-interfaces', `--listen-address=${addresses.isp}`);
  await resolver.says('started');
  await world.isp.run(
    'nft',
    'insert',
    'rule',
    'inet',
    'isp',
    'arriving',
    'ip',
    'daddr',
    addresses.isp,
    'meta',
    'l4proto',
    '{ tcp, udp }',
    'th',
    'dport',
    '53',
    'accept',
  );
  try {
    const env = { CONFIG: await profileWith('named.ovpn', (text) => text.replace(addresses.server, 'vpn.test')) };
    await withRouter({ env }, async (running) => {
      await running.process.says('resolve by 198.51.100.66');
      // In place: it is the file that the namespace sees.
      await writeFile(`${folder}/resolv.conf`, `nameserver ${addresses.isp}\n`);
      await running.untilHealthy();
      await carries();
      assert.match(running.output(), /resolve by 198\.51\.100\.1"/);
      assert.doesNotMatch(await world.router.run('nft', 'list', 'table', 'inet', 'underbridge'), /out-resolver/);
    });
  } finally {
    resolver.kill('SIGKILL');
    await rm(folder, { recursive: true });
  }
});

test('goes on to the next remote when one is silent', async () => {
  const env = {
    CONFIG: await profileWith('two.ovpn', (text) => text.replace('remote ', 'remote 203.0.113.99 1194\nremote ')),
  };
  await withRouter({ env }, async (running) => {
    await running.untilHealthy(15_000);
    await carries();
    assert.match(running.output(), /203\.0\.113\.99:1194\/udp/);
  });
});

test('says that the credentials were refused, and does not hammer the server', async () => {
  const wrong = join(world.folder, 'wrong');
  await writeFile(wrong, 'alice\nwrong\n');
  await withRouter({ env: { OPENVPN_CREDENTIALS_FILE: wrong } }, async (running) => {
    assert.equal((await firstCause(running)).code, 'auth-failed');
    await sleep(4_000);
    const { attempts } = await running.health();
    assert.ok(Number(attempts) <= 2, `${attempts} attempts in 4 s`);
    assert.ok(!running.output().includes('wrong\n'));
  });
});

test('refuses a tunnel address that belongs to the isolated network', async () => {
  await withRouter({ subnet: ['172.22.0.192', '255.255.255.192'] }, async (running) => {
    assert.equal((await firstCause(running)).code, 'address-conflict', running.output());
    assert.equal((await running.health()).healthy, false);
  });
});

test('refuses to claim an address that somebody answers for, and exits with the locks in place', async () => {
  // A router that already has the address is the same router again, and does not ask.
  await world.router.run('ip', 'addr', 'del', `${addresses.gateway}/24`, 'dev', 'eth0');
  await world.other.run('ip', 'addr', 'add', `${addresses.gateway}/32`, 'dev', 'eth0');
  server = await world.startServer();
  const running = world.startRouter();
  const { exitCode } = await running.process.exited;
  assert.equal(exitCode, 1);
  assert.match(running.output(), /172\.22\.0\.1\/24": \S+ already answers for this address/);
  assert.doesNotMatch(running.output(), /^\s+at /m);
  assert.match(await world.router.run('nft', 'list', 'chain', 'inet', 'underbridge', 'forward'), /policy drop/);
  assert.deepEqual(await pidsIn(world.router, 'openvpn'), []);
  await world.other.run('ip', 'addr', 'del', `${addresses.gateway}/32`, 'dev', 'eth0');
  await server.stop();
});

test('tells clients that remember another router who has the address now', async () => {
  await world.client.run(
    'ip',
    'neigh',
    'replace',
    addresses.gateway,
    'lladdr',
    '02:00:00:00:00:99',
    'nud',
    'reachable',
    'dev',
    'eth0',
  );
  // The kernel believes nobody else for a second after it learned an address (locktime, arp(7)).
  await sleep(1_200);
  await withRouter({}, async (running) => {
    await running.untilHealthy();
    await sleep(300);
    const mac = (await world.router.run('cat', '/sys/class/net/eth0/address')).trim();
    assert.match(await world.client.run('ip', 'neigh', 'show', addresses.gateway), new RegExp(mac));
  });
});

test('finds the uplink again when it comes back with another address', async () => {
  await withRouter({}, async (running) => {
    await running.untilHealthy();
    await world.router.run('ip', 'addr', 'flush', 'dev', 'eth1');
    await running.untilUnhealthy(12_000);
    await world.router.run('ip', 'addr', 'add', '198.51.100.77/24', 'dev', 'eth1');
    await running.untilHealthy(10_000);
    await carries();
  });
  await world.router.run('ip', 'addr', 'flush', 'dev', 'eth1');
  await world.router.run('ip', 'addr', 'add', `${addresses.routerUplink}/24`, 'dev', 'eth1');
});

test("follows a default route that changes alone to the uplink's new gateway", async () => {
  const gateway = '198.51.100.9';
  await world.isp.run('ip', 'addr', 'add', `${gateway}/24`, 'dev', 'to-router');
  await withRouter({}, async (running) => {
    await running.untilHealthy();
    await world.router.run('ip', 'route', 'replace', 'default', 'via', gateway, 'dev', 'eth1', 'onlink');
    await untilTrue(running, async () => {
      const routes = await world.router.run('ip', 'route', 'show', 'table', '7100');
      return routes.includes(`${addresses.server} via ${gateway} dev eth1`);
    });
    await carries();
    assert.equal((await running.health()).attempts, 1);
  });
  await world.router.run('ip', 'route', 'replace', 'default', 'via', addresses.gateway);
  await world.isp.run('ip', 'addr', 'del', `${gateway}/24`, 'dev', 'to-router');
});

test('says why an uplink that came back does not do', async () => {
  await withRouter({ env: { UPLINK_GATEWAY: addresses.isp } }, async (running) => {
    await running.untilHealthy();
    await world.router.run('ip', 'addr', 'flush', 'dev', 'eth1');
    await world.router.run('ip', 'addr', 'add', '198.18.0.2/24', 'dev', 'eth1');
    await untilTrue(running, async () => {
      const { networks } = await running.health();
      return /^UPLINK_GATEWAY: no interface .* eth1 198\.18\.0\.2\/24/.test(
        (networks as { text?: string })?.text ?? '',
      );
    });
    assert.match(running.output(), /WARN: the networks of this container do not fit .*UPLINK_GATEWAY/);
    await world.router.run('ip', 'addr', 'flush', 'dev', 'eth1');
    await world.router.run('ip', 'addr', 'add', `${addresses.routerUplink}/24`, 'dev', 'eth1');
    await untilTrue(running, async () => (await running.health()).networks === undefined);
    await running.untilHealthy(15_000);
    await carries();
  });
});

async function untilTrue(running: RunningRouter, isTrue: () => Promise<boolean>): Promise<void> {
  for (let waitedMs = 0; !(await isTrue()); waitedMs += 50) {
    assert.ok(waitedMs < 5_000, running.output());
    await sleep(50);
  }
}
