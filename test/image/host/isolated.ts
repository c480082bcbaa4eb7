import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import type { Stage } from './stage.ts';
import { answerOf, countArrivals, lines, until, untilAnswer } from './world.ts';

const { lan0 } = lines;
const answering = `${import.meta.dirname}/answer.pl`;

/** Networks that nothing leaves by way of the machine, and their clients. */
export function testIsolatedBridge(stage: Stage): void {
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
      const client = await stage.world.enter('client');
      const { address } = JSON.parse(await stage.world.machine.run('ip', '-j', 'link', 'show', 'underbr'))[0];
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
      await stage.engine.docker(...isolated('--label', 'underbridge.isolated=true'));
      await stage.world.serve('client', ['tcp:80'], '--network', 'underbridge');
      beyond = await countArrivals(stage.world.outside.lan0, '172.22.0.0/24');
      here = await countArrivals(stage.world.machine, '172.22.0.0/24');
      await stage.world.machine.run('nft', 'add table inet arrivals6');
      await stage.world.machine.run('sysctl', '-qw', 'net.ipv6.conf.underbr.disable_ipv6=0');
      await stage.world.machine.run(
        'nft',
        'add chain inet arrivals6 input { type filter hook input priority 100; } ; add rule inet arrivals6 input iifname underbr meta nfproto ipv6 counter',
      );
      const client = await stage.world.enter('client');
      await client.run('sysctl', '-qw', 'net.ipv6.conf.eth0.disable_ipv6=0');
      const addresses = () => client.run('ip', '-6', 'addr', 'show', 'dev', 'eth0', 'scope', 'link', '-tentative');
      await until('the client has an IPv6 address', async () => (await addresses()).includes('inet6'));
      here6 = async () =>
        Number(/packets (\d+)/.exec(await stage.world.machine.run('nft', 'list', 'table', 'inet', 'arrivals6'))?.[1]);
    });

    it('lets nothing pass by way of the machine, though it did before', async () => {
      await attack();
      const open = await arrived();
      assert.ok(
        open.every((packets) => packets > 0),
        `the attack got ${open} packets through without the host role`,
      );
      stage.role = await stage.world.startHost('clients: report\n');
      await attack();
      assert.deepEqual(await arrived(), open);
    });

    it('holds against an accept of somebody else, first in the chain', async () => {
      const before = await arrived();
      await stage.world.machine.run('iptables', '-I', 'FORWARD', '1', '-j', 'ACCEPT');
      await stage.world.machine.run('iptables', '-I', 'INPUT', '1', '-j', 'ACCEPT');
      await attack();
      assert.deepEqual(await arrived(), before);
      await stage.world.machine.run('iptables', '-D', 'FORWARD', '-j', 'ACCEPT');
      await stage.world.machine.run('iptables', '-D', 'INPUT', '-j', 'ACCEPT');
    });

    it('holds while somebody flushes the filter table', async () => {
      const before = await arrived();
      const saved = await stage.world.machine.run('iptables-save', '--table', 'filter');
      await stage.world.machine.run('iptables', '-F');
      await attack();
      assert.deepEqual(await arrived(), before);
      await stage.world.machine.run('bash', '-c', `iptables-restore <<'END'\n${saved}\nEND`);
    });

    it('reports a client without `dns:`, one with a second way out, and that no router runs', async () => {
      await stage.world.serve('careful', ['tcp:80'], '--network', 'underbridge', '--dns', '172.22.0.1');
      await stage.engine.docker('network', 'connect', 'others', 'careful');
      const seen = async () =>
        (await stage.world.status()).findings.map(({ code, subject }) => `${code} ${subject}`).sort();
      const wanted = ['client-with-second-way careful', 'client-without-dns client', 'router-absent underbridge'];
      await until('all is reported', async () => `${await seen()}` === `${wanted}`);
      assert.match(stage.role.output(), /"code":"client-without-dns","subject":"client"/);
    });

    it('cuts such clients off by setting, and lets them go again', async () => {
      const careful = await stage.world.enter('careful');
      const client = await stage.world.enter('client');
      const asks = () => careful.attempt('ping', '-c1', '-W1', '10.91.0.1').then(({ exitCode }) => exitCode === 0);
      assert.equal(await asks(), true);
      const resolves = () =>
        client.attempt('bash', '-c', 'echo > /dev/udp/127.0.0.11/53').then((ran) => ran.exitCode === 0);
      assert.equal(await resolves(), true);
      await stage.world.rewrite('clients: cut-off\n');
      await until('both are cut off', async () => !(await asks()) && !(await resolves()));
      await stage.world.rewrite('clients: report\n');
      await until('both are let go', async () => (await asks()) && (await resolves()));
    });

    it('gives clients of an internal network their way through the router', async (t) => {
      const gateway = stage.name === '20.10' ? 'DefaultGatewayIPv4' : 'router';
      const labels = ['--label', 'underbridge.isolated=true', '--label', 'underbridge.router=172.23.0.1'];
      const range = [
        '--subnet',
        '172.23.0.0/24',
        '--gateway',
        '172.23.0.254',
        '--aux-address',
        `${gateway}=172.23.0.1`,
      ];
      await stage.engine.docker('network', 'create', '--internal', ...range, ...labels, 'closed');
      await stage.world.serve('router', ['tcp:80'], '--network', 'closed', '--ip', '172.23.0.2', '--dns', '172.23.0.1');
      await stage.engine.docker('network', 'connect', 'others', 'router');
      const router = await stage.world.enter('router');
      const device = JSON.parse(await router.run('ip', '-j', 'route', 'get', '172.23.0.9'))[0].dev;
      await router.run('ip', 'addr', 'add', '172.23.0.1/24', 'dev', device);
      await router.run('ip', 'route', 'replace', 'default', 'via', '10.91.0.1');
      await router.run('sysctl', '-qw', 'net.ipv4.ip_forward=1');
      await router.run(
        'nft',
        'table ip n { chain p { type nat hook postrouting priority 100; ip daddr != 172.23.0.0/24 masquerade; }; }',
      );
      const server = stage.world.outside.lan0.start({}, 'perl', answering, 'world', 'tcp:7777');
      t.after(() => server.kill('SIGKILL'));
      await stage.world.serve('inner', ['tcp:80'], '--network', 'closed', '--dns', '172.23.0.1');
      const inner = await stage.world.enter('inner');
      // The machine masquerades what the router sends by the other network.
      await untilAnswer(`world ${lan0.machine}`, inner, lan0.outside, 7777);
      await stage.engine.docker('restart', '--time', '0', 'inner');
      const again = await stage.world.enter('inner');
      await until('it has its way again', async () => (await answerOf(again, lan0.outside, 7777)) !== 'nobody');
    });
  });
}
