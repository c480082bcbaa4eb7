import assert from 'node:assert/strict';
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import type { Status } from '../../src/health/status.ts';
import { renderSpread, spreadOf } from '../bench/figures.ts';
import { askTcp } from './lab/client.ts';
import { untilCounting } from './lab/counting.ts';
import { type Endpoint, endpointOf } from './lab/endpoint.ts';
import { assertInTime } from './lab/in-time.ts';
import type { LabProcess } from './lab/namespace.ts';
import { addresses, makeWorld, ports, type RunningRouter, type RunningServer, type World } from './lab/world.ts';

// Root and network namespaces; real OpenVPN, nftables and Prometheus.
const token = 'canary-of-control-0123456789';
const compose = join(import.meta.dirname, '../../compose/monitoring');

let world: World;
let server: RunningServer;
let router: RunningRouter;
let endpoint: Endpoint;
before(async () => {
  world = await makeWorld();
  endpoint = endpointOf(world);
  await writeFile(join(world.folder, 'token'), `${token}\n`);
  server = await world.startServer();
  router = world.startRouter({
    PORT_FWD: `${addresses.client}:8080`,
    CONTROL_TOKEN_FILE: join(world.folder, 'token'),
    HEALTH_ADDR: '0.0.0.0:9797',
  });
  await router.untilHealthy();
  await untilCounting(world);
});
after(() => world?.remove());

function clientIn({ clients }: Status, address: string) {
  const client = clients.find((each) => each.address === address);
  assert.ok(client, JSON.stringify(clients));
  return client;
}

test('says of each client what it moved, opened and was refused, and why', async () => {
  await askTcp(world.client, addresses.web, ports.web);
  await askTcp(world.server, '10.8.0.2', 8080);
  await askTcp(world.client, addresses.gateway, 22);
  await askTcp(world.other, '9.9.9.9', 853);
  const seen = await endpoint.until(({ clients }) => clients.length === 2 && clients[0]?.openings === 2);
  const client = clientIn(seen, addresses.client);
  assert.deepEqual([client.openings, client.refused], [2, { 'in-lan-reset': 1 }]);
  assert.ok(client.sentPackets >= 8 && client.sentBytes >= 8 * 40 && client.sentBytes < 2_000, JSON.stringify(client));
  assert.deepEqual(clientIn(seen, addresses.other).refused, { 'outbound-foreign-dot': 1 });
  assert.deepEqual(seen.traffic, {
    sentBytes: client.sentBytes,
    sentPackets: client.sentPackets,
    receivedBytes: client.receivedBytes,
    receivedPackets: client.receivedPackets,
  });
  const reasons = new Map(seen.refused.map(({ reason, packets }) => [reason, packets]));
  assert.deepEqual([reasons.get('in-lan-reset'), reasons.get('outbound-foreign-dot')], [1, 1]);
  assert.deepEqual([seen.schema, seen.verdict.kind, seen.tunnels.length], [1, 'protected', 1]);
  assert.deepEqual(seen.forwards, [
    { transports: ['tcp', 'udp'], outside: '8080', target: addresses.client, inside: '8080' },
  ]);
});

test('warns that the endpoint is open to clients', () => {
  assert.match(router.output(), /WARN: the health endpoint is open to clients and to the uplink/);
});

test('tells events: all at first, then what is new, and a dead server at once', async () => {
  // The kernel says so when the next packet goes out: at the next question of the probe.
  await assertInTime(4_000, async () => {
    const stream = world.router.start({}, 'curl', '-sN', 'http://127.0.0.1:9797/events');
    await stream.says('"schema":1');
    const fromMs = performance.now();
    await server.stop();
    await stream.says('"verdict":{"kind":"blocked"');
    const tookMs = performance.now() - fromMs;
    // What is refused in the very moment of a load is not counted.
    const isCounted = async () => (clientIn(await endpoint.status(), addresses.other).refused['refuse-tcp'] ?? 0) > 0;
    while (!(await isCounted())) await askTcp(world.other, addresses.web, ports.web);
    server = await world.startServer();
    await stream.says('"verdict":{"kind":"protected"');
    // To its end.
    while (!stream.stdout().endsWith('\n')) await sleep(10);
    stream.kill('SIGTERM');
    const [first = '', ...others] = stream
      .stdout()
      .split('\n')
      .flatMap((line) => /^data: (.*)/.exec(line)?.[1] ?? []);
    assert.ok('schema' in JSON.parse(first) && others.length >= 2);
    for (const line of others) assert.ok(!('schema' in JSON.parse(line)) && 'at' in JSON.parse(line), line);
    return tookMs;
  });
});

/** Has the client talk until more of it is counted than before, and gives what is counted then. */
async function untilMore(before: Status, address: string): Promise<Status> {
  const packets = (seen: Status) => clientIn(seen, address).sentPackets;
  for (let tries = 0; tries < 100; tries += 1) {
    await askTcp(world.client, addresses.web, ports.web);
    const seen = await endpoint.status();
    if (packets(seen) > packets(before)) return seen;
  }
  return assert.fail(`nothing more of ${address} is counted\n${router.output()}`);
}

test('goes on counting where the rules were loaded anew, and where somebody flushed the counting table', async () => {
  const seen = await endpoint.until(({ verdict }) => verdict.kind === 'protected');
  assert.equal(clientIn(seen, addresses.client).refused['in-lan-reset'], 1);
  assert.ok((clientIn(seen, addresses.other).refused['refuse-tcp'] ?? 0) >= 1);
  await world.router.run('nft', 'delete', 'table', 'inet', 'underbridge_passed');
  await sleep(550);
  await endpoint.request('/status');
  await untilCounting(world);
  // Nor is that table, or what is in the sets, taken for a change of ours.
  assert.equal((await untilMore(seen, addresses.client)).health.repairs, 0);
});

test("goes on counting, what passes and what is refused, when the clients' interface has another name", async () => {
  const before = await endpoint.status();
  for (const change of [['down'], ['name', 'lan7'], ['up']])
    await world.router.run('ip', 'link', 'set', change[0] === 'up' ? 'lan7' : 'eth0', ...change);
  const after = await untilMore(before, addresses.client);
  assert.ok(after.traffic.sentBytes > before.traffic.sentBytes);
  await askTcp(world.client, addresses.gateway, 22);
  const reset = (seen: Status) => clientIn(seen, addresses.client).refused['in-lan-reset'] ?? 0;
  await endpoint.until((seen) => reset(seen) > reset(before));
});

test('prints its status as a table and as JSON, and its exit code says whether it is healthy', async () => {
  const run = (...args: readonly string[]) =>
    world.router.attempt('env', 'HEALTH_ADDR=0.0.0.0:9797', join(world.folder, 'underbridge/run'), 'status', ...args);
  const table = await run();
  assert.equal(table.exitCode, 0, table.output);
  assert.match(table.output, /^PROTECTED {2}Clients leave through the tunnel, and only there\.$/m);
  assert.match(table.output, /^172\.22\.0\.128 +172\.22\.0\.128 +\d/m);
  assert.doesNotMatch(table.output, /\x1b/);
  const { schema, health } = JSON.parse((await run('--json')).stdout) as Status;
  assert.deepEqual([schema, health.healthy], [1, true]);
  const watching = world.router.start(
    {},
    ...(['env', 'HEALTH_ADDR=0.0.0.0:9797', join(world.folder, 'underbridge/run'), 'status', '--watch'] as const),
  );
  await watching.says('PROTECTED');
  await endpoint.post('pause', token);
  await watching.says('PAUSED');
  watching.kill('SIGTERM');
  const paused = await run();
  assert.equal(paused.exitCode, 1);
  assert.match(paused.output, /^PAUSED {2}/m);
  await endpoint.post('reconnect', token);
  await router.untilHealthy();
});

/** Milliseconds of each answer: as many as it takes until one of them is in time, for a minute, and a few at least. */
async function timesOf(path: string, { limitMs, pauseMs }: { readonly limitMs: number; readonly pauseMs: number }) {
  const times: number[] = [];
  const endMs = performance.now() + 60_000;
  while (times.length < 5 || (performance.now() < endMs && Math.min(...times) > limitMs)) {
    await sleep(pauseMs);
    times.push((await endpoint.request(path)).ms);
  }
  return times;
}

test('answers in time: /healthz, and a scrape of 200 clients that were refused four ways', async (t) => {
  const counter = (each: number) => `counter packets ${each} bytes ${each * 1_400}`;
  const all = Array.from({ length: 200 }, (_, index) => `172.22.0.${index + 2}`);
  const sets = ['sent', 'received', 'opened'].map((set) => {
    const elements = all.map((address, index) => `${address} ${counter(index)}`).join(', ');
    return `flush set inet underbridge_passed ${set}\nadd element inet underbridge_passed ${set} { ${elements} }\n`;
  });
  const refused = all.flatMap((address, index) =>
    [1, 3, 4, 5].map((mark) => `${address} . 0x0${mark} ${counter(index)}`),
  );
  const refusals = `flush set inet underbridge refused\nadd element inet underbridge refused { ${refused.join(', ')} }\n`;
  await execa(...world.router.argv('nft', '-f', '-'), { input: sets.join('') + refusals });
  // Counters that were just read are not read again.
  const asked = { '/healthz': { limitMs: 2, pauseMs: 0 }, '/metrics': { limitMs: 20, pauseMs: 550 } };
  for (const [path, how] of Object.entries(asked)) {
    const spread = spreadOf(await timesOf(path, how));
    t.diagnostic(`${path}: ${renderSpread(spread, 'ms')} of ${spread.count}`);
    // The best one: other tests run beside it, and what it costs itself is in every one.
    assert.ok(spread.least <= how.limitMs, renderSpread(spread, 'ms'));
  }
  const { body } = await endpoint.request('/metrics');
  assert.ok((body.match(/^underbridge_client_refused_packets_total/gm)?.length ?? 0) >= 800);
});

test('tells 1,024 clients apart and the rest as one, however many are forged at how many loads', async (t) => {
  const forged = 3_000;
  const refuse = async (second: number) => {
    const elements = Array.from({ length: forged }, (_, index) => {
      return `10.${second}.${index >> 8}.${index & 255} . 0x01 counter packets 2 bytes 80`;
    });
    await execa(...world.router.argv('nft', '-f', '-'), {
      input: `flush set inet underbridge refused\nadd element inet underbridge refused { ${elements.join(', ')} }\n`,
    });
    await sleep(550);
    await endpoint.request('/status');
  };
  for (const second of [1, 2, 3]) {
    await refuse(second);
    await endpoint.post('reconnect', token);
    await router.untilHealthy();
  }
  await sleep(550);
  const { clients } = await endpoint.status();
  const packets = (each: Status['clients'][number] | undefined) =>
    Object.values(each?.refused ?? {}).reduce((sum, count) => sum + count, 0);
  assert.deepEqual([clients.length, clients.at(-1)?.address], [1_025, 'others']);
  const all = clients.filter(({ address }) => address.startsWith('10.') || address === 'others').map(packets);
  assert.ok(all.reduce((sum, count) => sum + count, 0) >= 3 * forged * 2);
  assert.ok(clients.some(({ address }) => address === addresses.client));
  const { body, ms } = await endpoint.request('/metrics');
  assert.equal(body.match(/^underbridge_client_sent_bytes_total/gm)?.length, 1_025);
  t.diagnostic(`a scrape of 1,025 clients: ${ms} ms, ${Math.round(body.length / 1_000)} kB`);
});

test('is answered by a real Prometheus: metrics, alert rules and every question of the dashboard', async (t) => {
  const lint = await execa('promtool', ['check', 'metrics'], {
    input: (await endpoint.request('/metrics')).body,
    reject: false,
    all: true,
  });
  assert.deepEqual([lint.exitCode, lint.all], [0, '']);
  const prometheus = await startPrometheus();
  t.after(() => prometheus.kill('SIGKILL'));
  const ask = async (path: string) => {
    const { stdout } = await world.router.attempt(
      'curl',
      '-s',
      '-m',
      '2',
      '-G',
      `http://127.0.0.1:9090/api/v1/${path}`,
    );
    return stdout.startsWith('{') ? JSON.parse(stdout) : undefined;
  };
  const query = (text: string) => ask(`query?query=${encodeURIComponent(text)}`);
  for (let tries = 0; (await query('underbridge_healthy'))?.data?.result?.[0]?.value[1] !== '1'; tries += 1) {
    assert.ok(tries < 100, prometheus.output());
    await sleep(100);
  }
  const dashboard = JSON.parse(await readFile(join(compose, 'grafana-dashboard.json'), 'utf8'));
  const questions: string[] = dashboard.panels.flatMap(({ targets = [] }: { targets?: { expr: string }[] }) =>
    targets.map(({ expr }) => expr),
  );
  assert.ok(questions.length >= 8);
  // Of the cause there is nothing to measure now.
  const known = await readFile(join(import.meta.dirname, '../../src/health/metrics.ts'), 'utf8');
  for (const text of questions) {
    assert.equal((await query(text.replaceAll('$__rate_interval', '5s')))?.status, 'success', text);
    for (const [name] of text.matchAll(/underbridge_\w+/g))
      assert.ok(known.includes(`'${name}'`), `${name} is not measured`);
  }
  const { groups } = (await ask('rules')).data;
  const rules: { readonly health: string; readonly state: string; readonly name: string }[] = groups.flatMap(
    ({ rules }: { rules: [] }) => rules,
  );
  assert.ok(rules.length >= 4);
  assert.deepEqual(
    rules.filter(({ health, state }) => health === 'err' || state === 'firing'),
    [],
  );
});

async function startPrometheus(): Promise<LabProcess> {
  const folder = join(world.folder, 'prometheus');
  await execa('mkdir', ['-p', folder]);
  const config = await readFile(join(compose, 'prometheus.yaml'), 'utf8');
  await writeFile(
    join(folder, 'prometheus.yaml'),
    config.replace('router:9797', '127.0.0.1:9797').replace(/_interval: .*/g, '_interval: 300ms'),
  );
  await copyFile(join(compose, 'alerts.yaml'), join(folder, 'alerts.yaml'));
  return world.router.start(
    { cwd: folder },
    ...([
      'prometheus',
      '--config.file=prometheus.yaml',
      '--storage.tsdb.path=data',
      '--web.listen-address=127.0.0.1:9090',
    ] as const),
  );
}

test('tells a failed start in its last five lines', async () => {
  router.process.kill('SIGKILL');
  await router.process.exited;
  for (const { env, tells } of [
    {
      env: { OPENVPN_CREDENTIALS_FILE: join(world.folder, 'token') },
      tells: /OPENVPN_CREDENTIALS_FILE line 2: is empty\. Write /,
    },
    { env: { IP_ADDR: '172.22.0.1' }, tells: /IP_ADDR="172\.22\.0\.1": .*\. [A-Z]/ },
    { env: { CONFIG: '/nowhere.ovpn' }, tells: /CONFIG="\/nowhere\.ovpn": the profile is not there\. Mount / },
    {
      env: { OPENVPN_CREDENTIALS_FILE: undefined, OPENVPN_USERNAME: 'x', OPENVPN_PASSWORD: 'y' },
      tells: /auth-failed.*check user name and password/,
    },
  ]) {
    const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined)) as Record<
      string,
      string
    >;
    const unset = env.OPENVPN_USERNAME === undefined ? {} : { OPENVPN_CREDENTIALS_FILE: '' };
    const failing = world.startRouter({ ...unset, ...given });
    const last = () => failing.output().trimEnd().split('\n').slice(-5).join('\n');
    const endMs = performance.now() + 20_000;
    while (!tells.test(last())) {
      assert.ok(performance.now() < endMs, failing.output());
      await sleep(50);
    }
    failing.process.kill('SIGKILL');
    await failing.process.exited;
  }
});
