// Compose files of users, with the image and the demo's VPN server: that of vpn_nat_router, and our own router.yaml; by
// docker-compose 1.29 where the machine has it, and by Compose v2. Needs root; starts engines apart.
import assert from 'node:assert/strict';
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { dnsChecks, exitChecks, forwardChecks, vpnExit } from '../../compose/proof/rows.ts';
import { nextAnswer, startFlow } from '../kernel/lab/client.ts';
import type { Engine } from '../lab/engine.ts';
import { type EngineName, image, openEngine, runApart } from './apart.ts';
import { addresses, openWorld, runFor, type World } from './world.ts';

await runApart(import.meta.filename);

const folderOfOurs = join(import.meta.dirname, '../../compose');
const seedFile = join(import.meta.dirname, 'seed/compose.yaml');
const patienceMs = 20_000;

const runs: readonly {
  readonly on: EngineName;
  readonly program: 'composeV1' | 'composeV2';
  readonly files: 'ours' | 'all';
}[] = [
  { on: '20.10', program: 'composeV1', files: 'all' },
  { on: '20.10', program: 'composeV2', files: 'ours' },
  { on: '28.5', program: 'composeV2', files: 'all' },
];

for (const { on, program, files } of runs) {
  describe(`Docker ${on}, ${program === 'composeV1' ? 'docker-compose 1.29' : 'Compose v2'}`, () => {
    let engine: Engine;
    let compose: string;
    let folder: string;
    let world: World | undefined;

    before(async () => {
      engine = await openEngine(on);
      folder = await mkdtemp(join(tmpdir(), 'underbridge-compose-'));
      // Debian has no docker-compose 1.29 after bookworm: then these run once more by Compose v2.
      compose = engine[program] ?? engine.composeV2;
    });
    after(async () => {
      await world?.remove();
      await rm(folder, { recursive: true, force: true });
    });

    test('takes both Compose files of ours, and complains of nothing', async () => {
      for (const file of ['demo.yaml', 'router.yaml']) {
        const { code, stderr } = await runFor(engine, [
          compose,
          '--file',
          join(folderOfOurs, file),
          'config',
          '--quiet',
        ]);
        const remarks = stderr.split('\n').filter((line) => line !== '' && !line.includes('`version` is obsolete'));
        assert.deepEqual([code, remarks], [0, []], file);
      }
    });

    test('runs our router.yaml, and the command that it names shows the exit address', async (t) => {
      world = openWorld(engine, { isolated: { isolated: 'none', uplink: 'm-uplink' } });
      await world.startScene(['provider', 'isp', 'resolvers', 'web']);
      await addResolver(world, '1.1.1.1');
      const ours = join(folder, 'ours');
      await writeCustomer(world, join(ours, 'config'), 'provider.ovpn');
      await copyFile(join(ours, 'config/openvpn_credentials'), join(ours, 'openvpn_credentials'));
      await copyFile(join(folderOfOurs, 'router.yaml'), join(ours, 'router.yaml'));
      // The demo's VPN server can be reached from the demo's uplink only.
      const uplink = 'version: "2.4"\nnetworks:\n  internet:\n    external: true\n    name: m-uplink\n';
      await writeFile(join(ours, 'uplink.yaml'), uplink);
      const both = ['--file', join(ours, 'router.yaml'), '--file', join(ours, 'uplink.yaml')];
      const run = (...args: readonly string[]) =>
        runFor(engine, [compose, ...both, '--project-name', 'ours', ...args], { env: { UNDERBRIDGE_IMAGE: image } });
      const { code, stderr } = await run('up', '--detach', '--no-build');
      assert.equal(code, 0, stderr);
      t.diagnostic(`${on}: healthy ${await untilHealthy((await run('ps', '-q', 'router')).stdout.trim())} ms after up`);
      const ask =
        'exec 3<>/dev/tcp/ifconfig.me/80; printf "GET /ip HTTP/1.0\\r\\nHost: ifconfig.me\\r\\n\\r\\n" >&3; cat <&3';
      const asked = await run('exec', '-T', 'example', 'bash', '-c', ask);
      assert.equal(asked.stdout.split('\n').at(-1), vpnExit, asked.stdout + asked.stderr);
      const status = await run('exec', '-T', 'router', 'underbridge', 'status');
      assert.equal(status.code, 0, status.stderr);
      assert.equal(JSON.parse(status.stdout).state, 'up');
      const plan = await run('run', '--rm', '-T', 'router', 'plan');
      assert.match(plan.stdout, /^# forward through tun0 /m, plan.stderr);
      assert.equal((await world.countLine()).client, 0);
      await world.remove();
    });

    if (files === 'ours') return;

    test("runs vpn_nat_router's Compose file", async (t) => {
      world = openWorld(engine, { isolated: { isolated: 'underbridge', uplink: 'web' } });
      await world.startScene();
      await addResolver(world, '1.1.1.1');
      const config = await writeCustomer(world, join(folder, 'vpn'), 'openvpn_config_filename.ovpn');
      const up = [compose, '--file', seedFile, '--project-name', 'seed', 'up', '--detach'] as const;
      const env = { UNDERBRIDGE_IMAGE: image, SEED_FOLDER: config };
      const { code, stderr } = await runFor(engine, up, { env });
      assert.equal(code, 0, stderr);
      t.diagnostic(`${on}: healthy ${await untilHealthy('vpn')} ms after up`);
      for (const check of [...exitChecks, ...dnsChecks, ...forwardChecks]) {
        const { done, seen, pass } = await check(world);
        assert.ok(pass, `${done}: ${seen}`);
      }
      assert.equal((await world.countLine()).client, 0);
      await takesUpFlows(world);
    });

    /** A client's UDP flow goes on over a restart of the router; the client is sure where its gateway is, and asks nobody. */
    async function takesUpFlows(world: World): Promise<void> {
      const peer = join(import.meta.dirname, '../kernel/lab/peer.ts');
      const echo = (await world.enter('web')).start({}, 'node', peer, '7777', addresses.web);
      const client = await world.enter('client1');
      const known = /lladdr \S+/.exec(await client.run('ip', 'neigh', 'show', addresses.gateway))?.[0].split(' ') ?? [];
      await client.run('ip', 'neigh', 'replace', addresses.gateway, ...known, 'nud', 'reachable', 'dev', 'eth0');
      const flow = startFlow(client, addresses.web, 7777, 60, 2);
      try {
        await engine.docker('restart', 'vpn');
        await untilHealthy('vpn');
        const healthyMs = Date.now();
        assert.ok(await nextAnswer(flow, healthyMs, 1_000), 'the same UDP flow runs again');
      } finally {
        for (const process of [flow, echo]) process.kill('SIGKILL');
      }
    }

    async function untilHealthy(container: string): Promise<number> {
      const fromMs = performance.now();
      for (;;) {
        const health = await engine.health(container);
        const tookMs = Math.round(performance.now() - fromMs);
        if (health === 'healthy') return tookMs;
        const { stdout, stderr } = await runFor(engine, ['docker', 'logs', container]);
        assert.ok(tookMs < patienceMs, `${health}:\n${stdout}${stderr}`);
        await sleep(50);
      }
    }
  });
}

/** What the provider's customer gets, in a folder. Returns the folder. */
async function writeCustomer(world: World, folder: string, profile: string): Promise<string> {
  const read = async (path: string) => `${(await world.exec('provider', 'cat', path)).stdout}\n`;
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, profile), await read('/profile/client.ovpn'));
  await writeFile(join(folder, 'openvpn_credentials'), await read('/credentials/openvpn_credentials'), { mode: 0o600 });
  return folder;
}

/** One more resolver beyond the tunnel, which knows the demo's web site under every name. */
async function addResolver(world: World, address: string): Promise<void> {
  const answers = ['--address=/#/203.0.113.80', '--no-resolv', '--no-hosts', '--user=root', '--pid-file='];
  for (const { service, argv } of [
    { service: 'resolvers', argv: ['ip', 'address', 'add', `${address}/32`, 'dev', 'lo'] },
    { service: 'resolvers', argv: ['dnsmasq', '--bind-interfaces', `--listen-address=${address}`, ...answers] },
    { service: 'provider', argv: ['ip', 'route', 'replace', address, 'via', '203.0.113.53', 'src', vpnExit] },
  ] as const) {
    const { code, stderr } = await world.exec(service, ...argv);
    assert.equal(code, 0, stderr);
  }
}
