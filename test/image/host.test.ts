// The host role on real engines, with real containers and packets from other namespaces. Needs root.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { LabProcess } from '../kernel/lab/namespace.ts';
import type { Engine } from '../lab/engine.ts';
import { observeProcesses } from '../lab/processes.ts';
import { type EngineName, engines, image, openEngine, runApart } from './apart.ts';
import {
  answerOf,
  countArrivals,
  foreignRules,
  type HostWorld,
  lines,
  openHostWorld,
  until,
  untilAnswer,
  usageOf,
} from './host/world.ts';
import { runFor } from './world.ts';

await runApart(import.meta.filename);

const published = 'published: { interfaces: [tailscale0], hairpin: true }\n';
const { tailscale0, lan0 } = lines;

for (const name of Object.keys(engines) as EngineName[]) {
  describe(`the host role on Docker ${name}`, () => {
    let engine: Engine;
    let world: HostWorld;
    let role: LabProcess;
    before(async () => {
      engine = await openEngine(name);
      world = await openHostWorld(engine);
      await engine.docker('network', 'create', '--subnet', '10.90.0.0/24', 'apps');
      await engine.docker('network', 'create', '--subnet', '10.91.0.0/24', 'others');
      await engine.docker('network', 'create', '--internal', '--subnet', '10.92.0.0/24', 'a-internal');
    });
    after(async () => {
      await world?.close();
      await engine?.stop();
    });

    describe('docknat: published ports', () => {
      const natRules = () => world.machine.run('iptables-save', '--counters', '--table', 'nat');
      const hits = async (comment: string) =>
        Number(
          new RegExp(`\\[(\\d+):\\d+\\] -A UNDERBRIDGE-LOCAL .*"published ${comment} [0-9a-f]{12}" -j DNAT`).exec(
            await natRules(),
          )?.[1],
        );

      before(async () => {
        const ports = ['8080:80', '8053:53/udp', '127.0.0.1:8081:80', `${lan0.machine}:8082:80`];
        const args = ports.flatMap((port) => ['--publish', port]);
        await world.serve('web', ['tcp:80', 'udp:53'], '--network', 'apps', '--ip', '10.90.0.10', ...args);
        await world.serve('near', ['tcp:81'], '--network', 'apps');
        await world.serve('far', ['tcp:81'], '--network', 'others');
        role = await world.startHost(published);
      });

      it('forwards tcp and udp that arrive by the interface, with the address of who asks', async () => {
        assert.equal(await answerOf(world.outside.tailscale0, tailscale0.machine, 8080), `web ${tailscale0.outside}`);
        assert.equal(
          await answerOf(world.outside.tailscale0, tailscale0.machine, 8053, 'udp'),
          `web ${tailscale0.outside}`,
        );
        assert.equal(await hits('web 8080/tcp'), 1);
        assert.equal(await hits('web 8053/udp'), 1);
      });

      it('keeps a port of 127.0.0.1 for the machine', async () => {
        assert.match(await answerOf(world.machine, '127.0.0.1', 8081), /^web /);
        assert.equal(await answerOf(world.outside.tailscale0, tailscale0.machine, 8081), 'nobody');
        assert.doesNotMatch(await natRules(), /UNDERBRIDGE-.* 8081 /);
      });

      it('forwards a port of one address for that address alone', async () => {
        assert.equal(await answerOf(world.outside.tailscale0, tailscale0.machine, 8082), 'nobody');
        assert.equal(await answerOf(world.outside.tailscale0, lan0.machine, 8082), `web ${tailscale0.outside}`);
      });

      it("takes containers of this machine by the interface's address, from any network and from itself", async () => {
        for (const container of ['far', 'near', 'web']) {
          assert.match(await answerOf(await world.enter(container), tailscale0.machine, 8080), /^web /, container);
        }
      });

      it('forgets a container that ends, and finds it again at another address', async (t) => {
        const asking = world.outside.tailscale0.start(
          {},
          ...(['perl', `${import.meta.dirname}/host/ask-on.pl`, '5555', tailscale0.machine, '8053'] as const),
        );
        t.after(() => asking.kill('SIGKILL'));
        await asking.says('web ');
        await engine.docker('rm', '--force', 'web');
        await until('no rule is left', async () => !(await natRules()).includes('10.90.0.10'));
        const ports = ['--publish', '8080:80', '--publish', '8053:53/udp'];
        await world.serve('anew', ['tcp:80', 'udp:53'], '--network', 'apps', '--ip', '10.90.0.11', ...ports);
        await untilAnswer(`anew ${tailscale0.outside}`, world.outside.tailscale0, tailscale0.machine, 8080);
        // One UDP connection all the time: only if it is forgotten does it find the new container.
        await asking.says(`anew ${tailscale0.outside}`);
      });

      it('reaches a container of two networks by the one that leads to it', async () => {
        await world.serve('two', ['tcp:80'], '--network', 'others', '--ip', '10.91.0.20', '--publish', '8084:80');
        await engine.docker('network', 'connect', 'a-internal', 'two');
        await untilAnswer(`two ${tailscale0.outside}`, world.outside.tailscale0, tailscale0.machine, 8084);
        await until('its rule is there', async () => (await ours()).includes('--to-destination 10.91.0.20:80'));
      });

      it('notices that another program took rules and jumps away', async () => {
        await world.settled();
        const wiped = [
          '-t nat -F UNDERBRIDGE-LOCAL',
          '-t nat -D PREROUTING -j UNDERBRIDGE-PREROUTING',
          '-F DOCKER-USER',
        ];
        const before = await ours();
        for (const wipe of wiped) await world.machine.run('iptables', ...wipe.split(' '));
        await until('they are back', async () => (await ours()) === before, 3_000);
        // Docker's own, which the wipe took along; not ours to mend.
        await world.machine.run('iptables', '-A', 'DOCKER-USER', '-j', 'RETURN');
        assert.match(role.output(), /rules changed \{"reason":"firewall".*"program":"iptables"/);
      });

      it('writes nothing when nothing changed, and leaves foreign rules as they are', async () => {
        const foreign = await foreignRules(world.machine);
        await until('it is settled', async () => (await world.status()).last?.changes === 0);
        const { counts } = await world.status();
        for (let times = 1; times <= 5; times += 1) {
          role.kill('SIGHUP');
          await until('it looked', async () => (await world.status()).counts.reconciles >= counts.reconciles + times);
        }
        assert.equal((await world.status()).counts.writes, counts.writes);
        assert.equal(await foreignRules(world.machine), foreign);
      });

      it('survives the loss of the event stream and hears what it missed', async () => {
        world.cutEngine();
        await until('it knows', async () => (await world.status()).docker === undefined);
        await world.serve('missed', ['tcp:80'], '--network', 'apps', '--ip', '10.90.0.30', '--publish', '8085:80');
        world.heal();
        await until('its rule is there', async () => (await ours()).includes('--to-destination 10.90.0.30:80'));
        await until('it is well again', async () => (await world.status()).healthy);
      });

      it('keeps the last good file while a bad one is there, and says so', async () => {
        const before = await ours();
        await world.rewrite('published: { interfaces: [tailscale0], harpin: true }\n');
        await role.says('host.yaml:1');
        await world.rewrite('');
        await role.says('has no settings in it');
        assert.equal(await ours(), before);
        assert.equal((await world.status()).faults.length, 1);
        await world.rewrite('published: { interfaces: [lan0] }\n');
        await until('the new one holds', async () => /UNDERBRIDGE-LOCAL -i lan0/.test(await ours()));
        await world.rewrite(published);
        await until('the old one holds again', async () => (await ours()) === before);
      });

      it('needs little memory and next to no time while nothing happens', async (t) => {
        const before = usageOf(role.pid);
        await new Promise((resolve) => setTimeout(resolve, 2_000));
        const { residentMiB, cpuMs } = usageOf(role.pid);
        t.diagnostic(`${residentMiB.toFixed(1)} MiB; ${cpuMs - before.cpuMs} ms of CPU in 2 s`);
        assert.ok(residentMiB <= 80, `${residentMiB} MiB`);
        assert.ok(cpuMs - before.cpuMs <= 40, `${cpuMs - before.cpuMs} ms`);
      });

      it('cleanup removes ours and nothing else; plan shows what would come', async () => {
        const foreign = await foreignRules(world.machine);
        role.kill('SIGTERM');
        await role.exited;
        assert.notEqual(await ours(), '');
        assert.equal((await world.host('cleanup')).exitCode, 0);
        assert.equal(await ours(), '');
        const { output } = await world.host('plan');
        assert.match(output, /^\+ nat UNDERBRIDGE-LOCAL .*published anew 8080\/tcp/m);
        assert.equal(await ours(), '');
        assert.equal((await world.host('--once')).exitCode, 0);
        assert.match(await ours(), /published anew 8080/);
        assert.equal(await foreignRules(world.machine), foreign);
        await engine.docker('rm', '--force', 'near', 'far', 'anew', 'two', 'missed');
      });
    });

    const ours = async () => {
      const saved = await Promise.all(['iptables-save', 'ip6tables-save'].map((program) => world.machine.run(program)));
      return (
        saved
          .join('\n')
          .split('\n')
          .filter((line) => line.startsWith('-A') && line.includes('UNDERBRIDGE-'))
          // Chains are listed in the order in which they were made.
          .sort((one, other) => one.split(' ', 2).join().localeCompare(other.split(' ', 2).join()))
          .join('\n')
      );
    };

    describe('vpn_nat_router: the isolated bridge', () => {
      const isolated = (...args: readonly string[]) => [
        ...['network', 'create', '--opt', 'com.docker.network.bridge.name=underbr'],
        ...['--opt', 'com.docker.network.bridge.inhibit_ipv4=true'],
        ...['--opt', 'com.docker.network.bridge.enable_ip_masquerade=false'],
        ...['--subnet', '172.22.0.0/24', '--gateway', '172.22.0.254'],
        ...['--aux-address', 'DefaultGatewayIPv4=172.22.0.1', ...args, 'underbridge'],
      ];
      /** Sends to whatever is beyond by the bridge's own hardware address, as a client with raw sockets could. */
      const attack = async () => {
        const client = await world.enter('client');
        const { address } = JSON.parse(await world.machine.run('ip', '-j', 'link', 'show', 'underbr'))[0];
        await client.run('ip', 'neigh', 'replace', '172.22.0.1', 'lladdr', address, 'dev', 'eth0');
        for (const to of [lan0.outside, lan0.machine]) {
          await client.attempt('bash', '-c', `echo > /dev/udp/${to}/9999; echo > /dev/udp/${to}/9999`);
        }
        await client.attempt('ping', '-6', '-c1', '-W1', '-I', 'eth0', 'ff02::1');
      };
      const arrived = async () => [await beyond(), await here(), await here6()];
      let beyond: () => Promise<number>;
      let here: () => Promise<number>;
      let here6: () => Promise<number>;

      before(async () => {
        await engine.docker(...isolated('--label', 'underbridge.isolated=true'));
        await world.serve('client', ['tcp:80'], '--network', 'underbridge');
        beyond = await countArrivals(world.outside.lan0, '172.22.0.0/24');
        here = await countArrivals(world.machine, '172.22.0.0/24');
        await world.machine.run('nft', 'add table inet arrivals6');
        await world.machine.run('sysctl', '-qw', 'net.ipv6.conf.underbr.disable_ipv6=0');
        await world.machine.run(
          'nft',
          'add chain inet arrivals6 input { type filter hook input priority 100; } ; add rule inet arrivals6 input iifname underbr meta nfproto ipv6 counter',
        );
        const client = await world.enter('client');
        await client.run('sysctl', '-qw', 'net.ipv6.conf.eth0.disable_ipv6=0');
        const addresses = () => client.run('ip', '-6', 'addr', 'show', 'dev', 'eth0', 'scope', 'link', '-tentative');
        await until('the client has an IPv6 address', async () => (await addresses()).includes('inet6'));
        here6 = async () =>
          Number(/packets (\d+)/.exec(await world.machine.run('nft', 'list', 'table', 'inet', 'arrivals6'))?.[1]);
      });

      it('lets nothing pass by way of the machine, though it did before', async () => {
        await attack();
        const open = await arrived();
        assert.ok(
          open.every((packets) => packets > 0),
          `the attack got ${open} packets through without the host role`,
        );
        role = await world.startHost('clients: report\n');
        await attack();
        assert.deepEqual(await arrived(), open);
      });

      it('holds against an accept of somebody else, first in the chain', async () => {
        const before = await arrived();
        await world.machine.run('iptables', '-I', 'FORWARD', '1', '-j', 'ACCEPT');
        await world.machine.run('iptables', '-I', 'INPUT', '1', '-j', 'ACCEPT');
        await attack();
        assert.deepEqual(await arrived(), before);
        await world.machine.run('iptables', '-D', 'FORWARD', '-j', 'ACCEPT');
        await world.machine.run('iptables', '-D', 'INPUT', '-j', 'ACCEPT');
      });

      it('holds while somebody flushes the filter table', async () => {
        const before = await arrived();
        const saved = await world.machine.run('iptables-save', '--table', 'filter');
        await world.machine.run('iptables', '-F');
        await attack();
        assert.deepEqual(await arrived(), before);
        await world.machine.run('bash', '-c', `iptables-restore <<'END'\n${saved}\nEND`);
      });

      it('reports a client without `dns:`, one with a second way out, and that no router runs', async () => {
        await world.serve('careful', ['tcp:80'], '--network', 'underbridge', '--dns', '172.22.0.1');
        await engine.docker('network', 'connect', 'others', 'careful');
        const seen = async () =>
          (await world.status()).findings.map(({ code, subject }) => `${code} ${subject}`).sort();
        const wanted = ['client-with-second-way careful', 'client-without-dns client', 'router-absent underbridge'];
        await until('all is reported', async () => `${await seen()}` === `${wanted}`);
        assert.match(role.output(), /"code":"client-without-dns","subject":"client"/);
      });

      it('cuts such clients off by setting, and lets them go again', async () => {
        const careful = await world.enter('careful');
        const client = await world.enter('client');
        const asks = () => careful.attempt('ping', '-c1', '-W1', '10.91.0.1').then(({ exitCode }) => exitCode === 0);
        assert.equal(await asks(), true);
        const resolves = () =>
          client.attempt('bash', '-c', 'echo > /dev/udp/127.0.0.11/53').then((ran) => ran.exitCode === 0);
        assert.equal(await resolves(), true);
        await world.rewrite('clients: cut-off\n');
        await until('both are cut off', async () => !(await asks()) && !(await resolves()));
        await world.rewrite('clients: report\n');
        await until('both are let go', async () => (await asks()) && (await resolves()));
      });

      it('gives clients of an internal network their way through the router', async (t) => {
        const gateway = name === '20.10' ? 'DefaultGatewayIPv4' : 'router';
        const labels = ['--label', 'underbridge.isolated=true', '--label', 'underbridge.router=172.23.0.1'];
        const range = [
          '--subnet',
          '172.23.0.0/24',
          '--gateway',
          '172.23.0.254',
          '--aux-address',
          `${gateway}=172.23.0.1`,
        ];
        await engine.docker('network', 'create', '--internal', ...range, ...labels, 'closed');
        await world.serve('router', ['tcp:80'], '--network', 'closed', '--ip', '172.23.0.2', '--dns', '172.23.0.1');
        await engine.docker('network', 'connect', 'others', 'router');
        const router = await world.enter('router');
        const device = JSON.parse(await router.run('ip', '-j', 'route', 'get', '172.23.0.9'))[0].dev;
        await router.run('ip', 'addr', 'add', '172.23.0.1/24', 'dev', device);
        await router.run('ip', 'route', 'replace', 'default', 'via', '10.91.0.1');
        await router.run('sysctl', '-qw', 'net.ipv4.ip_forward=1');
        await router.run(
          'nft',
          'table ip n { chain p { type nat hook postrouting priority 100; ip daddr != 172.23.0.0/24 masquerade; }; }',
        );
        const server = world.outside.lan0.start(
          {},
          'perl',
          `${import.meta.dirname}/host/answer.pl`,
          'world',
          'tcp:7777',
        );
        t.after(() => server.kill('SIGKILL'));
        await world.serve('inner', ['tcp:80'], '--network', 'closed', '--dns', '172.23.0.1');
        const inner = await world.enter('inner');
        // The machine masquerades what the router sends by the other network.
        await untilAnswer(`world ${lan0.machine}`, inner, lan0.outside, 7777);
        await engine.docker('restart', '--time', '0', 'inner');
        const again = await world.enter('inner');
        await until('it has its way again', async () => (await answerOf(again, lan0.outside, 7777)) !== 'nobody');
      });
    });

    describe('as a container', () => {
      const stopRole = async () => {
        role.kill('SIGTERM');
        await role.exited;
        await world.host('cleanup');
      };

      it('runs as compose/host.yaml stands, and tells its health', async () => {
        await stopRole();
        const file = join(import.meta.dirname, '../../compose/host.yaml');
        const env = { COMPOSE_PROJECT_NAME: 'ub', UNDERBRIDGE_IMAGE: image };
        const compose = (...args: readonly string[]) =>
          runFor(engine, [engine.composeV2, '--file', file, ...args], { env });
        const { code, stderr } = await compose('up', '--detach', '--no-build');
        assert.equal(code, 0, stderr);
        const health = () => engine.docker('inspect', '--format', '{{.State.Health.Status}}', 'ub-host-1');
        await until('it is healthy', async () => (await health()) === 'healthy', 15_000);
        assert.match(await ours(), /-A UNDERBRIDGE-INPUT -i underbr .*"isolated underbridge" -j DROP/);
        const status = await runFor(engine, ['docker', 'exec', 'ub-host-1', 'underbridge', 'host', 'status']);
        assert.equal(JSON.parse(status.stdout).docker, engine.version);
        await compose('down', '--timeout', '2');
        // The rules outlive it.
        assert.match(await ours(), /isolated underbridge/);
      });

      it('enters namespaces with the capabilities that are asked for, and says when it lacks them', async () => {
        const run = (...args: readonly string[]) =>
          runFor(engine, [
            ...(['docker', 'run', '--rm', '--network', 'host', '--read-only', '--cap-drop', 'ALL'] as const),
            ...['--volume', '/var/run/docker.sock:/var/run/docker.sock:ro', '--security-opt', 'no-new-privileges:true'],
            ...['--volume', `${world.folder}:/config:ro`, ...args, image, 'host', '--once'],
          ]);
        const rules = ['--cap-add', 'NET_ADMIN', '--cap-add', 'NET_RAW'];
        await world.rewrite('clients: cut-off\n');
        assert.match((await run()).stderr, /NET_ADMIN: the capability is missing/);
        assert.match((await run(...rules)).stderr, /client: it cannot be cut off from here/);
        const { code, stdout, stderr } = await run(
          ...rules,
          '--pid',
          'host',
          '--cap-add',
          'SYS_ADMIN',
          '--cap-add',
          'SYS_PTRACE',
        );
        assert.equal(code, 0, stderr);
        assert.match(stdout, /^cut-off client$/m);
        await world.host('cleanup');
        assert.doesNotMatch(await (await world.enter('client')).run('nft', 'list', 'tables'), /underbridge/);
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
        const { code, stderr } = await runFor(engine, argv);
        assert.equal(code, 1);
        assert.match(stderr, /none of Docker's bridges can be seen from here.*\n.*network_mode: host/);
      });
    });

    it('keeps the locks while the engine is away, and has all of it again after its restart', async () => {
      role = await world.startHost('isolated: [underbridge]\n');
      const before = await ours();
      assert.match(before, /isolated underbridge/);
      for (const { pid, argv } of observeProcesses()) {
        if (/(^|\/)dockerd$/.test(argv[0] ?? '')) process.kill(pid, 'SIGKILL');
      }
      await until('it knows', async () => (await world.status()).docker === undefined);
      role.kill('SIGHUP');
      assert.equal(await ours(), before);
      // The lab clears what names Docker's bridges before it starts an engine, ours among it.
      engine = await engines[name]();
      await until('it is as before', async () => (await ours()) === before);
      await until('it is well', async () => (await world.status()).healthy);
    });

    // The other engine has its own /etc.
    if (name === '20.10') {
      it('forwards and shuts where Docker writes no rules at all (`--iptables=false`)', async () => {
        await engine.stop();
        await world.machine.run('mount', '-t', 'tmpfs', 'tmpfs', '/etc/docker');
        writeFileSync('/etc/docker/daemon.json', '{ "iptables": false }');
        engine = await engines[name]();
        await world.machine.run('iptables', '-P', 'FORWARD', 'DROP');
        await world.serve('bare', ['tcp:80'], '--network', 'apps', '--ip', '10.90.0.40', '--publish', '8086:80');
        // Docker's proxy answers, but does not tell who asks.
        await untilAnswer('bare 10.90.0.1', world.outside.tailscale0, tailscale0.machine, 8086);
        await world.rewrite(`${published}isolated: [underbridge]\n`);
        await untilAnswer(`bare ${tailscale0.outside}`, world.outside.tailscale0, tailscale0.machine, 8086);
        assert.match(await ours(), /^-A FORWARD -j UNDERBRIDGE-FORWARD\n-A FORWARD -j UNDERBRIDGE-ACCEPT$/m);
        await world.machine.run('iptables', '-P', 'FORWARD', 'ACCEPT');
        await world.machine.run('umount', '/etc/docker');
      });
    }
  });
}
