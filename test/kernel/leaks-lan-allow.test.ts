// LAN_ALLOW and LAN_ALLOW_IN in network namespaces, with DNS_LOCAL beside them: what is named passes outside of the tunnel,
// with the tunnel and without it, and nothing else does. FIREWALL=iptables-nft or iptables-legacy has the rules loaded that way.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import type { Status } from '../../src/health/status.ts';
import { backends } from '../leaks/firewall.ts';
import { type Ground, until } from '../leaks/ground.ts';
import { runRow, sum } from '../leaks/matrix.ts';
import { allowedRows } from '../leaks/rows.ts';
import { lanHost } from '../leaks/traffic.ts';
import { answersOf, askDns, askTcp, nextAnswer, startFlow } from './lab/client.ts';
import { untilCounting } from './lab/counting.ts';
import { endpointOf } from './lab/endpoint.ts';
import { layGround } from './lab/leak-ground.ts';
import { addresses, makeWorld, ports, startResolver, type World } from './lab/world.ts';

const backend = backends.find((name) => name === process.env.FIREWALL) ?? 'nft';
const { client, routerUplink } = addresses;
/** The resolver of the local network. */
const lanResolver = '192.168.77.53';
/** Another one on the local network. */
const speaker = '192.168.77.6';

let world: World;
let ground: Ground;

before(async () => {
  world = await makeWorld();
  ground = await layGround(world, {
    backend,
    env: {
      LAN_ALLOW: `192.168.77.0/24:tcp/8096, ${lanHost}:udp/8097`,
      LAN_ALLOW_IN: `192.168.77.0/24:tcp/${ports.web}:${client}`,
      DNS_LOCAL: `lan.test=${lanResolver}`,
    },
  });
  // The local network is behind the uplink's gateway, as the machine's own is behind Docker's bridge.
  for (const address of [lanHost, lanResolver, speaker])
    await world.isp.run('ip', 'addr', 'add', `${address}/24`, 'dev', 'to-server');
  startResolver(world.isp, lanResolver);
  await world.isp.run('ip', 'route', 'add', routerUplink, 'dev', 'to-router', 'src', lanHost);
  const peer = join(import.meta.dirname, 'lab/peer.ts');
  for (const port of ['8096', '8097']) world.isp.start({}, 'node', peer, port, lanHost);
  await ground.server.start();
  await ground.boot();
  await ground.untilCarried();
});
after(() => world?.remove());

async function failedAttempts(): Promise<number> {
  const { attempts } = JSON.parse(await world.router.run('curl', '-s', 'http://127.0.0.1:9797/healthz'));
  return Number(attempts);
}

async function passesOnlyWhatIsNamed() {
  const flow = startFlow(world.client, lanHost, 8097, 3);
  const [named, otherPort, inward, otherSource] = await Promise.all([
    askTcp(world.client, lanHost, 8096),
    askTcp(world.client, lanHost, 8097),
    askTcp(world.isp, routerUplink, ports.web),
    askTcp(world.server, routerUplink, ports.web),
  ]);
  assert.equal(named, routerUplink);
  assert.match(otherPort, /^E/);
  assert.equal(inward, lanHost);
  assert.match(otherSource, /^E/);
  assert.ok((await nextAnswer(flow, 0, 3_000)) !== undefined, `no answer by UDP: ${answersOf(flow)}`);
  flow.kill('SIGKILL');
}

test('carries what is named in both directions, and says so', async () => {
  await passesOnlyWhatIsNamed();
  const { verdict, health } = JSON.parse(await world.router.run('curl', '-s', 'http://127.0.0.1:9797/status'));
  assert.match(verdict.text, /Except by LAN_ALLOW, past the tunnel: clients to 192\.168\.77\.0\/24 tcp\/8096; /);
  assert.equal(health.pastTunnel.length, 3);
});

test('counts it apart from what goes through the tunnel', async () => {
  await untilCounting(world);
  const { status, until: untilSeen } = endpointOf(world);
  /** As soon as it is so, and nothing more has come by the next reading. */
  const settled = async (isSo: (seen: Status) => boolean) => {
    for (let seen = await untilSeen(isSo); ; ) {
      const next = await untilSeen(({ at }) => at !== seen.at);
      const counts = ({ traffic, trafficPastTunnel, clients }: Status) => ({ traffic, trafficPastTunnel, clients });
      if (isDeepStrictEqual(counts(next), counts(seen))) return next;
      seen = next;
    }
  };
  const none = await status();
  await Promise.all([askTcp(world.client, lanHost, 8096), askTcp(world.isp, routerUplink, ports.web)]);
  // An opening, its answer and more of each.
  const past = await settled(({ trafficPastTunnel: { sentPackets = 0, receivedPackets = 0 } = {} }) =>
    [sentPackets, receivedPackets].every((packets) => packets >= 6),
  );
  assert.deepEqual(past.traffic, none.traffic);
  assert.equal(await askTcp(world.client, addresses.web, ports.web), ground.scene.tunnel);
  const through = await settled(({ traffic }) => traffic.sentPackets >= none.traffic.sentPackets + 4);
  assert.deepEqual(through.trafficPastTunnel, past.trafficPastTunnel);
  const mine = through.clients.find(({ address }) => address === client);
  assert.deepEqual([mine?.sentBytes, mine?.receivedBytes], [through.traffic.sentBytes, through.traffic.receivedBytes]);
});

test('has a domain of DNS_LOCAL asked there by the resolver alone, and nothing else passes by either', async () => {
  const named = [
    `ip daddr ${lanResolver} meta l4proto { tcp, udp } th dport 53`,
    `ip daddr ${lanHost} tcp dport 8096`,
    `ip daddr ${lanHost} udp dport 8097`,
    `ip daddr ${lanHost} tcp sport ${ports.web}`,
  ];
  for (const [index, match] of named.entries()) {
    await world.isp.run('nft', 'add', 'counter', 'inet', 'isp', `named${index}`);
    const rule = `iifname "to-router" ip saddr ${routerUplink} ${match} counter name named${index} accept`;
    await world.isp.run('nft', `insert rule inet isp arriving ${rule}`);
  }
  const counted = async (index: number) => {
    const listing = await world.isp.run('nft', 'list', 'counter', 'inet', 'isp', `named${index}`);
    return Number(/packets (\d+)/.exec(listing)?.[1]);
  };
  await world.forgetLeaks();
  for (const [index, asked] of [lanResolver, '9.9.9.9', lanHost].entries()) {
    const before = await counted(0);
    const answer = () =>
      world.client.attempt('dig', '+short', '+time=1', '+tries=1', `@${asked}`, `a${index}.printer.lan.test`);
    await until(async () => (await answer()).output.trim() === lanResolver, 5_000, ground.log);
    const after = await counted(0);
    assert.ok(after > before, 'asked past the tunnel');
    assert.equal(await askDns(world.client, asked), addresses.resolver);
    assert.equal(await counted(0), after, 'asked through the tunnel');
  }
  await passesOnlyWhatIsNamed();
  const passed = await Promise.all(named.map((_, index) => counted(index)));
  assert.ok(
    passed.every((packets) => packets > 0),
    `${passed}`,
  );
  // What one setting names is no way out for those whom the other one is for.
  const user = [
    'setpriv',
    '--reuid=976',
    '--regid=976',
    '--clear-groups',
    'dig',
    '+time=1',
    '+tries=1',
    'x.test',
  ] as const;
  await world.router.attempt(...user, `@${lanHost}`, '-p', '8097');
  await world.router.attempt(...user, '+tcp', `@${lanHost}`, '-p', '8096');
  await world.router.attempt(...user, `@${lanHost}`);
  await world.client.attempt('dig', '+time=1', '+tries=1', `@${lanResolver}`, '-p', '8096', 'x.test');
  assert.deepEqual(await Promise.all(named.map((_, index) => counted(index))), passed);
  assert.equal(await world.leaked(), 0);
});

test('answers nobody beyond the tunnel past it, though he calls from such an address and port', async () => {
  const caller = '192.168.77.80';
  await world.server.run('ip', 'addr', 'add', `${caller}/32`, 'dev', 'lo');
  // A kernel that checks where a packet comes from drops the call.
  for (const device of ['all', 'tun0']) await world.router.run('sysctl', '-qw', `net.ipv4.conf.${device}.rp_filter=0`);
  await world.forgetLeaks();
  const program = `
    const call = { host: '${ground.scene.tunnel}', port: ${ports.web}, localAddress: '${caller}', localPort: 8096 };
    const socket = require('node:net').connect(call);
    socket.setTimeout(1500, () => socket.destroy());
    socket.on('error', () => undefined);`;
  await world.server.run('node', '-e', program);
  assert.equal(await world.leaked(), 0);
});

test('carries it where the kernel checks sources strictly, too', async () => {
  const setFilter = (to: number) =>
    world.router.run('sysctl', '-qw', ...['all', 'eth1'].map((device) => `net.ipv4.conf.${device}.rp_filter=${to}`));
  await setFilter(1);
  try {
    await passesOnlyWhatIsNamed();
  } finally {
    await setFilter(0);
  }
});

/** Somebody at the LAN host who speaks all the while to whoever connects; gives how often the client has heard him. */
async function startListening(): Promise<{ readonly heard: () => number; readonly stop: () => void }> {
  const speak = `
    require('node:net').createServer((socket) => {
      const timer = setInterval(() => socket.write('.'), 50);
      socket.on('error', () => 0).on('close', () => clearInterval(timer));
    }).listen(8096, '${speaker}', () => console.log('listening'));`;
  const speaking = world.isp.start({}, 'node', '-e', speak);
  await speaking.says('listening');
  const listen = `require('node:net').connect(8096, '${speaker}').on('error', ({ code }) => console.log(code)).pipe(process.stdout);`;
  const listening = world.client.start({}, 'node', '-e', listen);
  await listening.says('.');
  return {
    heard: () => listening.stdout().length,
    stop: () => {
      for (const each of [listening, speaking]) each.kill('SIGKILL');
    },
  };
}

test('does so without a tunnel, and no attempt that fails breaks what is open', async () => {
  await ground.server.kill();
  await until(
    async () => /^ECONNREFUSED/.test(await askTcp(world.client, addresses.web, ports.web)),
    20_000,
    ground.log,
  );
  try {
    const { heard, stop } = await startListening();
    await passesOnlyWhatIsNamed();
    const attempts = await failedAttempts();
    await until(async () => (await failedAttempts()) >= attempts + 3, 30_000, ground.log);
    const before = heard();
    await until(async () => heard() >= before + 5, 5_000, ground.log);
    stop();
  } finally {
    await ground.server.start();
  }
  await ground.untilCarried();
});

test('is put right when somebody else changes it', async () => {
  const isWhole = async () => {
    const [rules, routes] = await Promise.all([
      world.router.run('ip', 'rule'),
      world.router.run('ip', 'route', 'show', 'table', '7106'),
    ]);
    return (rules.match(/lookup 7106/g) ?? []).length === 9 && routes.includes('192.168.77.0/24');
  };
  assert.ok(await isWhole());
  await world.router.run('ip', 'rule', 'del', 'pref', '10');
  await world.router.run('ip', 'rule', 'add', 'pref', '14', 'to', '192.168.77.0/24', 'lookup', 'main');
  await world.router.run('ip', 'route', 'flush', 'table', '7106');
  await until(isWhole, 4_000, ground.log);
  await passesOnlyWhatIsNamed();
});

for (const row of allowedRows) {
  test(`leaks nothing beside what is named: ${row.event}`, async (t) => {
    const { sent, faults, lines, client: leaked, router, tookMs } = await runRow(ground, row, 1);
    t.diagnostic(`${leaked} + ${router} of ${sum(sent)} packets leaked, ${Math.round(tookMs)} ms`);
    assert.deepEqual(faults, [], [...lines.slice(0, 5), await ground.log()].join('\n'));
  });
}
