import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { askDns, askTcp } from './lab/client.ts';
import { makeDotPki, startDotResolver } from './lab/dot.ts';
import { type LabProcess, pidsIn } from './lab/namespace.ts';
import {
  addresses,
  makeWorld,
  type RunningRouter,
  type RunningServer,
  startResolver,
  type World,
} from './lab/world.ts';

// Root and network namespaces; real OpenVPN, and unbound both as the router's resolver and as the one beyond the tunnel.
const dotAnswer = '10.0.0.53';
const local = '192.168.77.53';
let world: World;
let server: RunningServer;
let router: RunningRouter;
let dot: LabProcess;
let settings: Readonly<Record<string, string>>;

before(async () => {
  world = await makeWorld();
  const { folder } = world;
  const pki = await makeDotPki(folder);
  const resolver = { address: addresses.resolver, answer: dotAnswer, folder };
  [server, dot] = await Promise.all([
    world.startServer(),
    startDotResolver(world.server, { ...resolver, port: 853, certificate: pki.good }),
    startDotResolver(world.server, { ...resolver, port: 8853, certificate: pki.expired }),
  ]);
  await world.isp.run('ip', 'addr', 'add', `${local}/32`, 'dev', 'lo');
  startResolver(world.isp, local);
  // What DNS_LOCAL lets out is no leak: it is counted apart.
  const allowed = `ip saddr ${addresses.routerUplink} ip daddr ${local} meta l4proto { tcp, udp } th dport 53`;
  await world.isp.run('nft', 'add', 'counter', 'inet', 'isp', 'local');
  await world.isp.run('nft', `insert rule inet isp arriving iifname "to-router" ${allowed} counter name local accept`);
  settings = {
    DNS: `tls://${addresses.resolver}#dot.test`,
    DNS_LOCAL: `lan.test=${local}`,
    DNS_CA_FILE: `${pki.authority}.crt`,
  };
  router = world.startRouter(settings);
  await router.untilHealthy();
  await untilDns(router, 'ok');
});
after(() => world.remove());

test('answers every DNS question of a client by the resolver with TLS, whatever server is asked', async () => {
  for (const asked of ['9.9.9.9', addresses.gateway, addresses.resolver, local]) {
    assert.equal(await askDns(world.client, asked), dotAnswer, `udp to ${asked}`);
    assert.equal(await askDns(world.client, asked, '+tcp'), dotAnswer, `tcp to ${asked}`);
  }
  assert.equal(await world.leaked(), 0);
});

test('refuses encrypted DNS of clients, and questions past the redirection', async () => {
  assert.match(await askTcp(world.client, '9.9.9.9', 853), /^E\w+ \d{1,3}$/);
  assert.match(await askTcp(world.client, addresses.resolver, 853), /^E\w+ \d{1,3}$/);
  assert.match(await askTcp(world.client, addresses.gateway, 5300), /^ECONNREFUSED \d{1,3}$/);
});

test("answers the router's own name, and its address backwards", async () => {
  assert.equal(await dig('underbridge.internal'), addresses.gateway);
  assert.equal(await dig('-x', addresses.gateway), 'underbridge.internal.');
});

test('asks a domain of DNS_LOCAL past the tunnel, that address and port alone, and says so', async () => {
  await world.forgetLeaks();
  assert.equal(await dig('printer.lan.test'), local);
  const { output } = await world.isp.attempt('nft', 'list', 'counter', 'inet', 'isp', 'local');
  assert.match(output, /packets [1-9]/);
  for (const [uid, address, port] of [
    ['976', local, '853'],
    ['976', addresses.isp, '53'],
    ['0', local, '53'],
  ] as const) {
    await digAs(uid, address, port);
  }
  assert.equal(await world.leaked(), 0);
  assert.match(router.output(), /DNS_LOCAL: these domains are asked past the tunnel/);
  assert.deepEqual(((await router.health()).dns as { pastTunnel: unknown }).pastTunnel, [`lan.test=${local}`]);
});

test('runs the resolver as a user of its own without any capability', async () => {
  const status = await world.router.run('cat', `/proc/${await resolverPid()}/status`);
  assert.match(status, /^Uid:\s+976\s+976\s+976/m);
  assert.match(status, /^Groups:\s*$/m);
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb']) assert.match(status, new RegExp(`^${set}:\\s+0+$`, 'm'));
  assert.match(status, /^NoNewPrivs:\s+1$/m);
});

test('keeps what it knows while the resolver is silent, says what fails, and leaves the tunnel alone', async () => {
  assert.equal(await dig('kept.test'), dotAnswer);
  const { attempts } = await router.health();
  dot.kill('SIGSTOP');
  assert.equal(await dig('kept.test'), dotAnswer);
  assert.match(await dig('new.test'), /timed out|no servers/);
  const { dns, healthy } = await untilDns(router, 'failing');
  assert.equal(dns?.cause?.code, 'resolver-silent');
  assert.match(dns?.cause?.text ?? '', /nothing comes back from 10\.99\.0\.53:853 \(dot\.test\)/);
  assert.equal(healthy, true);
  dot.kill('SIGCONT');
  await untilDns(router, 'ok');
  assert.equal((await router.health()).attempts, attempts);
});

test('starts the resolver again when somebody has killed it', async () => {
  const pid = await resolverPid();
  process.kill(Number(pid), 'SIGKILL');
  await untilDns(router, 'failing');
  await untilDns(router, 'ok');
  assert.notEqual(await resolverPid(), pid);
  assert.equal(await dig('again.test'), dotAnswer);
});

test("lets nothing of the resolver's user out when the tunnel is lost, by either lock alone", async () => {
  await world.forgetLeaks();
  router.process.kill('SIGSTOP');
  const node = (await pidsIn(world.router, 'node')).map(Number);
  for (const pid of node) process.kill(pid, 'SIGSTOP');
  try {
    await world.router.run('ip', 'link', 'set', 'tun0', 'down');
    const askOut = async () => {
      for (const address of ['9.9.9.9', addresses.isp, '203.0.113.99']) await digAs('976', address, '53');
      return world.leaked();
    };
    const wayOut = ['default', 'via', addresses.isp, 'dev', 'eth1', 'table', '7107'];
    await world.router.run('ip', 'route', 'add', ...wayOut);
    assert.equal(await askOut(), 0, 'the firewall alone');
    await world.router.run('ip', 'route', 'del', ...wayOut);
    for (const table of [
      ['inet', 'underbridge'],
      ['ip', 'underbridge_nat'],
      ['netdev', 'underbridge_egress'],
    ])
      await world.router.run('nft', 'delete', 'table', ...table);
    assert.equal(await askOut(), 0, 'the routing lock alone');
    await world.router.run('ip', 'route', 'add', ...wayOut);
    assert.notEqual(await askOut(), 0, 'neither: the test sees what leaks');
    await world.router.run('ip', 'route', 'del', ...wayOut);
  } finally {
    for (const pid of node) process.kill(pid, 'SIGCONT');
    router.process.kill('SIGCONT');
  }
  for (let tries = 0; tries < 20 && (await dig('repaired.test')) !== dotAnswer; tries += 1) await sleep(100);
  assert.equal(await dig('repaired.test'), dotAnswer);
});

test('answers nothing and sends nothing while there is no tunnel, and answers again with the next one', async () => {
  await world.forgetLeaks();
  const questions = world.client.start(
    {},
    'sh',
    '-c',
    `while :; do dig +short +time=1 +tries=1 @9.9.9.9 printer.lan.test; dig +short +time=1 +tries=1 @9.9.9.9 x.test; done`,
  );
  await server.stop();
  await router.untilUnhealthy();
  await untilDns(router, 'unknown');
  assert.match(await dig('kept.test'), /unreachable|refused|no servers|timed out/);
  assert.deepEqual(await pidsIn(world.router, 'unbound'), []);
  server = await world.startServer();
  await router.untilHealthy();
  await untilDns(router, 'ok');
  assert.equal(await dig('kept.test'), dotAnswer);
  questions.kill('SIGKILL');
  assert.equal(await world.leaked(), 0);
});

test('leaves no resolver behind when it stops', async () => {
  assert.equal((await router.stop()).exitCode, 0);
  assert.deepEqual(await pidsIn(world.router, 'unbound'), []);
});

for (const [what, dns] of [
  ['of another name', `tls://${addresses.resolver}#other.test`],
  ['that has expired', `tls://${addresses.resolver}:8853#dot.test`],
] as const) {
  test(`gives no answers and says why, when the resolver has a certificate ${what}`, async () => {
    router = world.startRouter({ ...settings, DNS: dns });
    await router.untilHealthy();
    const { dns: report, healthy } = await untilDns(router, 'failing');
    assert.equal(report?.cause?.code, 'certificate-refused');
    assert.match(report?.cause?.text ?? '', /^the certificate of 10\.99\.0\.53:8?853 \(\w+\.test\) was refused: ./);
    assert.equal(healthy, true);
    const { output } = await world.client.attempt('dig', '+time=3', '+tries=1', '@9.9.9.9', 'who-answers.test');
    assert.match(output, /SERVFAIL/);
    assert.equal(router.output().match(/names do not resolve/g)?.length, 1);
    assert.equal((await router.stop()).exitCode, 0);
  });
}

test('keeps answers of the resolver that the server pushed, with DNS_CACHE on, by iptables too', async () => {
  router = world.startRouter({ DNS_CACHE: 'on', FIREWALL: 'iptables-legacy' });
  await untilDns(router, 'ok');
  for (const option of [[], ['+tcp']]) {
    assert.equal(await askDns(world.client, '9.9.9.9', ...option), addresses.resolver);
  }
  assert.equal(await world.leaked(), 0);
  assert.equal((await router.stop()).exitCode, 0);
});

async function dig(...question: readonly string[]): Promise<string> {
  const options = ['+short', '+time=2', '+tries=1', '@9.9.9.9'];
  return (await world.client.attempt('dig', ...options, ...question)).output.trim();
}

/** A question from the router's own namespace, by a user. */
async function digAs(uid: string, address: string, port: string): Promise<void> {
  const user = ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups'] as const;
  const [file, ...args] = [...user, 'dig', '+time=1', '+tries=1', `@${address}`, '-p', port, 'x.test'] as const;
  await world.router.attempt(file, ...args);
}

async function resolverPid(): Promise<string> {
  const [pid] = await pidsIn(world.router, 'unbound');
  assert.ok(pid, 'the resolver runs');
  return pid;
}

interface Report {
  readonly healthy: boolean;
  readonly dns?: { readonly state: string; readonly cause?: { readonly code: string; readonly text: string } };
}

async function untilDns(of: RunningRouter, state: string): Promise<Report> {
  for (const deadline = Date.now() + 25_000; ; await sleep(50)) {
    const report: Report = await of.health();
    if (report.dns?.state === state) return report;
    if (Date.now() > deadline) throw new Error(`DNS is not ${state}: ${JSON.stringify(report.dns)}\n${of.output()}`);
  }
}
