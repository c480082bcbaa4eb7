// The host role on real engines, with real containers and packets from other namespaces. Needs root.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { observeProcesses } from '../lab/processes.ts';
import { type EngineName, engines, image, openEngine, runApart } from './apart.ts';
import { testIsolatedBridge } from './host/isolated.ts';
import { published, testPublishedPorts } from './host/published.ts';
import type { Stage } from './host/stage.ts';
import { lines, openHostWorld, until, untilAnswer } from './host/world.ts';
import { runFor } from './world.ts';

await runApart(import.meta.filename);

const { tailscale0 } = lines;

for (const name of Object.keys(engines) as EngineName[]) {
  describe(`the host role on Docker ${name}`, () => {
    const stage = {
      name,
      ours: async () => {
        const saved = await Promise.all(
          ['iptables-save', 'ip6tables-save'].map((program) => stage.world.machine.run(program)),
        );
        return (
          saved
            .join('\n')
            .split('\n')
            .filter((line) => line.startsWith('-A') && line.includes('UNDERBRIDGE-'))
            // Chains are listed in the order in which they were made.
            .sort((one, other) => one.split(' ', 2).join().localeCompare(other.split(' ', 2).join()))
            .join('\n')
        );
      },
    } as Stage;
    before(async () => {
      stage.engine = await openEngine(name);
      stage.world = await openHostWorld(stage.engine);
      await stage.engine.docker('network', 'create', '--subnet', '10.90.0.0/24', 'apps');
      await stage.engine.docker('network', 'create', '--subnet', '10.91.0.0/24', 'others');
      await stage.engine.docker('network', 'create', '--internal', '--subnet', '10.92.0.0/24', 'a-internal');
    });
    after(async () => {
      await stage.world?.close();
      await stage.engine?.stop();
    });

    testPublishedPorts(stage);
    testIsolatedBridge(stage);

    describe('as a container', () => {
      const stopRole = async () => {
        stage.role.kill('SIGTERM');
        await stage.role.exited;
        await stage.world.host('cleanup');
      };

      it('runs as compose/host.yaml stands, and tells its health', async () => {
        await stopRole();
        const file = join(import.meta.dirname, '../../compose/host.yaml');
        const env = { COMPOSE_PROJECT_NAME: 'ub', UNDERBRIDGE_IMAGE: image };
        const compose = (...args: readonly string[]) =>
          runFor(stage.engine, [stage.engine.composeV2, '--file', file, ...args], { env });
        const { code, stderr } = await compose('up', '--detach', '--no-build');
        assert.equal(code, 0, stderr);
        const health = () => stage.engine.docker('inspect', '--format', '{{.State.Health.Status}}', 'ub-host-1');
        await until('it is healthy', async () => (await health()) === 'healthy', 15_000);
        assert.match(await stage.ours(), /-A UNDERBRIDGE-INPUT -i underbr .*"isolated underbridge" -j DROP/);
        const status = await runFor(stage.engine, ['docker', 'exec', 'ub-host-1', 'underbridge', 'host', 'status']);
        assert.equal(JSON.parse(status.stdout).docker, stage.engine.version);
        await compose('down', '--timeout', '2');
        // The rules outlive it.
        assert.match(await stage.ours(), /isolated underbridge/);
      });

      it('enters namespaces with the capabilities that are asked for, and says when it lacks them', async () => {
        const run = (rights: readonly string[], command = '--once') =>
          runFor(stage.engine, [
            ...(['docker', 'run', '--rm', '--network', 'host', '--read-only', '--cap-drop', 'ALL'] as const),
            ...['--volume', '/var/run/docker.sock:/var/run/docker.sock:ro', '--security-opt', 'no-new-privileges:true'],
            ...['--volume', `${stage.world.folder}:/config:ro`, ...rights, image, 'host', command],
          ]);
        const rules = ['--cap-add', 'NET_ADMIN', '--cap-add', 'NET_RAW'];
        await stage.world.rewrite('clients: cut-off\n');
        assert.match((await run([])).stderr, /NET_ADMIN: the capability is missing/);
        assert.match((await run(rules)).stderr, /client: it cannot be cut off from here/);
        const entering = ['--pid', 'host', '--cap-add', 'SYS_ADMIN', '--cap-add', 'SYS_PTRACE'];
        const { code, stdout, stderr } = await run([...rules, ...entering]);
        assert.equal(code, 0, stderr);
        assert.match(stdout, /^cut-off client$/m);
        const tables = async () => (await stage.world.enter('client')).run('nft', 'list', 'tables');
        const outside = await run(rules, 'cleanup');
        assert.match(outside.stderr, /^underbridge: what may have been added in the namespaces of .* they cannot be/m);
        assert.match(await tables(), /underbridge/);
        const inside = await run([...rules, ...entering], 'cleanup');
        assert.equal(inside.code, 0);
        assert.doesNotMatch(inside.stderr, /^underbridge:/m);
        assert.doesNotMatch(await tables(), /underbridge/);
      });

      it("refuses to work on the rules of another namespace than the machine's", async () => {
        const volume = '/var/run/docker.sock:/var/run/docker.sock:ro';
        const argv = [
          'docker',
          'run',
          '--rm',
          '--cap-add',
          'NET_ADMIN',
          '--volume',
          volume,
          image,
          'host',
          '--once',
        ] as const;
        const { code, stderr } = await runFor(stage.engine, argv);
        assert.equal(code, 1);
        assert.match(stderr, /none of Docker's bridges can be seen from here.*\n.*network_mode: host/);
      });
    });

    it('keeps the locks while the engine is away, and has all of it again after its restart', async () => {
      stage.role = await stage.world.startHost('isolated: [underbridge]\n');
      const before = await stage.ours();
      assert.match(before, /isolated underbridge/);
      for (const { pid, argv } of observeProcesses()) {
        if (/(^|\/)dockerd$/.test(argv[0] ?? '')) process.kill(pid, 'SIGKILL');
      }
      await until('it knows', async () => (await stage.world.status()).docker === undefined);
      stage.role.kill('SIGHUP');
      assert.equal(await stage.ours(), before);
      // The lab clears what names Docker's bridges before it starts an engine, ours among it.
      stage.engine = await engines[name]();
      await until('it is as before', async () => (await stage.ours()) === before);
      await until('it is well', async () => (await stage.world.status()).healthy);
    });

    // The other engine has its own /etc.
    if (name === '20.10') {
      it('forwards and shuts where Docker writes no rules at all (`--iptables=false`)', async () => {
        await stage.engine.stop();
        await stage.world.machine.run('mount', '-t', 'tmpfs', 'tmpfs', '/etc/docker');
        writeFileSync('/etc/docker/daemon.json', '{ "iptables": false }');
        stage.engine = await engines[name]();
        await stage.world.machine.run('iptables', '-P', 'FORWARD', 'DROP');
        await stage.world.serve('bare', ['tcp:80'], '--network', 'apps', '--ip', '10.90.0.40', '--publish', '8086:80');
        // Docker's proxy answers, but does not tell who asks.
        await untilAnswer('bare 10.90.0.1', stage.world.outside.tailscale0, tailscale0.machine, 8086);
        await stage.world.rewrite(`${published}isolated: [underbridge]\n`);
        await untilAnswer(`bare ${tailscale0.outside}`, stage.world.outside.tailscale0, tailscale0.machine, 8086);
        assert.match(await stage.ours(), /^-A FORWARD -j UNDERBRIDGE-FORWARD\n-A FORWARD -j UNDERBRIDGE-ACCEPT$/m);
        await stage.world.machine.run('iptables', '-P', 'FORWARD', 'ACCEPT');
        await stage.world.machine.run('umount', '/etc/docker');
      });
    }
  });
}
