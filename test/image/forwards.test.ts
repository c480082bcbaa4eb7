// A forward to a container by its name, with Docker's own resolver. Needs root; starts engines apart.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { forwardChecks } from '../../compose/proof/rows.ts';
import { type Namespace, ownNamespace } from '../kernel/lab/namespace.ts';
import { type EngineName, engines, openEngine, runApart } from './apart.ts';
import { openWorld, slackMs, type World } from './world.ts';

await runApart(import.meta.filename);

/** What the router promises a container that moves. */
const followMs = 5_000;
const network = 'z-isolated';

for (const on of Object.keys(engines) as EngineName[]) {
  describe(`PORT_FWD by name on Docker ${on}`, () => {
    let world: World;
    before(async () => {
      world = openWorld(await openEngine(on), { isolated: 'last', forwards: 'client2:4666' });
      await world.startScene();
      await world.startRouter();
      await world.awaitHealth('router');
    });
    after(() => world?.remove());

    test('leads to the container that Docker knows by the name', async () => {
      await untilForwarded();
    });

    test('follows it to another address', async (t) => {
      await disconnect();
      await connect('172.22.0.140');
      t.diagnostic(`${on}: followed after ${Math.round(await untilForwarded())} ms`);
      assert.deepEqual(await targets(), ['172.22.0.140']);
    });

    test('asks nobody else for it while it is absent', async (t) => {
      const places = [await world.enter('router'), ownNamespace()];
      const captures = await Promise.all(places.map(capture));
      await disconnect();
      await until('nothing leads there', async () => (await targets()).length === 0);
      // Docker has no such name now; the router has asked for it again by the time it finds it back.
      await connect('172.22.0.128');
      t.diagnostic(`${on}: back after ${Math.round(await untilForwarded())} ms`);
      for (const each of captures) {
        each.kill('SIGTERM');
        await each.exited;
        assert.doesNotMatch(each.output(), /\? client2/, each.output());
        assert.match(each.output(), /packets? captured/);
      }
      assert.equal(await world.leaked(), 0);
    });

    const disconnect = () => world.engine.docker('network', 'disconnect', network, world.nameOf('client2'));
    const connect = (address: string) =>
      world.engine.docker(
        'network',
        'connect',
        '--ip',
        address,
        '--alias',
        'client2',
        network,
        world.nameOf('client2'),
      );

    /** Questions of DNS that leave a namespace. */
    async function capture(place: Namespace) {
      const running = place.start(
        {},
        'tcpdump',
        '-lnni',
        'any',
        'udp',
        'port',
        '53',
        'and',
        'not',
        'net',
        '127.0.0.0/8',
      );
      await running.says('listening on');
      return running;
    }

    async function targets(): Promise<readonly string[]> {
      const { stdout } = await world.exec('router', 'nft', 'list', 'table', 'ip', 'underbridge_nat');
      return [...new Set([...stdout.matchAll(/: (172\.22\.0\.\d+) \. 4666/g)].map(([, address = '']) => address))];
    }

    const untilForwarded = () =>
      until('it is forwarded', async () => {
        const rows = await Promise.all(forwardChecks.map((check) => check(world)));
        return rows.every(({ pass }) => pass);
      });

    async function until(what: string, isSo: () => Promise<boolean>): Promise<number> {
      const fromMs = performance.now();
      while (!(await isSo())) {
        if (performance.now() - fromMs > followMs + slackMs) throw new Error(`${what}: ${await world.logs('router')}`);
      }
      return performance.now() - fromMs;
    }
  });
}
