// The image in the demo's world: what it carries, and what it shows of itself. Needs root; starts engines apart.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { dnsChecks, exitChecks, forwardChecks, leakTrapChecks } from '../../compose/proof/rows.ts';
import { type EngineName, openEngine, runApart } from './apart.ts';
import { addresses, type Order, openWorld, slackMs, type World } from './world.ts';

await runApart(import.meta.filename);

const places: readonly { readonly on: EngineName; readonly isolated: Order; readonly composeIs: 'v1' | 'v2' }[] = [
  { on: '20.10', isolated: 'first', composeIs: 'v1' },
  { on: '20.10', isolated: 'last', composeIs: 'v2' },
  { on: '28.5', isolated: 'last', composeIs: 'v2' },
  { on: '28.5', isolated: 'first', composeIs: 'v2' },
];

for (const { on, isolated, composeIs } of places) {
  describe(`Docker ${on}, isolated network ${isolated} in name order`, () => {
    let world: World;
    before(async () => {
      const engine = await openEngine(on);
      // Compose 1.29 ended with Debian bookworm.
      const compose = composeIs === 'v1' ? (engine.composeV1 ?? engine.composeV2) : engine.composeV2;
      world = openWorld(engine, { isolated, compose });
      await world.startScene();
    });
    after(() => world?.remove());

    test('is healthy soon after its start, by its own health check', async (t) => {
      await world.startRouter();
      const tookMs = await world.untilHealth('router', 'healthy', 5_000 + slackMs);
      t.diagnostic(`${on}, ${isolated}: ${world.compose} up to healthy in ${Math.round(tookMs)} ms`);
    });

    test('would be seen leaking', () => holds(leakTrapChecks));

    test("shows the world the VPN's address", () => holds(exitChecks));

    test('has the enforced resolver answer, by udp and tcp, whoever was asked', () => holds(dnsChecks));

    test('forwards a port to a client, by udp and tcp', () => holds(forwardChecks));

    test('leaks nothing while it carries', async (t) => {
      const before = await world.countLine();
      await world.exec('client2', 'knock', '2');
      const after = await world.countLine();
      t.diagnostic(`${on}, ${isolated}: ${after.openvpn - before.openvpn} packets of the VPN session`);
      assert.deepEqual([after.client - before.client, after.other - before.other], [0, 0]);
      assert.ok(after.openvpn > before.openvpn);
    });

    test('says at /healthz and /readyz how it is, and nothing elsewhere', async () => {
      const { status, body } = await world.request('/healthz');
      const { since, attempts, repairs, profile, profiles, hardening, ...rest } = body;
      assert.deepEqual(rest, {
        healthy: true,
        ready: true,
        state: 'up',
        remote: `${addresses.vpnExit}:1194/udp`,
        exitInterface: 'tun0',
        tunnelAddress: '10.8.0.2',
        firewall: 'nft',
        failures: 0,
      });
      assert.deepEqual(
        new Set(Object.values(hardening as Record<string, string>)),
        new Set(['on']),
        'each layer is on, on this kernel',
      );
      assert.equal(status, 200);
      assert.match(`${since}`, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
      assert.equal(typeof attempts, 'number');
      assert.equal(typeof repairs, 'number');
      assert.deepEqual(profiles, [{ name: profile, state: 'in-use', failures: 0 }]);
      assert.equal((await world.request('/readyz')).status, 200);
      assert.deepEqual(await world.request('/healthz', 'HEAD'), { status: 200, body: {} });
      assert.equal((await world.request('/healthz', 'POST')).status, 405);
      assert.equal((await world.request('/nothing')).status, 404);
    });

    test('prints its health by the command that the README names, and goes on', async () => {
      const table = await world.exec('router', 'underbridge', 'status');
      assert.equal(table.code, 0, table.stderr);
      assert.match(table.stdout, /^PROTECTED /);
      const { code, stdout, stderr } = await world.exec('router', 'underbridge', 'status', '--json');
      assert.equal(code, 0, stderr);
      assert.equal(JSON.parse(stdout).health.healthy, true);
    });

    test('names clients as Docker does, and counts what they moved', async () => {
      const seen = async () =>
        JSON.parse((await world.exec('router', 'underbridge', 'status', '--json')).stdout).clients;
      let named: readonly { readonly name?: string; readonly sentBytes: number }[] = [];
      for (let tries = 0; tries < 20 && named.length === 0; tries += 1) {
        const clients: typeof named = await seen();
        named = clients.filter(({ name, sentBytes }) => /client/.test(name ?? '') && sentBytes > 0);
      }
      assert.ok(named.length > 0, JSON.stringify(await seen()));
    });

    test('runs OpenVPN as its own user without any capability', async () => {
      const status = readFileSync(`/proc/${await world.pidOf('router', 'openvpn')}/status`, 'utf8');
      assert.match(status, /^Uid:\s+975\s+975\s+975/m);
      for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb'])
        assert.match(status, new RegExp(`^${set}:\\s+0+$`, 'm'));
    });

    test('does with four capabilities, a read-only root and no new privileges', async () => {
      const inspected = JSON.parse(await world.docker('router', 'inspect'))[0].HostConfig;
      assert.deepEqual(inspected.CapDrop, ['ALL']);
      assert.deepEqual(inspected.CapAdd.map((name: string) => name.replace('CAP_', '')).toSorted(), [
        'DAC_READ_SEARCH',
        'NET_ADMIN',
        'SETGID',
        'SETUID',
      ]);
      assert.equal(inspected.ReadonlyRootfs, true);
      assert.equal(inspected.Privileged, false);
      for (const { pid, program } of await world.processes('router')) {
        const status = readFileSync(`/proc/${pid}/status`, 'utf8');
        assert.match(status, /^NoNewPrivs:\s+1$/m, program);
        // DAC_READ_SEARCH 2, SETGID 6, SETUID 7, NET_ADMIN 12.
        assert.match(status, /^CapBnd:\s+00000000000010c4$/m, program);
      }
    });

    test('shows no secret in docker inspect, its log, arguments, environments, or health', async () => {
      const credentials = (await world.exec('provider', 'cat', '/provider/keys/openvpn_credentials')).stdout;
      const key = (await world.exec('provider', 'cat', '/provider/keys/tls-crypt.key')).stdout;
      const [, password = ''] = credentials.split('\n');
      const secrets = [password, password.slice(0, 16), JSON.stringify(password).slice(1, -1), ...keyLines(key)];
      assert.ok(secrets.every((secret) => secret.length >= 16) && secrets.length > 10, `${secrets.length}`);
      const status = await world.exec('router', 'underbridge', 'status');
      const shown = {
        inspect: await world.docker('router', 'inspect'),
        logs: await world.logs('router'),
        health: JSON.stringify([await world.request('/healthz'), await world.request('/readyz'), status]),
        arguments: await readEach(world, 'cmdline'),
        environment: await readEach(world, 'environ'),
      };
      for (const [where, text] of Object.entries(shown)) {
        assert.ok(text.length > 100, `${where} is empty`);
        for (const secret of secrets) assert.ok(!text.includes(secret), `${where} shows ${secret}`);
      }
    });

    test('takes at most 90 MiB of memory', async (t) => {
      const running = await world.processes('router');
      const each = running.map(({ pid, program }) => {
        const rss = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
        return { program, mebibytes: Number(rss) / 1024 };
      });
      const sum = each.reduce((total, { mebibytes }) => total + mebibytes, 0);
      const list = each.map(({ program, mebibytes }) => `${program} ${mebibytes.toFixed(1)}`).join(', ');
      t.diagnostic(`${on}, ${isolated}: ${sum.toFixed(1)} MiB resident: ${list}`);
      assert.ok(each.some(({ program }) => program === 'openvpn'));
      assert.ok(sum <= 90, list);
    });

    async function holds(checks: typeof exitChecks): Promise<void> {
      for (const check of checks) {
        const { done, seen, pass } = await check(world);
        assert.ok(pass, `${done}: ${seen}`);
      }
    }
  });
}

/** The lines of a PEM block that hold the key itself. */
function keyLines(pem: string): readonly string[] {
  return pem.split('\n').filter((line) => /^[0-9a-f]{32}$/.test(line));
}

async function readEach(world: World, file: 'cmdline' | 'environ'): Promise<string> {
  const running = await world.processes('router');
  return running.map(({ pid }) => readFileSync(`/proc/${pid}/${file}`, 'utf8')).join('\n');
}
