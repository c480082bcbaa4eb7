import assert from 'node:assert/strict';
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import type { Status } from '../../src/health/status.ts';
import { answersOf, askTcp, startFlow } from './lab/client.ts';
import { untilCounting } from './lab/counting.ts';
import { type LabProcess, pidsIn } from './lab/namespace.ts';
import {
  addresses,
  credentials,
  makeWorld,
  ports,
  type RunningRouter,
  type RunningServer,
  type World,
} from './lab/world.ts';

// Root and network namespaces; real OpenVPN, nftables and Prometheus.
const token = 'canary-of-control-0123456789';
const compose = join(import.meta.dirname, '../../compose/monitoring');

let world: World;
let server: RunningServer;
let router: RunningRouter;
before(async () => {
  world = await makeWorld();
  await writeFile(join(world.folder, 'token'), `${token}\n`);
  // The server compares with the other one.
  await copyFile(join(world.folder, 'credentials'), join(world.folder, 'login'));
  await copyFile(join(world.folder, 'client.ovpn'), join(world.folder, 'spare.ovpn'));
  server = await world.startServer();
  router = world.startRouter({
    CONFIG: ['client.ovpn', 'spare.ovpn'].map((name) => join(world.folder, name)).join(','),
    FAILBACK: 'off',
    OPENVPN_CREDENTIALS_FILE: join(world.folder, 'login'),
    PORT_FWD: `${addresses.client}:8080`,
    CONTROL_TOKEN_FILE: join(world.folder, 'token'),
    // Open, so that clients can do their worst.
    HEALTH_ADDR: '0.0.0.0:9797',
    LOG_LEVEL: 'debug',
  });
  await router.untilHealthy();
  await untilCounting(world);
});
after(() => world?.remove());

async function request(path: string, ...options: readonly string[]) {
  const { output } = await world.router.attempt(
    'curl',
    '-s',
    '-m',
    '5',
    '-w',
    '\n%{http_code} %{time_total}',
    ...options,
    `http://127.0.0.1:9797${path}`,
  );
  const [, body = '', code, seconds] = /^(.*)\n(\d+) ([\d.]+)$/s.exec(output) ?? [];
  return { body, code: Number(code), ms: Number(seconds) * 1_000 };
}

async function status(): Promise<Status> {
  return JSON.parse((await request('/status')).body);
}

/** The status, as soon as it is so. */
async function until(isSo: (status: Status) => boolean, limitMs = 5_000): Promise<Status> {
  const endMs = performance.now() + limitMs;
  for (;;) {
    const seen = await status();
    if (isSo(seen)) return seen;
    assert.ok(performance.now() < endMs, JSON.stringify(seen));
    await sleep(100);
  }
}

function clientIn({ clients }: Status, address: string) {
  const client = clients.find((each) => each.address === address);
  assert.ok(client, JSON.stringify(clients));
  return client;
}

function post(action: string, given = token) {
  return request(`/control/${action}`, '-X', 'POST', '-H', `authorization: Bearer ${given}`);
}

test('says of each client what it moved, opened and was refused, and why', async () => {
  await askTcp(world.client, addresses.web, ports.web);
  await askTcp(world.server, '10.8.0.2', 8080);
  await askTcp(world.client, addresses.gateway, 22);
  await askTcp(world.other, '9.9.9.9', 853);
  const seen = await until(({ clients }) => clients.length === 2 && clients[0]?.openings === 2);
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
  const stream = world.router.start({}, 'curl', '-sN', 'http://127.0.0.1:9797/events');
  await stream.says('"schema":1');
  const fromMs = performance.now();
  await server.stop();
  await stream.says('"verdict":{"kind":"blocked"');
  // The kernel says so when the next packet goes out: at the next question of the probe.
  assert.ok(performance.now() - fromMs < 4_000);
  // What is refused in the very moment of a load is not counted.
  const isCounted = async () => (clientIn(await status(), addresses.other).refused['refuse-tcp'] ?? 0) > 0;
  while (!(await isCounted())) await askTcp(world.other, addresses.web, ports.web);
  server = await world.startServer();
  await stream.says('"verdict":{"kind":"protected"');
  stream.kill('SIGTERM');
  const [first = '', ...others] = stream
    .output()
    .split('\n')
    .flatMap((line) => /^data: (.*)/.exec(line)?.[1] ?? []);
  assert.ok('schema' in JSON.parse(first) && others.length >= 2);
  for (const line of others) assert.ok(!('schema' in JSON.parse(line)) && 'at' in JSON.parse(line), line);
});

test('goes on counting where the rules were loaded anew, and where somebody flushed the counting table', async () => {
  const seen = await until(({ verdict }) => verdict.kind === 'protected');
  assert.equal(clientIn(seen, addresses.client).refused['in-lan-reset'], 1);
  assert.ok((clientIn(seen, addresses.other).refused['refuse-tcp'] ?? 0) >= 1);
  await world.router.run('nft', 'delete', 'table', 'inet', 'underbridge_passed');
  await sleep(550);
  await request('/status');
  await untilCounting(world);
  // Nor is that table, or what is in the sets, taken for a change of ours.
  assert.equal((await status()).health.repairs, 0);
});

test('prints its status as a table and as JSON, and its exit code says whether it is healthy', async () => {
  const run = (...args: readonly string[]) =>
    world.router.attempt('env', 'HEALTH_ADDR=0.0.0.0:9797', join(world.folder, 'underbridge/run'), 'status', ...args);
  const table = await run();
  assert.equal(table.exitCode, 0, table.output);
  assert.match(table.output, /^PROTECTED {2}Clients leave through the tunnel, and only there\.$/m);
  assert.match(table.output, /^172\.22\.0\.128 +172\.22\.0\.128 +\d/m);
  assert.doesNotMatch(table.output, /\x1b/);
  const { schema, health } = JSON.parse((await run('--json')).output) as Status;
  assert.deepEqual([schema, health.healthy], [1, true]);
  await post('pause');
  const paused = await run();
  assert.equal(paused.exitCode, 1);
  assert.match(paused.output, /^PAUSED {2}/m);
  await post('reconnect');
  await router.untilHealthy();
});

test('pauses: clients are refused, nothing leaves, until it is told to reconnect', async () => {
  const flow = startFlow(world.client, addresses.web, ports.web, 3, 20);
  await flow.exited;
  assert.equal((await post('pause')).code, 200);
  const { verdict, health } = await status();
  assert.deepEqual([verdict.kind, health.healthy], ['paused', false]);
  await world.forgetLeaks();
  assert.match(await askTcp(world.client, addresses.web, ports.web), /^ECONNREFUSED \d{1,3}$/);
  assert.deepEqual([await pidsIn(world.router, 'openvpn'), await world.leaked()], [[], 0]);
  assert.deepEqual([(await post('reconnect')).code, (await router.untilHealthy()) > 0], [200, true]);
  assert.equal(await askTcp(world.client, addresses.web, ports.web), '10.8.0.2');
});

test('changes to the next profile, and reads profiles and credentials again', async () => {
  assert.equal((await post('next')).code, 200);
  await router.untilHealthy();
  assert.equal((await status()).health.profile, 'spare.ovpn');
  const file = join(world.folder, 'login');
  const right = await readFile(file);
  await writeFile(file, 'somebody\nsomething else\n');
  assert.equal((await post('reload')).code, 200);
  await until(({ health }) => health.cause?.code === 'auth-failed');
  await writeFile(file, 'one line only\n');
  const refused = await post('reload');
  assert.equal(refused.code, 409);
  assert.match(JSON.parse(refused.body).outcome, /^nothing was changed: 1 problem\n/);
  await writeFile(file, right);
  assert.equal((await post('reload')).code, 200);
  await router.untilHealthy();
});

test('does none of it for a wrong token, another method or another path, and writes down who asked', async () => {
  const before = await status();
  const wrong = await post('pause', 'wrong');
  assert.ok(wrong.code === 401 && wrong.ms >= 1_000, JSON.stringify(wrong));
  assert.equal((await request('/control/pause', '-X', 'POST')).code, 401);
  // As a page of somebody else would: no header of its own without asking first, and that is refused.
  assert.equal(
    (await request('/control/pause', '-X', 'POST', '-d', `token=${token}`, '-H', 'origin: http://evil.test')).code,
    401,
  );
  const asked = await request(
    '/control/pause',
    '-i',
    '-X',
    'OPTIONS',
    '-H',
    'access-control-request-headers: authorization',
  );
  assert.ok(asked.code === 405 && !/access-control-allow/i.test(asked.body), asked.body);
  assert.equal((await request(`/control/pause?token=${token}`)).code, 405);
  assert.equal((await post('explode')).code, 404);
  const { health, events } = await status();
  assert.deepEqual([health.healthy, health.since], [true, before.health.since]);
  assert.ok(
    events.some(({ message, details }) => message.startsWith('control refused') && details.includes('from=127.0.0.1')),
  );
  assert.match(router.output(), /INFO: control \{"action":"pause","from":"127\.0\.0\.1"\}/);
});

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
  const best = async (path: string) => {
    const answers = [];
    for (let round = 0; round < 4; round += 1) {
      // Counters that were just read are not read again.
      await sleep(550);
      answers.push(await request(path));
    }
    return answers.reduce((one, other) => (one.ms <= other.ms ? one : other));
  };
  const [health, scrape] = [await best('/healthz'), await best('/metrics')];
  assert.ok((scrape.body.match(/^underbridge_client_refused_packets_total/gm)?.length ?? 0) >= 800);
  t.diagnostic(`/healthz ${health.ms} ms, /metrics ${scrape.ms} ms`);
  // 1 and 10 ms on a machine that does nothing else; here other tests run beside it.
  assert.ok(health.ms <= 20 && scrape.ms <= 150, `/healthz ${health.ms} ms, /metrics ${scrape.ms} ms`);
});

test('is answered by a real Prometheus: metrics, alert rules and every question of the dashboard', async (t) => {
  const lint = await execa('promtool', ['check', 'metrics'], {
    input: (await request('/metrics')).body,
    reject: false,
    all: true,
  });
  assert.deepEqual([lint.exitCode, lint.all], [0, '']);
  const prometheus = await startPrometheus();
  t.after(() => prometheus.kill('SIGKILL'));
  const ask = async (path: string) => {
    const { output } = await world.router.attempt(
      'curl',
      '-s',
      '-m',
      '2',
      '-G',
      `http://127.0.0.1:9090/api/v1/${path}`,
    );
    return output.startsWith('{') ? JSON.parse(output) : undefined;
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

test('shows no secret on any path, whatever is asked, and stands whatever a client does to it', async () => {
  const flow = startFlow(world.other, addresses.web, ports.web, 6, 50);
  const fuzz = world.client.start(
    {},
    'node',
    join(import.meta.dirname, 'lab/fuzz-http.ts'),
    addresses.gateway,
    '9797',
    '4',
  );
  await sleep(1_000);
  // The container's own health check is never kept out.
  for (let tries = 0; tries < 10; tries += 1) {
    const check = await world.router.attempt(
      'env',
      'HEALTH_ADDR=0.0.0.0:9797',
      join(world.folder, 'underbridge/healthcheck'),
    );
    assert.equal(check.exitCode, 0, check.output);
    await sleep(100);
  }
  await fuzz.exited;
  const { seen, text } = JSON.parse(fuzz.output());
  assert.ok(seen[200] > 0 && seen[404] > 0 && seen[431] > 0, JSON.stringify(seen));
  await flow.exited;
  assert.ok(answersOf(flow).length > 100, `${answersOf(flow).length} answers`);
  assert.equal((await router.health()).healthy, true);
  const paths = ['/', '/status', '/metrics', '/healthz', '/readyz', '/page.js'];
  const shown = [
    text,
    router.output(),
    ...(await Promise.all(paths.map(async (path) => (await request(path)).body))),
    (await world.router.attempt('curl', '-sN', '-m', '1', 'http://127.0.0.1:9797/events')).output,
    ...(await Promise.all(
      (await pidsIn(world.router)).map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')),
    )),
  ];
  for (const secret of [token, credentials.username, credentials.password]) {
    for (const form of [secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret), escapeHtml(secret)]) {
      for (const each of shown)
        assert.ok(
          !each.includes(form),
          `shown: ${each.slice(Math.max(0, each.indexOf(form) - 200), each.indexOf(form) + 20)}`,
        );
    }
  }
});

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
    const endMs = performance.now() + 5_000;
    while (!tells.test(last())) {
      assert.ok(performance.now() < endMs, failing.output());
      await sleep(50);
    }
    failing.process.kill('SIGKILL');
    await failing.process.exited;
  }
});

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('"', '&quot;').replaceAll('<', '&lt;');
}
