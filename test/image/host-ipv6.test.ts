// IPv6 translation by the host role, as docker-ipv6nat does it, on real engines with packets from other namespaces. Needs
// root.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import type { LabProcess } from '../kernel/lab/namespace.ts';
import type { Engine } from '../lab/engine.ts';
import { engines, openEngine, runApart } from './apart.ts';
import { answerOf, type HostWorld, openHostWorld, untilAnswer } from './host/world.ts';

await runApart(import.meta.filename);

const here = { machine: 'fd77::1', second: 'fd77::5', outside: 'fd77::2' };
const ipv6nat = 'ipv6nat: true\n';
const answering = join(import.meta.dirname, 'host/answer.pl');
const option = (name: string, value: string) => ['--opt', `com.docker.network.bridge.${name}=${value}`];

/** Ways to run Docker 20.10, and what becomes of its part. */
const ways = {
  'as it is': { settings: {}, isReflected: false },
  'without its proxy': { settings: { 'userland-proxy': false }, isReflected: true },
  'without any rules of its own (--iptables=false)': { settings: { iptables: false }, isReflected: false },
  'without rules and proxy': { settings: { iptables: false, 'userland-proxy': false }, isReflected: true },
} as const;

describe('IPv6 translation on Docker 20.10', () => {
  let engine: Engine;
  let world: HostWorld;
  const ours = async () =>
    (await world.machine.run('ip6tables-save')).split('\n').filter((line) => line.includes('UNDERBRIDGE-'));
  /** Starts the engine anew with these settings, with nothing left of its rules: Docker forgets to remove them. */
  const restart = async (settings: Readonly<Record<string, unknown>>) => {
    await engine.stop();
    writeFileSync('/etc/docker/daemon.json', JSON.stringify(settings));
    for (const family of ['iptables', 'ip6tables']) {
      for (const table of ['filter', 'nat']) {
        for (const what of ['-F', '-X']) await world.machine.run(family, '-t', table, what);
      }
      for (const chain of ['INPUT', 'FORWARD']) await world.machine.run(family, '-P', chain, 'ACCEPT');
    }
    engine = await engines['20.10']();
  };
  const serve = (name: string, network: string, ...args: readonly string[]) =>
    world.serve(name, ['tcp:80', 'udp:53', 'tcp:81'], '--network', network, ...args);
  const asks = async (container: string, address: string, port: number) =>
    answerOf(await world.enter(container), address, port);
  const outside = () => world.outside.lan0;

  before(async () => {
    await execa('mount', ['-t', 'tmpfs', 'tmpfs', '/etc/docker']);
    engine = await openEngine('20.10');
    world = await openHostWorld(engine);
    const { machine } = world;
    await machine.run('sysctl', '-qw', 'net.ipv6.conf.all.forwarding=1');
    for (const address of [here.machine, here.second]) {
      await machine.run('ip', 'addr', 'add', `${address}/64`, 'dev', 'lan0', 'nodad');
    }
    await outside().run('ip', 'addr', 'add', `${here.outside}/64`, 'dev', 'eth0', 'nodad');
    await outside().run('ip', 'route', 'add', 'default', 'via', here.machine);
    outside().start({}, 'perl', answering, 'world', 'tcp:7777');
  });
  after(async () => {
    await world?.close();
    await engine?.stop();
    await execa('umount', ['/etc/docker']);
  });

  for (const [way, { settings, isReflected }] of Object.entries(ways)) {
    describe(way, () => {
      let role: LabProcess;
      before(async () => {
        await restart(settings);
        const create = (name: string, subnet: string, ...args: readonly string[]) =>
          engine.docker('network', 'create', '--ipv6', '--subnet', subnet, ...args, name);
        await create('six', 'fd00:5eed:1::/64');
        await create('other', 'fd00:5eed:2::/64', ...option('enable_ip_masquerade', 'false'));
        await create('bound', 'fd00:5eed:3::/64', ...option('host_binding_ipv6', here.second));
        await create('local', 'fd00:5eed:6::/64', ...option('host_binding_ipv4', '127.0.0.1'));
        await create('apart', 'fd00:5eed:4::/64', ...option('enable_icc', 'false'));
        await create('inner', 'fd00:5eed:5::/64', '--internal');
        await create(
          'docker_gwbridge',
          'fd00:3984:3989::/64',
          ...['--subnet', '172.30.240.0/24', '--gateway', '172.30.240.1', '--gateway', 'fd00:3984:3989::1'],
          ...[
            'name=docker_gwbridge',
            'enable_icc=true',
            'enable_ip_forwarding=true',
            'enable_ip_masquerade=true',
          ].flatMap((text) => option(...(text.split('=') as [string, string]))),
        );
        const ports = ['8080:80', '8053:53/udp', '127.0.0.1:8081:80', '[::1]:8082:80', `[${here.second}]:8083:80`];
        await serve('web', 'six', '--ip6', 'fd00:5eed:1::10', ...ports.flatMap((port) => ['--publish', port]));
        await serve('near', 'six');
        await serve('far', 'other', '--ip6', 'fd00:5eed:2::10');
        await serve('second', 'bound', '--publish', '8090:80');
        await serve('third', 'local', '--publish', '8091:80');
        for (const name of ['left', 'right']) await serve(name, 'apart');
        await engine.docker('network', 'connect', '--ip6', 'fd00:5eed:5::10', 'inner', 'left');
        await serve('closed', 'inner', '--ip6', 'fd00:5eed:5::11');
        await serve('swarmed', 'docker_gwbridge');
      });
      after(async () => {
        role.kill('SIGTERM');
        await role.exited;
        await world.host('cleanup');
        await engine.docker(
          'rm',
          '--force',
          'web',
          'near',
          'far',
          'second',
          'third',
          'left',
          'right',
          'closed',
          'swarmed',
        );
        await engine.docker('network', 'prune', '--force');
      });

      it('opens what is published with the address of who asks, and shuts the rest', async () => {
        // Without us: the proxy at best, and every port by the container's own address.
        assert.notEqual(await answerOf(outside(), here.machine, 8080), `web ${here.outside}`);
        assert.equal(await answerOf(outside(), 'fd00:5eed:1::10', 81), `web ${here.outside}`);
        role = await world.startHost(ipv6nat);
        await untilAnswer(`web ${here.outside}`, outside(), here.machine, 8080);
        assert.equal(await answerOf(outside(), here.machine, 8053, 'udp'), `web ${here.outside}`);
        assert.equal(await answerOf(outside(), 'fd00:5eed:1::10', 81), 'nobody');
        assert.equal(await answerOf(outside(), 'fd00:5eed:1::10', 80), 'nobody');
        assert.doesNotMatch(role.output(), /"code":/);
      });

      it('publishes at the address that was named, by the port or by host_binding_ipv6', async () => {
        assert.equal(await answerOf(outside(), here.second, 8083), `web ${here.outside}`);
        assert.equal(await answerOf(outside(), here.machine, 8083), 'nobody');
        assert.equal(await answerOf(outside(), here.second, 8090), `second ${here.outside}`);
        assert.notEqual(await answerOf(outside(), here.machine, 8090), `second ${here.outside}`);
        // Loopback, of either family, is the machine's own, also as the default of a network.
        for (const port of [8081, 8082, 8091]) assert.equal(await answerOf(outside(), here.machine, port), 'nobody');
      });

      it("sends containers out with the machine's address, unless masquerade is off", async () => {
        // Which one of several is the kernel's choice.
        assert.match(await asks('near', here.outside, 7777), /^world fd77::[15]$/);
        assert.match(await asks('swarmed', here.outside, 7777), /^world fd77::[15]$/);
        assert.equal(await asks('far', here.outside, 7777), 'world fd00:5eed:2::10');
        assert.equal(await asks('closed', here.outside, 7777), 'nobody');
      });

      it('keeps networks apart, and containers of one network where icc is off', async () => {
        assert.match(await asks('near', 'fd00:5eed:1::10', 80), /^web /);
        assert.equal(await asks('near', 'fd00:5eed:2::10', 80), 'nobody');
        assert.equal(await asks('far', 'fd00:5eed:1::10', 80), 'nobody');
        assert.match(await asks('closed', 'fd00:5eed:5::10', 80), /^left /);
        assert.equal(await answerOf(outside(), 'fd00:5eed:5::11', 80), 'nobody');
        const right = await engine.docker(
          ...['inspect', '--format', '{{.NetworkSettings.Networks.apart.GlobalIPv6Address}}', 'right'],
        );
        assert.equal(await asks('left', right, 80), 'nobody');
      });

      it('brings containers of this machine there too, neighbours and itself included; and the machine', async () => {
        for (const container of ['near', 'far', 'web']) {
          assert.match(await asks(container, here.machine, 8080), /^web /, container);
        }
        assert.match(await answerOf(world.machine, here.machine, 8080), /^web /);
        // By Docker's proxy, or not at all: the kernel sends nothing from there to a bridge.
        assert.match(await answerOf(world.machine, '::1', 8080), isReflected ? /^nobody$/ : /^web /);
        const rules = (await ours()).join('\n');
        assert.equal(/ -j MASQUERADE$/m.test(rules.replace(/^.*! -o .*$/gm, '')), isReflected);
      });

      it('writes nothing while nothing changes', async () => {
        await world.settled();
        const { writes } = (await world.status()).counts;
        assert.equal((await world.host('plan')).output, '# nothing to change');
        assert.equal((await world.status()).counts.writes, writes);
      });
    });
  }
});
