// The layers behind the two locks, each with what happens when it is taken away. Root and network namespaces; real
// OpenVPN and nft.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { findLink, until } from '../leaks/ground.ts';
import type { Scene } from '../leaks/packets.ts';
import { startSending } from '../leaks/sender.ts';
import { type TrafficName, trafficNames } from '../leaks/traffic.ts';
import { askTcp, sentBy, startFlood } from './lab/client.ts';
import { labScene } from './lab/leak-ground.ts';
import { join, type Namespace, pidsIn } from './lab/namespace.ts';
import { addresses, makeWorld, ports, type RunningRouter, type World } from './lab/world.ts';

let world: World;
let router: RunningRouter;

const tunnel = '10.8.0.2';
const forwardedPort = 9_000;
const keptPort = 9_500;
const limit = 40;
const env = {
  PORT_FWD: `${forwardedPort}:${addresses.other}:${ports.web}/udp, ${addresses.other}:${keptPort}/udp`,
  CONNECTION_LIMIT: `${limit}`,
};

before(async () => {
  world = await makeWorld();
  await world.startServer();
  // The router's kernel and OpenVPN send with a TTL of 64, frames of the test's packet socket have another one. Without
  // promiscuity a bridge passes up only frames for itself.
  await world.isp.run('ip', 'link', 'set', 'dev', 'to-router', 'promisc', 'on');
  await world.isp.run(
    'nft',
    `table netdev strangers { chain c {
      type filter hook ingress device "to-router" priority 0;
      ether type arp accept; ip ttl 64 accept; ip6 hoplimit { 1, 255 } accept; counter;
    }; }`,
  );
  router = world.startRouter(env);
  await router.untilHealthy();
});
after(() => world.remove());

const nft = (...words: readonly string[]) => world.router.run('nft', ...words);
const script = joinPath(import.meta.dirname, 'lab/datagrams.ts');

/** While the router itself cannot put anything right. */
async function whileStopped<T>(work: () => Promise<T>): Promise<T> {
  const [pid = assert.fail('no router')] = await pidsIn(world.router, 'node-MainThread');
  process.kill(Number(pid), 'SIGSTOP');
  try {
    return await work();
  } finally {
    process.kill(Number(pid), 'SIGCONT');
  }
}

async function strangers(): Promise<number> {
  const listing = await world.isp.run('nft', 'list', 'table', 'netdev', 'strangers');
  return Number(/packets (\d+)/.exec(listing)?.[1]);
}

/** Puts frames on the uplink by a packet socket of root, which no rule for packets sees; gives how many arrived. */
async function sendRaw(kinds: readonly TrafficName[]): Promise<number> {
  const before = await strangers();
  const scene: Scene = {
    ...labScene,
    // As if the router itself sent them: to the very server, and all others.
    client: addresses.routerUplink,
    tunnel,
    caller: { ...labScene.caller, forwardedPort },
  };
  const ispMac = (await findLink(world.isp, addresses.isp)).mac;
  const sender = startSending(world.router, {
    device: await findLink(world.router, '198.51.100.'),
    kinds,
    scene,
    to: [ispMac],
    follow: false,
    packetsPerSecond: 2_000,
    rounds: 10,
  });
  await sender.ended;
  return (await strangers()) - before;
}

/** All but what has the TTL of the router's own. */
const rawKinds = trafficNames;

async function isRepaired(since: number): Promise<void> {
  await until(
    async () => Number((await router.health()).repairs) > since,
    4_000,
    async () => router.output(),
  );
}

async function repairs(): Promise<number> {
  return Number((await router.health()).repairs);
}

test('says once what it has, in the log, at /healthz and in the plan', async () => {
  const all = {
    'egress-hook': 'on',
    'arp-table': 'on',
    'connection-limit': 'on',
    'source-ports': 'on',
    'last-look': 'on',
    'early-reset': 'on',
  };
  assert.deepEqual((await router.health()).hardening, all);
  assert.equal(router.output().match(/layers of defence/g)?.length, 1, router.output());
  assert.doesNotMatch(router.output(), /missing/);
  const settings = [`IP_ADDR=${addresses.gateway}/24`, `CONFIG=${world.folder}/client.ovpn`];
  const secrets = `OPENVPN_CREDENTIALS_FILE=${world.folder}/credentials`;
  const plan = await world.router.run('env', ...settings, secrets, `${world.folder}/underbridge/run`, 'plan');
  assert.deepEqual(
    [...plan.matchAll(/^# {3}([a-z-]+): (on|off|missing)$/gm)].map(([, layer = '', state]) => [layer, state]),
    Object.entries(all),
  );
});

test('lets no frame of a packet socket out of the uplink, also not one to the VPN server', async () => {
  assert.equal(await sendRaw(rawKinds), 0);
  assert.ok((await whileStopped(() => withoutTable('netdev', 'underbridge_egress', () => sendRaw(rawKinds)))) > 50);
});

test('puts the gate of the uplink right when somebody takes it away', async () => {
  const since = await repairs();
  await nft('delete', 'table', 'netdev', 'underbridge_egress');
  await isRepaired(since);
  assert.equal(await sendRaw(rawKinds), 0);
});

test('carries packets that are too large for the uplink, in fragments', async () => {
  const ping = ['ping', '-c3', '-i0.2', '-W2', '-s1472', addresses.web] as const;
  assert.equal((await world.client.attempt(...ping)).exitCode, 0);
  const handle = /egress-fragments" # handle (\d+)/.exec(
    await nft('-a', 'list', 'table', 'netdev', 'underbridge_egress'),
  );
  await whileStopped(async () => {
    await nft('delete', 'rule', 'netdev', 'underbridge_egress', 'uplink', 'handle', handle?.[1] ?? assert.fail());
    assert.notEqual((await world.client.attempt('ping', '-c2', '-i0.2', '-W1', '-s1472', addresses.web)).exitCode, 0);
  });
});

/** As Docker does when it disconnects the network, and connects it again. */
async function replugUplink({ device, address }: { readonly device: string; readonly address: string }) {
  const { isp } = world;
  await isp.run('ip', 'link', 'del', 'router');
  // The lockdown has to be loaded without the device.
  const [openvpn = assert.fail('no OpenVPN')] = await pidsIn(world.router, 'openvpn');
  await world.router.run('kill', '-KILL', openvpn);
  await untilGate((listing) => !listing.includes('hook egress'));
  await join({ ns: world.router, device, address }, { ns: isp, device: 'router' });
  await isp.run('ip', 'link', 'set', 'router', 'master', 'to-router');
  await untilGate((listing) => listing.includes(`hook egress device "${device}"`));
}

async function untilGate(isSo: (listing: string) => boolean): Promise<void> {
  const list = () => world.router.attempt('nft', 'list', 'table', 'netdev', 'underbridge_egress');
  await until(
    async () => isSo((await list()).output),
    5_000,
    async () => router.output(),
  );
}

for (const uplink of [
  { device: 'eth1', address: `${addresses.routerUplink}/24` },
  { device: 'eth7', address: '198.51.100.22/24' },
]) {
  test(`has the gate on an uplink that comes back as ${uplink.device} ${uplink.address}`, async () => {
    await replugUplink(uplink);
    // An older kernel has no gate there before the next look.
    await until(
      async () => (await sendRaw(rawKinds)) === 0,
      4_000,
      async () => router.output(),
    );
    await router.untilHealthy(20_000);
    assert.equal(await askTcp(world.client, addresses.web, ports.web), tunnel);
  });
}

/** Whether somebody gets an answer to the question who has an address, on the network he shares with the router. */
async function isAnswered(asker: Namespace, device: string, address: string): Promise<boolean> {
  await asker.attempt('ip', 'neigh', 'flush', 'to', address, 'dev', device);
  await asker.run('ip', 'neigh', 'replace', address, 'dev', device, 'use');
  let state = '';
  await until(
    async () => {
      state = await asker.run('ip', 'neigh', 'show', 'to', address, 'dev', device);
      return /lladdr|FAILED/.test(state);
    },
    6_000,
    async () => state,
  );
  return state.includes('lladdr');
}

test('answers ARP on a network for its own address there, and for no other', async () => {
  const own = [
    [world.client, 'eth0', addresses.gateway],
    [world.isp, 'to-router', '198.51.100.22'],
  ] as const;
  const foreign = [
    [world.client, 'eth0', '198.51.100.22'],
    [world.client, 'eth0', tunnel],
    [world.isp, 'to-router', addresses.gateway],
    [world.isp, 'to-router', tunnel],
  ] as const;
  const answers = (questions: readonly (readonly [Namespace, string, string])[]) =>
    Promise.all(questions.map((each) => isAnswered(...each)));
  // One question, and a tenth of a second for the answer.
  for (const [asker, device] of own)
    for (const setting of ['mcast_solicit=1', 'retrans_time_ms=100'])
      await asker.run('sysctl', '-qw', `net.ipv4.neigh.${device}.${setting}`);
  assert.deepEqual(await answers(own), [true, true]);
  assert.deepEqual(await answers(foreign), [false, false, false, false]);
  const without = await whileStopped(() => withoutTable('arp', 'underbridge_arp', () => answers(foreign)));
  assert.ok(without.includes(true), `${without}`);
});

test("never gives a client's packet to the owner of a forwarded port, nor his to the client (CVE-2021-3773)", async () => {
  const heard = await shadow(forwardedPort, 'caller');
  assert.doesNotMatch(heard.attacker, /for the owner/);
  assert.doesNotMatch(heard.caller, new RegExp(`^${forwardedPort} hello`, 'm'));
  // With the masquerade that would do without it.
  await whileStopped(async () => {
    const handle = /nat-masquerade-ports" # handle (\d+)/.exec(
      await nft('-a', 'list', 'table', 'ip', 'underbridge_nat'),
    );
    await nft('delete', 'rule', 'ip', 'underbridge_nat', 'postrouting', 'handle', handle?.[1] ?? assert.fail());
    await world.router.run('conntrack', '-F');
    await shadow(forwardedPort, 'attacker');
  });
});

/**
 * A client speaks from a port that is another one's beyond the tunnel, to somebody who then calls that port; waits until
 * it has gone to the client, or the owner's answer to the caller.
 */
async function shadow(
  port: number,
  hearer: 'attacker' | 'caller',
): Promise<{ readonly attacker: string; readonly caller: string }> {
  const caller = world.server.start({}, 'node', script, 'call', addresses.tunnelServer, '7000', `${port}`);
  const attacker = world.client.start({}, 'node', script, 'talk', `${port}`, addresses.tunnelServer, '7000');
  await { attacker, caller }[hearer].says('for the owner');
  // Time for the one who must not hear it.
  await sleep(500);
  for (const each of [attacker, caller]) each.kill('SIGKILL');
  await Promise.all([attacker.exited, caller.exited]);
  return { attacker: attacker.output(), caller: caller.output() };
}

test('leaves a container the ports that are forwarded to it as its source ports', async () => {
  const caller = world.server.start({}, 'node', script, 'call', addresses.tunnelServer, '7001', '1');
  const owner = world.other.start({}, 'node', script, 'talk', `${keptPort}`, addresses.tunnelServer, '7001');
  await caller.says(`${keptPort} hello`);
  for (const each of [owner, caller]) each.kill('SIGKILL');
});

/** How many of so many connections at a time are answered. */
async function connect(from: Namespace, count: number): Promise<number> {
  return Number(await from.run('node', script, 'ask', `${count}`, addresses.web, `${ports.web}`));
}

test('refuses a client more connections than its limit at once, and no other client', async () => {
  await until(
    async () => (await router.health()).healthy,
    5_000,
    async () => router.output(),
  );
  for (let tries = 1; ; tries += 1) {
    await world.router.run('conntrack', '-F');
    const answered = await connect(world.client, 3 * limit);
    const refused = await askTcp(world.client, addresses.web, ports.web);
    const { exitCode } = await world.client.attempt('ping', '-c1', '-W1', addresses.gateway);
    // Connections that both ends have closed by now give their places back.
    if (tries < 3 && (refused === tunnel || exitCode === 0)) continue;
    assert.ok(answered > limit / 2 && answered <= limit, `${answered}`);
    assert.match(refused, /^ECONNREFUSED \d{1,3}$/);
    assert.notEqual(exitCode, 0);
    break;
  }
  assert.equal(await askTcp(world.other, addresses.web, ports.web), tunnel);
  assert.match(
    await nft('list', 'chain', 'inet', 'underbridge', 'excess-rest'),
    /counter packets [1-9].*"refuse-excess-rest"/,
  );
  assert.equal(await repairs(), await repairsAfterLook(), 'what it counts is no change of somebody else');
});

/** Repairs after the router has compared everything. */
async function repairsAfterLook(): Promise<number> {
  const before = await repairs();
  await nft('add', 'chain', 'inet', 'underbridge', 'somebody');
  await isRepaired(before);
  return (await repairs()) - 1;
}

test('lets no packet of a client out of the uplink by the last look alone, whatever address it was given', async () => {
  const leaksOf = async () => {
    const before = await world.leaked();
    const flood = startFlood(world.client, '203.0.113.80', 7, 1);
    assert.ok((await sentBy(flood)) > 300);
    return (await world.leaked()) - before;
  };
  await whileStopped(async () => {
    // Both locks are away, and so is the gate; somebody else translates.
    await nft('delete', 'table', 'netdev', 'underbridge_egress');
    await nft('flush', 'chain', 'inet', 'underbridge', 'forward');
    await nft('chain', 'inet', 'underbridge', 'forward', '{ policy accept; }');
    await nft('table ip others { chain c { type nat hook postrouting priority srcnat; oifname "eth7" masquerade; }; }');
    await world.router.run('ip', 'rule', 'flush');
    await world.router.run('ip', 'rule', 'add', 'pref', '32766', 'lookup', 'main');
    await world.router.run('ip', 'route', 'replace', 'default', 'via', addresses.isp, 'dev', 'eth7');
    assert.equal(await leaksOf(), 0);
    const handle = /last-forwarded" # handle (\d+)/.exec(
      await nft('-a', 'list', 'chain', 'inet', 'underbridge', 'last'),
    );
    await nft('delete', 'rule', 'inet', 'underbridge', 'last', 'handle', handle?.[1] ?? assert.fail());
    assert.ok((await leaksOf()) > 0);
  });
});

test('warns of layers that a kernel lacks, and works without them', async () => {
  await router.stop();
  const folder = mkdtempSync(`${tmpdir()}/older-kernel-`);
  try {
    // What Linux 5.10 answers to a chain at egress.
    const older = [
      '#!/bin/sh',
      'for last; do :; done',
      `[ "$last" = - ] || exec ${(await execa('which', ['nft'])).stdout} "$@"`,
      'rules=$(cat)',
      'case $rules in *"hook egress"*) echo "Error: Could not process rule: Operation not supported" >&2; exit 1 ;; esac',
      `printf '%s\\n' "$rules" | ${(await execa('which', ['nft'])).stdout} "$@"`,
      '',
    ];
    writeFileSync(joinPath(folder, 'nft'), older.join('\n'), { mode: 0o755 });
    await world.router.attempt('nft', 'delete', 'table', 'netdev', 'underbridge_egress');
    router = world.startRouter({ ...env, CONNECTION_LIMIT: '0', PATH: `${folder}:${process.env.PATH}` });
    await router.untilHealthy();
    const { hardening } = await router.health();
    assert.equal(Reflect.get(Object(hardening), 'egress-hook'), 'missing');
    assert.equal(Reflect.get(Object(hardening), 'connection-limit'), 'off');
    assert.equal(Reflect.get(Object(hardening), 'arp-table'), 'on');
    assert.match(router.output(), /some layers of defence are missing.*\n?.*egress-hook/);
    assert.ok((await connect(world.client, 3 * limit)) > 2 * limit, 'and CONNECTION_LIMIT=0 limits nobody');
    await router.stop();
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** Takes one of our tables away, and puts it back as it was. */
async function withoutTable<T>(family: string, name: string, work: () => Promise<T>): Promise<T> {
  const listing = await nft('-s', 'list', 'table', family, name);
  await nft('delete', 'table', family, name);
  try {
    return await work();
  } finally {
    await execa(...world.router.argv('nft', '-f', '-'), { input: listing });
  }
}
