// network-go's networks.json and docker_iptables' files on real engines, with packets from other namespaces. Needs root.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { LabProcess } from '../kernel/lab/namespace.ts';
import type { Engine } from '../lab/engine.ts';
import { type EngineName, engines, image, openEngine, runApart } from './apart.ts';
import { seedBase } from './host/seed-base.ts';
import { answerOf, foreignRules, type HostWorld, lines, openHostWorld, until, untilAnswer } from './host/world.ts';
import { runFor } from './world.ts';

await runApart(import.meta.filename);

const folder = mkdtempSync(join(tmpdir(), 'underbridge-networks-'));
const networksFile = join(folder, 'networks.json');
// The world hands its environment on.
Object.assign(process.env, { NETWORKS_CONFIG_PATH: networksFile, WATCH_PERIOD_SECONDS: '20', DEBUG: 'true' });
after(() => rmSync(folder, { recursive: true }));

const { tailscale0, lan0 } = lines;
const file = {
  networks: {
    front: { network_name: 'front', subnet: '10.50.0.0/24', gateway: '10.50.0.1' },
    back: { network_name: 'back', subnet: '10.51.0.0/24', gateway: '10.51.0.1' },
  },
  ips: {
    '10.50.0.10': { ip: '10.50.0.10', container_name: 'proxy', selector: 'edge', service_name: 'test' },
    '10.51.0.10': { ip: '10.51.0.10', container_name: 'proxy', selector: 'edge', service_name: 'test' },
    '10.50.0.30': { ip: '10.50.0.30', container_name: 'client', selector: 'client', service_name: 'test' },
    '10.51.0.21': { ip: '10.51.0.21', container_name: 'web-1', selector: 'web', service_name: 'test' },
  },
};
const accept = { container_name: 'web_1', selector: 'web', from: 'client', port: 80, proto: 'tcp' };
const onInterface = {
  name: 'vpn',
  selector: 'web',
  iface: 'tailscale0',
  nat: 'dnat',
  to: 'web-1',
  port: 80,
  proto: 'tcp',
};
const inside = { selector: 'edge', nat: 'dnat', to: 'web', port: 81, proto: 'tcp' };
const policies = [accept, onInterface, inside];

for (const name of Object.keys(engines) as EngineName[]) {
  describe(`on Docker ${name}`, () => {
    let engine: Engine;
    let world: HostWorld;
    let role: LabProcess;
    const write = (given: object) => writeFileSync(networksFile, JSON.stringify(given, undefined, '\t'));
    /** Starts a container that is on no network, as if it waited to be attached. */
    const serve = async (container: string, ...ports: readonly string[]) => {
      await world.serve(container, ports);
      await engine.docker('network', 'disconnect', 'bridge', container);
    };
    const addressOf = (container: string, network: string) => {
      const format = `{{with index .NetworkSettings.Networks "${network}"}}{{.IPAddress}}{{end}}`;
      return engine.docker('inspect', '--format', format, container);
    };
    const insideProxy = async () => (await world.enter('proxy')).run('iptables-save', '--table', 'nat');

    before(async () => {
      engine = await openEngine(name);
      world = await openHostWorld(engine);
    });
    after(async () => {
      await world?.close();
      await engine?.stop();
    });

    describe('network-go: networks.json', () => {
      before(async () => {
        for (const container of ['client', 'proxy', 'other']) await serve(container, 'tcp:80');
        await serve('web-1', 'tcp:80', 'tcp:81', 'tcp:82');
      });

      it('makes networks and attaches containers by --once, in one go', async () => {
        write({ ...file, policies });
        const { exitCode, output } = await world.host('--once');
        assert.equal(exitCode, 0, output);
        assert.deepEqual(
          await Promise.all([addressOf('client', 'front'), addressOf('proxy', 'back'), addressOf('web-1', 'back')]),
          ['10.50.0.30', '10.51.0.10', '10.51.0.21'],
        );
        await engine.docker('network', 'connect', 'front', 'other');
        assert.match((await world.host('plan')).output, /^# nothing to change$/m);
      });

      it('lets in whom a policy names to the port that it names, and nobody else', async () => {
        const client = await world.enter('client');
        // Docker masquerades what goes from one network to another.
        await untilAnswer('web-1 10.51.0.1', client, '10.51.0.21', 80);
        assert.equal(await answerOf(client, '10.51.0.21', 82), 'nobody');
        assert.equal(await answerOf(await world.enter('other'), '10.51.0.21', 80), 'nobody');
        assert.equal(await answerOf(await world.enter('web-1'), '10.50.0.30', 80), 'nobody');
      });

      it('translates by `iface` on the machine, and by `selector` in the container with masquerade', async () => {
        role = await world.startHost('{}\n');
        await untilAnswer(`web-1 ${tailscale0.outside}`, world.outside.tailscale0, tailscale0.machine, 80);
        assert.equal(await answerOf(world.outside.lan0, lan0.machine, 80), 'nobody');
        await untilAnswer('web-1 10.51.0.10', await world.enter('other'), '10.50.0.10', 81);
        await untilAnswer(`proxy ${await addressOf('other', 'front')}`, await world.enter('other'), '10.50.0.10', 80);
      });

      it('does it again in a container that restarted, and for one that was made anew', async () => {
        await engine.docker('restart', '--time', '0', 'proxy');
        await untilAnswer('web-1 10.51.0.10', await world.enter('other'), '10.50.0.10', 81);
        await engine.docker('rm', '--force', 'web-1');
        await serve('web-1', 'tcp:80', 'tcp:81');
        await untilAnswer(`web-1 ${tailscale0.outside}`, world.outside.tailscale0, tailscale0.machine, 80);
        await untilAnswer('web-1 10.51.0.1', await world.enter('client'), '10.51.0.21', 80);
      });

      it('moves a container that came with another address, and keeps its names there', async () => {
        await engine.docker('network', 'disconnect', 'front', 'client');
        await engine.docker('network', 'connect', '--ip', '10.50.0.77', '--alias', 'caller', 'front', 'client');
        await until('it has its address', async () => (await addressOf('client', 'front')) === '10.50.0.30');
        const aliases = await engine.docker(
          'inspect',
          '--format',
          '{{json (index .NetworkSettings.Networks "front").Aliases}}',
          'client',
        );
        assert.match(aliases, /"caller"/);
      });

      it('tells all that is wrong with the file, each with its line, and keeps the rest', async () => {
        write({
          ...file,
          networks: { ...file.networks, over: { subnet: '192.168.77.128/25', gateway: '192.168.77.129' } },
          ips: { ...file.ips, '10.99.0.1': { container_name: 'other' } },
          policies: [...policies, { ...accept, prt: 1 }, { ...accept, from: 'nobody' }],
        });
        await role.says('"value":"nobody"');
        const { faults } = await world.status();
        assert.deepEqual(
          faults.map(({ name: place, value }) => `${place.replace(/\d+/, 'N')} ${value}`).sort(),
          ['10.99.0.1', '192.168.77.128/25', 'nobody', 'prt'].map((value) => `networks.json:N ${value}`),
        );
        assert.equal((await world.host('plan')).output.match(/left out: 4 problems/g)?.length, 1);
        await untilAnswer('web-1 10.51.0.1', await world.enter('client'), '10.51.0.21', 80);
        writeFileSync(networksFile, '{ "networks": {');
        await role.says('is no JSON');
        await untilAnswer('web-1 10.51.0.10', await world.enter('other'), '10.50.0.10', 81);
      });

      it('takes away what no policy wants any more, in the container too', async () => {
        const docker = (await insideProxy()).split('\n').filter((line) => /DOCKER/.test(line));
        write({ ...file, policies: [accept] });
        await until('nothing is left inside', async () => !(await insideProxy()).includes('UNDERBRIDGE'));
        assert.deepEqual(
          (await insideProxy()).split('\n').filter((line) => /DOCKER/.test(line)),
          docker,
        );
        await until(
          'the machine has forgotten it',
          async () => !(await world.machine.run('iptables-save')).includes('INSIDE'),
        );
        assert.equal(await answerOf(world.outside.tailscale0, tailscale0.machine, 80), 'nobody');
        write({ ...file, policies });
        await untilAnswer('web-1 10.51.0.10', await world.enter('other'), '10.50.0.10', 81);
      });

      it('settles, writes nothing more, and cleanup leaves none of it', async () => {
        await world.settled();
        const { counts } = await world.status();
        role.kill('SIGHUP');
        await until('it looked', async () => (await world.status()).counts.reconciles > counts.reconciles);
        assert.equal((await world.status()).counts.writes, counts.writes);
        const foreign = await foreignRules(world.machine);
        role.kill('SIGTERM');
        await role.exited;
        assert.equal((await world.host('cleanup')).exitCode, 0);
        assert.doesNotMatch(await insideProxy(), /UNDERBRIDGE/);
        assert.doesNotMatch(await world.machine.run('iptables-save'), /UNDERBRIDGE/);
        assert.equal(await foreignRules(world.machine), foreign);
        await engine.docker('rm', '--force', 'client', 'proxy', 'other', 'web-1');
      });
    });

    describe('docker_iptables: forward create|delete, where Docker writes no rules (`--iptables=false`)', () => {
      const rules = join(folder, `iptables.d-${name}`);
      const reload = `${import.meta.dirname}/host/reload-iptables.sh ${rules}`;
      const forward = (...args: readonly string[]) =>
        world.host('forward', ...args, '--iptables-dir', rules, '--ip6tables-dir', `${rules}6`, '--reload', reload);
      const ask = (port: number, protocol: 'tcp' | 'udp' = 'tcp') =>
        [world.outside.tailscale0, tailscale0.machine, port, protocol] as const;

      before(async () => {
        await engine.stop();
        await world.machine.run('mount', '-t', 'tmpfs', 'tmpfs', '/etc/docker');
        writeFileSync('/etc/docker/daemon.json', '{ "iptables": false, "ip6tables": false }');
        engine = await engines[name]();
        await world.machine.run('iptables', '-P', 'FORWARD', 'DROP');
        await world.machine.run('mkdir', rules, `${rules}6`);
        writeFileSync(join(rules, '10_docker'), seedBase);
        await engine.docker('network', 'create', '--subnet', '10.90.0.0/24', 'apps');
      });
      after(async () => {
        await world.machine.run('iptables', '-P', 'FORWARD', 'ACCEPT');
        await world.machine.run('umount', '/etc/docker');
      });

      it('waits for the container that a unit starts, and forwards each of its bindings', async () => {
        const ports = ['5000:80', '5001:53/udp', '127.0.0.1:5002:80', `${lan0.machine}:5003:80`];
        const creating = forward('create', 'hello-world');
        await world.serve('hello-world', ['tcp:80', 'udp:53'], ...ports.flatMap((port) => ['--publish', port]));
        const { exitCode, output } = await creating;
        assert.equal(exitCode, 0, output);
        // Through Docker's proxy it would see the machine's address.
        await untilAnswer(`hello-world ${tailscale0.outside}`, ...ask(5000));
        await untilAnswer(`hello-world ${tailscale0.outside}`, ...ask(5001, 'udp'));
        assert.equal(await answerOf(...ask(5002)), 'nobody');
        assert.match(await answerOf(world.machine, '127.0.0.1', 5002), /^hello-world /);
        assert.equal(await answerOf(...ask(5003)), 'nobody');
        await untilAnswer(`hello-world ${tailscale0.outside}`, world.outside.tailscale0, lan0.machine, 5003);
      });

      it('forwards to a container of another network, by a chain of another name', async () => {
        await world.serve('app', ['tcp:80'], '--network', 'apps', '--ip', '10.90.0.7', '--publish', '8080:80');
        writeFileSync(
          join(rules, '09_mine'),
          '*nat\n:MINE - [0:0]\n-A PREROUTING -m addrtype --dst-type LOCAL -j MINE\nCOMMIT\n',
        );
        const { exitCode, output } = await forward('create', 'app', '--chain', 'MINE', '--debug');
        assert.equal(exitCode, 0, output);
        assert.match(output, /^-A MINE ! -i br-[0-9a-f]{12} .*--to-destination 10\.90\.0\.7:80$/m);
        await untilAnswer(`app ${tailscale0.outside}`, ...ask(8080));
        await untilAnswer(`hello-world ${tailscale0.outside}`, ...ask(5000));
        assert.deepEqual(readdirSync(rules), [
          '09_mine',
          '10_docker',
          '11-docker-container_app',
          '11-docker-container_hello-world',
        ]);
        assert.deepEqual(readdirSync(`${rules}6`), []);
      });

      it('runs from the image, as in the unit of compose/, without rights but to write there', async () => {
        await engine.docker('rm', '--force', 'app');
        await world.serve('app', ['tcp:80'], '--network', 'apps', '--ip', '10.90.0.8', '--publish', '8080:80');
        const socket = '/var/run/docker.sock:/var/run/docker.sock:ro';
        const { code, stdout, stderr } = await runFor(engine, [
          ...(['docker', 'run', '--rm', '--network', 'host', '--read-only', '--cap-drop', 'ALL'] as const),
          ...['--volume', socket, '--volume', `${rules}:/etc/iptables.d`, '--volume', `${rules}6:/etc/ip6tables.d`],
          ...[image, 'forward', 'create', 'app', '--chain', 'MINE', '--reload', ''],
        ]);
        assert.equal(code, 0, stderr);
        assert.equal(stdout.trim(), '/etc/iptables.d/11-docker-container_app written');
        await world.machine.run(...(reload.split(' ') as [string, string]));
        await untilAnswer(`app ${tailscale0.outside}`, ...ask(8080));
      });

      it('deletes, also when the container is gone, and says when there was nothing', async () => {
        await engine.docker('rm', '--force', 'hello-world');
        const deleted = await forward('delete', 'hello-world');
        assert.equal(deleted.exitCode, 0, deleted.output);
        assert.doesNotMatch(await world.machine.run('iptables-save'), /hello-world/);
        await untilAnswer(`app ${tailscale0.outside}`, ...ask(8080));
        const again = await forward('delete', 'hello-world');
        assert.deepEqual([again.exitCode, again.output], [0, 'hello-world: nothing to remove']);
        assert.equal((await forward('delete', 'app')).exitCode, 0);
        await untilAnswer('app 10.90.0.1', ...ask(8080));
      });

      it('says what is wrong, and writes nothing, where a folder is not there or the reload fails', async () => {
        const missing = await world.host('forward', 'create', 'app', '--iptables-dir', '/nowhere', '--reload', '');
        assert.equal(missing.exitCode, 1);
        assert.match(
          missing.output,
          /\/nowhere\/11-docker-container_app cannot be written \(ENOENT\)\n {2}make the folder/,
        );
        const failing = await world.host('forward', 'create', 'app', '--iptables-dir', rules, '--reload', 'false');
        assert.equal(failing.exitCode, 1);
        assert.match(failing.output, /^false$/m);
        assert.equal((await forward('delete', 'app')).exitCode, 0);
      });
    });
  });
}
