import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Containers, startContainers, startNamed, until, whoAnswers } from './lab/containers.ts';
import { publicAddress, startMiniupnpd } from './lab/miniupnpd.ts';
import type { LabProcess } from './lab/namespace.ts';
import { addresses, makeWorld, type RunningRouter, type RunningServer, type World } from './lab/world.ts';

// Root and network namespaces; real OpenVPN on both ends, and a real miniupnpd behind the server.
interface Dynamic {
  readonly port?: number;
  readonly publicAddress?: string;
  readonly problem?: string;
}

/** miniupnpd gives the number that it is told where that is free: 49153, because 49152 is forwarded. */
const insides = { natpmp: '8081', pcp: 'inside=same' } as const;

// Side by side: most of the time they wait.
describe('a port that is assigned', { concurrency: true }, () => {
  for (const protocol of ['natpmp', 'pcp'] as const) {
    describe(`by ${protocol}`, { concurrency: 1 }, () => {
      let world: World;
      let containers: Containers;
      let server: RunningServer;
      let gateway: LabProcess;
      let router: RunningRouter;
      let hook: LabProcess;
      let port = 0;
      const file = () => join(world.folder, 'shared', 'port');
      const dynamic = async (): Promise<Dynamic> =>
        JSON.parse(await world.router.run('curl', '-s', 'http://127.0.0.1:9797/status')).dynamicForward;
      const given = async () => (await dynamic()).port ?? 0;
      /** From the provider's side, through its gateway. */
      const fromOutside = () => whoAnswers(world.isp, addresses.server, port);

      before(async () => {
        world = await makeWorld();
        containers = await startContainers(world);
        await containers.place({ web: addresses.client, app: addresses.other });
        server = await world.startServer();
        gateway = await startMiniupnpd(world);
        for (const inside of [8081, 49_153]) startNamed(world.client, 'client', inside);
        hook = startHook(world);
        router = world.startRouter({
          PORT_FWD: `49152:${addresses.other}:80/udp`,
          PORT_FWD_DYNAMIC: `${protocol}:web:${insides[protocol]}`,
          PORT_FWD_FILE: file(),
          PORT_FWD_HOOK: 'http://app:8090/set?json={"port":{port}}',
          PORT_FWD_HAIRPIN: 'on',
        });
        await router.untilHealthy();
      });
      after(async () => {
        await containers?.remove();
        await world?.remove();
      });

      test('is asked for, leads to the container by tcp and udp, and is told', async (t) => {
        const tookMs = await until('there is a port', async () => (await given()) > 0, 5_000);
        t.diagnostic(`a port ${Math.round(tookMs)} ms after the tunnel was proven`);
        port = await given();
        await until('it is known how the world sees it', async () => 'publicAddress' in (await dynamic()), 2_000);
        assert.deepEqual(await dynamic(), {
          protocol,
          transports: ['tcp', 'udp'],
          target: 'web',
          address: addresses.client,
          inside: protocol === 'pcp' ? 'same' : '8081',
          port,
          publicAddress,
        });
        await until('it is forwarded', async () => (await fromOutside()) === 'client', 3_000);
        const mapped = await world.server.run('nft', 'list', 'table', 'inet', 'upnp');
        // By tcp and udp; 49152 is taken.
        assert.equal(mapped.split(`th dport ${port} dnat ip to 10.8.0.2:49153\n`).length, 3, mapped);
        await hook.says(`POST /set?json=%7B%22port%22:${port}%7D app:8090 json=%7B%22port%22:${port}%7D`);
        const metrics = await world.router.run('curl', '-s', 'http://127.0.0.1:9797/metrics');
        assert.ok(metrics.includes(`underbridge_assigned_port{protocol="${protocol}"} ${port}`));
      });

      test('is told in the file as soon as that can be written', async () => {
        mkdirSync(join(file(), '..'));
        await until('the file is there', () => existsSync(file()), 8_000);
        assert.equal(readFileSync(file(), 'utf8'), `${port}\n`);
      });

      test('is reached by a client under the public address', async () => {
        assert.equal(await whoAnswers(world.other, publicAddress, port), 'client');
      });

      test('is asked for again soon after the gateway began anew, by the same number', async (t) => {
        gateway.kill('SIGKILL');
        await gateway.exited;
        gateway = await startMiniupnpd(world);
        assert.notEqual(await fromOutside(), 'client');
        const tookMs = await until('it is forwarded again', async () => (await fromOutside()) === 'client', 12_000);
        t.diagnostic(`${Math.round(tookMs)} ms after the restart`);
        assert.equal(await given(), port);
      });

      // The same code by both protocols.
      if (protocol === 'natpmp') {
        test('follows the number when the gateway gives another one', async () => {
          gateway.kill('SIGKILL');
          await gateway.exited;
          const before = port;
          gateway = await startMiniupnpd(world);
          // Somebody else of the provider's has taken it meanwhile.
          for (const transport of ['tcp', 'udp']) await takePort(world, { transport, port: before });
          await until('there is another number', async () => ![0, before].includes(await given()), 12_000);
          port = await given();
          assert.equal(await fromOutside(), 'client');
          assert.equal(readFileSync(file(), 'utf8'), `${port}\n`);
          await hook.says(`json=%7B%22port%22:${port}%7D`);
        });

        test('is there again after the tunnel was lost', async () => {
          await server.stop();
          await router.untilUnhealthy();
          await until('the port is gone', async () => (await given()) === 0 && !existsSync(file()), 2_000);
          gateway.kill('SIGKILL');
          server = await world.startServer();
          gateway = await startMiniupnpd(world);
          await router.untilHealthy();
          await until('there is a port', async () => (await given()) === port, 8_000);
          await until('it is forwarded', async () => (await fromOutside()) === 'client', 3_000);
        });
      }

      test('is given back at the stop', async () => {
        const { exitCode, tookMs } = await router.stop();
        assert.equal(exitCode, 0);
        assert.ok(tookMs < 2_000, `${tookMs} ms`);
        assert.ok(!existsSync(file()));
        assert.doesNotMatch(await world.server.run('nft', 'list', 'table', 'inet', 'upnp'), /10\.8\.0\.2/);
      });

      test('lets nothing out past the tunnel in all of it', async () => {
        assert.equal(await world.leaked(), 0);
      });
    });
  }
});

/** A program that wants to be told the port: it says every request that it gets. */
function startHook(world: World): LabProcess {
  const program = `
    require('node:http').createServer((request, response) => {
      let body = '';
      request.on('data', (data) => { body += data; });
      request.on('end', () => {
        console.log(request.method, request.url, request.headers.host, body);
        response.end();
      });
    }).listen(8090);`;
  return world.other.start({}, 'node', '-e', program);
}

/** A mapping of another of the gateway's clients: by NAT-PMP, from the server's own address in the tunnel. */
async function takePort(world: World, { transport, port }: { readonly transport: string; readonly port: number }) {
  const program = `
    const message = Buffer.alloc(12);
    message[1] = ${transport === 'udp' ? 1 : 2};
    message.writeUInt16BE(5000, 4);
    message.writeUInt16BE(${port}, 6);
    message.writeUInt32BE(3600, 8);
    const socket = require('node:dgram').createSocket('udp4');
    socket.on('message', (answer) => { console.log(answer.readUInt16BE(10)); socket.close(); });
    socket.bind(0, '10.8.0.1', () => socket.send(message, 5351, '10.8.0.1'));`;
  assert.equal((await world.server.run('node', '-e', program)).trim(), `${port}`);
}
