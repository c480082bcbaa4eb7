// MODE=sidecar on a real engine: containers that join the router's network namespace, and all of them joining that of a
// container which does nothing, as in a pod. Kubernetes itself runs on no machine of these tests. Needs root.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parse } from 'yaml';
import { until } from '../kernel/lab/containers.ts';
import { demoImage, image, openEngine, runApart } from './apart.ts';
import { addresses, openWorld, runFor, slackMs, type World } from './world.ts';

await runApart(import.meta.filename);

const uplink = ['--network', 'm-uplink', '--ip', '198.51.100.2'] as const;
const enforced = '203.0.113.80';
let world: World;

before(async () => {
  world = openWorld(await openEngine('28.5'), { isolated: 'last' });
  await world.startScene(['provider', 'isp', 'web', 'resolvers']);
});
after(() => world?.remove());

const docker = (...args: readonly string[]) => world.engine.docker(...args);
const run = (name: string, ...args: readonly string[]) => docker('run', '--detach', '--name', name, ...args);
const runRouter = (name: string, ...network: readonly string[]) =>
  run(
    name,
    ...network,
    ...['--env', 'MODE=sidecar', '--env', 'CONFIG=client.ovpn', '--env', 'PORT_FWD=4666'],
    ...['--volume', 'underbridge-test_profile:/config:ro', '--volume', 'underbridge-test_credentials:/run/secrets:ro'],
    ...['--cap-drop', 'ALL', '--cap-add', 'NET_ADMIN', '--cap-add', 'SETUID', '--cap-add', 'SETGID'],
    ...[
      '--cap-add',
      'DAC_READ_SEARCH',
      '--device',
      '/dev/net/tun',
      '--read-only',
      '--tmpfs',
      '/run',
      '--tmpfs',
      '/tmp',
    ],
    ...['--security-opt', 'no-new-privileges:true', image],
  );
const runApp = (namespace: string) => run('app', '--network', `container:${namespace}`, demoImage, 'listener');
const inApp = async (...argv: readonly string[]) =>
  (await runFor(world.engine, ['docker', 'exec', 'app', ...argv])).stdout;
const exit = () => inApp('curl', '-s', '--max-time', '3', `http://${addresses.web}/`);
const untilHealth = (name: string, wanted: string, limitMs = 10_000 + slackMs) =>
  until(`${name} ${wanted}`, async () => (await world.engine.health(name)) === wanted, limitMs);
/** `knock` tries all the ways out that an ordinary program has. */
const knock = () => inApp('knock', '2');
const remove = (...names: readonly string[]) => docker('rm', '--force', '--volumes', ...names);

/** What has to hold wherever the namespace comes from. */
function holds(router: string): void {
  test('carries another container through the tunnel, and says so to Docker', async () => {
    await untilHealth(router, 'healthy');
    assert.equal(await exit(), addresses.vpnExit);
    assert.match(await knock(), /answered 1/);
    assert.equal(await world.leaked(), 0);
  });

  test("answers its DNS by the enforced resolver; Docker's own is not asked, not even for a container's name", async () => {
    for (const name of ['example.org', router, 'web']) {
      assert.equal(await inApp('dig', '+short', '+tries=1', name), enforced, name);
      assert.equal(await inApp('dig', '+short', '+tries=1', '+tcp', '@9.9.9.9', name), enforced, name);
    }
    assert.equal(await world.leaked(), 0);
  });

  test('leads a forwarded port to it', async () => {
    const { stdout } = await world.exec('web', 'sh', '-c', 'echo hello | socat -t 2 - TCP4:203.0.113.10:4666');
    assert.match(stdout, /heard 203\.0\.113\./);
  });

  test('cuts it off while the server is away, and carries it when it is back', async () => {
    await world.docker('provider', 'kill');
    await untilHealth(router, 'unhealthy', 15_000 + slackMs);
    assert.match(await knock(), /answered 0/);
    assert.doesNotMatch(await inApp('dig', '+short', '+tries=1', '+time=1', 'example.org'), /^\d/m);
    assert.equal(await world.leaked(), 0);
    await world.docker('provider', 'start');
    await untilHealth(router, 'healthy', 15_000 + slackMs);
    assert.equal(await exit(), addresses.vpnExit);
    assert.equal(await world.leaked(), 0);
  });
}

describe('a container with --network container:vpn', () => {
  before(async () => {
    await runRouter('vpn', ...uplink);
    await untilHealth('vpn', 'healthy');
    await runApp('vpn');
  });
  after(() => remove('app', 'vpn'));
  holds('vpn');

  test('may be restarted by itself', async () => {
    await docker('restart', '--time', '0', 'app');
    assert.equal(await exit(), addresses.vpnExit);
  });
});

describe('a pod: a namespace of its own, joined by router and container', () => {
  before(async () => {
    await run('pause', ...uplink, demoImage, 'sleep', 'infinity');
    await runRouter('router', '--network', 'container:pause');
    await untilHealth('router', 'healthy');
    await runApp('pause');
  });
  after(() => remove('app', 'router', 'pause'));
  holds('router');

  test('stays locked while the router is killed, and while it starts again', async () => {
    await docker('kill', '--signal', 'KILL', 'router');
    assert.match(await knock(), /answered 0/);
    assert.doesNotMatch(await inApp('dig', '+short', '+tries=1', '+time=1', 'example.org'), /^\d/m);
    await docker('start', 'router');
    assert.match(await knock(), /answered/);
    await untilHealth('router', 'healthy');
    assert.equal(await exit(), addresses.vpnExit);
    assert.equal(await world.leaked(), 0);
  });
});

test('the manifests have what the router needs', async () => {
  const folder = join(import.meta.dirname, '../../compose');
  const { code, stderr } = await runFor(world.engine, [
    world.compose,
    '--file',
    join(folder, 'sidecar.yaml'),
    'config',
    '--quiet',
  ]);
  assert.deepEqual(
    [code, stderr.split('\n').filter((line) => line !== '' && !line.includes('`version` is obsolete'))],
    [0, []],
  );
  const pod = parse(readFileSync(join(folder, 'kubernetes-sidecar.yaml'), 'utf8'));
  const [vpn] = pod.spec.initContainers;
  const compose = parse(readFileSync(join(folder, 'sidecar.yaml'), 'utf8')).services.vpn;
  assert.equal(pod.kind, 'Pod');
  assert.equal(vpn.restartPolicy, 'Always');
  assert.deepEqual(vpn.securityContext.capabilities, { drop: compose.cap_drop, add: compose.cap_add });
  assert.deepEqual(vpn.env.slice(0, 1), [{ name: 'MODE', value: compose.environment.MODE }]);
  assert.deepEqual(vpn.startupProbe.exec.command, ['/usr/lib/underbridge/healthcheck']);
  const mounted = vpn.volumeMounts.map(({ name }: { readonly name: string }) => name);
  assert.deepEqual(
    mounted,
    pod.spec.volumes.map(({ name }: { readonly name: string }) => name),
  );
});
