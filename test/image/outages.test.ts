// The image while something breaks, on real engines. A client that knows the router's MAC address floods all the while,
// so that nothing but the router protects it. Needs root; starts engines apart.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { leakTrapChecks, vpnExit } from '../../compose/proof/rows.ts';
import { knock, tryUntil } from '../../compose/proof/tries.ts';
import { floodDuring, nextAnswer, startFlow } from '../kernel/lab/client.ts';
import { assertInTime } from '../kernel/lab/in-time.ts';
import type { LabProcess, Namespace } from '../kernel/lab/namespace.ts';
import { type EngineName, openEngine, runApart } from './apart.ts';
import { addresses, type Order, openWorld, slackMs, type World } from './world.ts';

await runApart(import.meta.filename);

/** What the issue promises, each without the slack of a busy machine. */
const promised = {
  recoveryMs: 10_000,
  unhealthyMs: 10_000,
  healthyMs: 5_000,
  stopMs: 2_000,
  refusedMs: 200,
  repairMs: 2_000,
} as const;
const echoPort = 7777;

/** On 28.5 with the isolated network first, `npm run prove` starts, restarts and kills it (prove.test.ts). */
const places: readonly { readonly on: EngineName; readonly isolated: Order; readonly events: 'starts' | 'all' }[] = [
  { on: '20.10', isolated: 'first', events: 'all' },
  { on: '20.10', isolated: 'last', events: 'starts' },
  { on: '28.5', isolated: 'last', events: 'all' },
];

for (const { on, isolated, events } of places) {
  describe(`Docker ${on}, isolated network ${isolated} in name order`, () => {
    let world: World;
    let client: Namespace;
    let echo: LabProcess;

    before(async () => {
      world = openWorld(await openEngine(on), { isolated });
      await world.startScene();
      client = await world.enter('client1');
      const peer = join(import.meta.dirname, '../kernel/lab/peer.ts');
      echo = (await world.enter('web')).start({}, 'node', peer, `${echoPort}`, addresses.web);
    });
    after(async () => {
      echo?.kill('SIGKILL');
      await world?.remove();
    });

    test('a leak would be counted', async () => {
      for (const check of leakTrapChecks) {
        const { done, seen, pass } = await check(world);
        assert.ok(pass, `${done}: ${seen}`);
      }
    });

    test('leaks nothing at its first start', async (t) => {
      await flooded(t, async () => {
        await answered(t, 'first start', () => world.startRouter());
      });
      await world.awaitHealth('router');
    });

    test('leaks nothing when its container is restarted, and takes up a flow again', async (t) => {
      // So many packets that some arrive at every moment of the start: what the kernel remembers of them must not last.
      await remember(client);
      const flow = startFlow(client, addresses.web, echoPort, 30, 2);
      await flooded(t, () => answered(t, 'restart', () => world.docker('router', 'restart')));
      const answeredMs = Date.now();
      const again = await nextAnswer(flow, answeredMs, promised.recoveryMs + slackMs);
      flow.kill('SIGKILL');
      assert.ok(again, 'the same UDP flow runs again');
    });

    test('leaks nothing when its container is killed, and is back by its restart policy', async (t) => {
      const before = Number(await world.docker('router', 'inspect', '--format', '{{.RestartCount}}'));
      await remember(client);
      await flooded(t, async () => {
        const first = await world.pidOf('router', 'tini');
        await answered(t, 'container killed', () => process.kill(first, 'SIGKILL'));
      });
      assert.equal(Number(await world.docker('router', 'inspect', '--format', '{{.RestartCount}}')), before + 1);
      await world.awaitHealth('router');
    });
    if (events === 'starts') return;

    test("puts right what somebody flushes and takes away, and leaves Docker's own chains: names still resolve", async (t) => {
      const router = await world.enter('router');
      const repairs = async () => Number((await world.request('/healthz')).body.repairs);
      const [device = ''] =
        /(?<=^\d+: )\S+/.exec(await router.run('ip', '-o', 'addr', 'show', 'to', addresses.gateway)) ?? [];
      const changes = [
        ['nft', 'delete', 'table', 'inet', 'underbridge'],
        ['nft', 'flush', 'table', 'ip', 'underbridge_nat'],
        ['ip', 'rule', 'del', 'pref', '100'],
        ['ip', 'route', 'flush', 'table', '7101'],
        ['ip', 'addr', 'del', `${addresses.gateway}/24`, 'dev', device],
      ] as const;
      await flooded(t, async () => {
        for (const [program, ...args] of changes) {
          const [before, fromMs] = [await repairs(), performance.now()];
          await router.run(program, ...args);
          while ((await repairs()) === before) {
            assert.ok(performance.now() - fromMs < promised.repairMs + slackMs, await world.logs('router'));
          }
          say(t, `${args.join(' ')}: repaired after ${ms(performance.now() - fromMs)}`);
        }
      });
      const name = world.nameOf('router');
      const networks = JSON.parse(await world.docker('router', 'inspect'))[0].NetworkSettings.Networks;
      await flooded(t, async () => {
        for (const [network, { IPAddress }] of Object.entries<{ readonly IPAddress: string }>(networks)) {
          await world.engine.docker('network', 'disconnect', network, name);
          await answered(t, `${network} taken away and given back`, () =>
            world.engine.docker('network', 'connect', '--ip', IPAddress, network, name),
          );
        }
      });
      for (const [service, other] of [
        ['router', 'isp'],
        ['client1', 'client2'],
      ] as const) {
        const { code, stdout, stderr } = await world.exec(service, 'getent', 'hosts', other);
        assert.equal(code, 0, `${service} does not find ${other}: ${stdout}${stderr}`);
      }
      await world.awaitHealth('router');
    });

    test('is unhealthy for Docker when the VPN server is killed, refuses at once, and takes up a flow again', async (t) => {
      await world.awaitHealth('router');
      const leakedBefore = await world.leaked();
      const flow = startFlow(client, addresses.web, echoPort, 40);
      assert.ok(await nextAnswer(flow, 0, slackMs), 'the flow runs before');
      const killedMs = Date.now();
      await world.docker('provider', 'kill', '--signal', 'KILL');
      const [unhealthyMs, refused, tries] = await Promise.all([
        world.untilHealth('router', 'unhealthy', promised.unhealthyMs + slackMs),
        tryUntil(world, { service: 'client1', how: 'refused', seconds: 20 }),
        knock(world, { service: 'client2', seconds: 8 }),
      ]);
      say(t, `Docker health unhealthy ${ms(unhealthyMs)} after the VPN server was killed`);
      say(t, `refused in ${ms(refused.tookMs)}, for the first time ${ms(refused.at - killedMs)} after the kill`);
      assert.equal(refused.how, 'refused');
      assert.ok(refused.tookMs < promised.refusedMs + slackMs / 4, `${refused.tookMs} ms`);
      assert.equal(tries.get('answered'), 0);

      const blocked = await world.request('/healthz');
      assert.equal(blocked.status, 503);
      assert.equal(blocked.body.healthy, false);
      assert.match(JSON.stringify(blocked.body.cause), /"code":"[a-z-]+","text":"[^"]+"/);
      assert.equal(blocked.body.exitInterface, undefined);
      assert.equal((await world.request('/readyz')).status, 200);

      const startMs = Date.now();
      await world.docker('provider', 'start');
      await world.awaitHealth('provider');
      const listeningMs = Date.now();
      const [healthyMs, answer] = await Promise.all([
        world.untilHealth('router', 'healthy', promised.healthyMs + slackMs),
        tryUntil(world, { service: 'client2', how: 'answered', seconds: 20 }),
      ]);
      say(
        t,
        `Docker health healthy ${ms(healthyMs)} after the VPN server listened again (${ms(listeningMs - startMs)})`,
      );
      say(t, `answered ${ms(answer.at - startMs)} after docker start of the VPN server`);
      assert.equal(answer.exitAddress, vpnExit);

      const again = await nextAnswer(flow, listeningMs, promised.recoveryMs + slackMs);
      assert.ok(again, 'the same UDP flow runs again');
      say(t, `the same UDP flow runs again ${ms(again - startMs)} after docker start of the VPN server`);
      flow.kill('SIGKILL');
      const leaked = (await world.leaked()) - leakedBefore;
      say(t, `${leaked} packets leaked`);
      assert.equal(leaked, 0);
    });

    test('stops within two seconds with exit code 0, and starts again', async (t) => {
      await flooded(t, () =>
        assertInTime(promised.stopMs, async () => {
          const fromMs = Date.now();
          await world.docker('router', 'stop');
          const state = JSON.parse(await world.docker('router', 'inspect'))[0].State;
          const tookMs = Date.parse(state.FinishedAt) - fromMs;
          say(t, `docker stop: ended after ${ms(tookMs)}`);
          assert.equal(state.ExitCode, 0, await world.logs('router'));
          await answered(t, 'start after stop', () => world.docker('router', 'start'));
          return tookMs;
        }),
      );
    });

    function say(t: TestContext, text: string): void {
      t.diagnostic(`${on}, ${isolated}: ${text}`);
    }

    /** Makes something happen. Clients are answered through the VPN afterwards, without a hand. */
    async function answered(t: TestContext, event: string, make: () => unknown): Promise<void> {
      const fromMs = performance.now();
      await make();
      const answer = await tryUntil(world, { service: 'client2', how: 'answered', seconds: 20 });
      const tookMs = performance.now() - fromMs;
      say(t, `${event}: a client is answered after ${ms(tookMs)}`);
      assert.equal(answer.exitAddress, vpnExit);
      assert.ok(tookMs < promised.recoveryMs + slackMs, `${tookMs} ms`);
    }

    /** Counts what a flood during an event lets through. */
    async function flooded(t: TestContext, event: () => Promise<void>): Promise<void> {
      const before = await world.leaked();
      const sent = await floodDuring({ from: client, address: addresses.web, port: echoPort }, event);
      const leaked = (await world.leaked()) - before;
      say(t, `${leaked} of ${sent} packets leaked`);
      assert.ok(sent > 1_000, `${sent}`);
      const seen = (await world.logs('isp')).split('\n').filter((line) => line.includes('ethertype'));
      assert.equal(leaked, 0, `${leaked} of ${sent} packets leaked:\n${seen.slice(-3).join('\n')}`);
    }
  });
}

function ms(value: number): string {
  return `${Math.round(value)} ms`;
}

/**
 * The client is sure of the gateway's hardware address and asks nobody, but believes an announcement: a neighbour that
 * was just confirmed. (A permanent entry would believe nobody, and no router takes the same address twice.)
 */
async function remember(client: Namespace): Promise<void> {
  const neighbour = await client.run('ip', 'neigh', 'show', addresses.gateway, 'dev', 'eth0');
  const [, mac = ''] = /lladdr (\S+)/.exec(neighbour) ?? [];
  assert.notEqual(mac, '', neighbour);
  await client.run('ip', 'neigh', 'replace', addresses.gateway, 'lladdr', mac, 'nud', 'reachable', 'dev', 'eth0');
}
