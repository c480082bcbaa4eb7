import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { assertInTime } from '../../kernel/lab/in-time.ts';
import type { Stage } from './stage.ts';
import { answerOf, foreignRules, lines, until, untilAnswer, usageOf } from './world.ts';

export const published = 'published: { interfaces: [tailscale0], hairpin: true }\n';
const { tailscale0, lan0 } = lines;

/** Ports of `docker run -p` on another interface, and how the role lives with others. */
export function testPublishedPorts(stage: Stage): void {
  describe('docknat: published ports', () => {
    const natRules = () => stage.world.machine.run('iptables-save', '--counters', '--table', 'nat');
    const hits = async (comment: string) =>
      Number(
        new RegExp(`\\[(\\d+):\\d+\\] -A UNDERBRIDGE-LOCAL .*"published ${comment} [0-9a-f]{12}" -j DNAT`).exec(
          await natRules(),
        )?.[1],
      );

    before(async () => {
      const ports = ['8080:80', '8053:53/udp', '127.0.0.1:8081:80', `${lan0.machine}:8082:80`];
      const args = ports.flatMap((port) => ['--publish', port]);
      await stage.world.serve('web', ['tcp:80', 'udp:53'], '--network', 'apps', '--ip', '10.90.0.10', ...args);
      await stage.world.serve('near', ['tcp:81'], '--network', 'apps');
      await stage.world.serve('far', ['tcp:81'], '--network', 'others');
      stage.role = await stage.world.startHost(published);
    });

    it('forwards tcp and udp that arrive by the interface, with the address of who asks', async () => {
      assert.equal(
        await answerOf(stage.world.outside.tailscale0, tailscale0.machine, 8080),
        `web ${tailscale0.outside}`,
      );
      assert.equal(
        await answerOf(stage.world.outside.tailscale0, tailscale0.machine, 8053, 'udp'),
        `web ${tailscale0.outside}`,
      );
      assert.equal(await hits('web 8080/tcp'), 1);
      assert.equal(await hits('web 8053/udp'), 1);
    });

    it('keeps a port of 127.0.0.1 for the machine', async () => {
      assert.match(await answerOf(stage.world.machine, '127.0.0.1', 8081), /^web /);
      assert.equal(await answerOf(stage.world.outside.tailscale0, tailscale0.machine, 8081), 'nobody');
      assert.doesNotMatch(await natRules(), /UNDERBRIDGE-.* 8081 /);
    });

    it('forwards a port of one address for that address alone', async () => {
      assert.equal(await answerOf(stage.world.outside.tailscale0, tailscale0.machine, 8082), 'nobody');
      assert.equal(await answerOf(stage.world.outside.tailscale0, lan0.machine, 8082), `web ${tailscale0.outside}`);
    });

    it("takes containers of this machine by the interface's address, from any network and from itself", async () => {
      for (const container of ['far', 'near', 'web']) {
        assert.match(await answerOf(await stage.world.enter(container), tailscale0.machine, 8080), /^web /, container);
      }
    });

    it('forgets a container that ends, and finds it again at another address', async (t) => {
      const asking = stage.world.outside.tailscale0.start(
        {},
        ...(['perl', `${import.meta.dirname}/ask-on.pl`, '5555', tailscale0.machine, '8053'] as const),
      );
      t.after(() => asking.kill('SIGKILL'));
      await asking.says('web ');
      await stage.engine.docker('rm', '--force', 'web');
      await until('no rule is left', async () => !(await natRules()).includes('10.90.0.10'));
      const ports = ['--publish', '8080:80', '--publish', '8053:53/udp'];
      await stage.world.serve('anew', ['tcp:80', 'udp:53'], '--network', 'apps', '--ip', '10.90.0.11', ...ports);
      await untilAnswer(`anew ${tailscale0.outside}`, stage.world.outside.tailscale0, tailscale0.machine, 8080);
      // One UDP connection all the time: only if it is forgotten does it find the new container.
      await asking.says(`anew ${tailscale0.outside}`);
    });

    it('reaches a container of two networks by the one that leads to it', async () => {
      await stage.world.serve('two', ['tcp:80'], '--network', 'others', '--ip', '10.91.0.20', '--publish', '8084:80');
      await stage.engine.docker('network', 'connect', 'a-internal', 'two');
      await untilAnswer(`two ${tailscale0.outside}`, stage.world.outside.tailscale0, tailscale0.machine, 8084);
      await until('its rule is there', async () => (await stage.ours()).includes('--to-destination 10.91.0.20:80'));
    });

    it('notices that another program took rules and jumps away', async () => {
      await stage.world.settled();
      const wiped = ['-t nat -F UNDERBRIDGE-LOCAL', '-t nat -D PREROUTING -j UNDERBRIDGE-PREROUTING', '-F DOCKER-USER'];
      const before = await stage.ours();
      await assertInTime(3_000, async () => {
        for (const wipe of wiped) await stage.world.machine.run('iptables', ...wipe.split(' '));
        const fromMs = performance.now();
        await until('they are back', async () => (await stage.ours()) === before);
        return performance.now() - fromMs;
      });
      // Docker's own, which the wipe took along; not ours to mend.
      await stage.world.machine.run('iptables', '-A', 'DOCKER-USER', '-j', 'RETURN');
      assert.match(stage.role.output(), /rules changed \{"reason":"firewall".*"program":"iptables"/);
    });

    it('writes nothing when nothing changed, and leaves foreign rules as they are', async () => {
      const foreign = await foreignRules(stage.world.machine);
      await until('it is settled', async () => (await stage.world.status()).last?.changes === 0);
      const { counts } = await stage.world.status();
      for (let times = 1; times <= 5; times += 1) {
        stage.role.kill('SIGHUP');
        await until(
          'it looked',
          async () => (await stage.world.status()).counts.reconciles >= counts.reconciles + times,
        );
      }
      assert.equal((await stage.world.status()).counts.writes, counts.writes);
      assert.equal(await foreignRules(stage.world.machine), foreign);
    });

    it('survives the loss of the event stream and hears what it missed', async () => {
      stage.world.cutEngine();
      await until('it knows', async () => (await stage.world.status()).docker === undefined);
      await stage.world.serve('missed', ['tcp:80'], '--network', 'apps', '--ip', '10.90.0.30', '--publish', '8085:80');
      stage.world.heal();
      await until('its rule is there', async () => (await stage.ours()).includes('--to-destination 10.90.0.30:80'));
      await until('it is well again', async () => (await stage.world.status()).healthy);
    });

    it('keeps the last good file while a bad one is there, and says so', async () => {
      const before = await stage.ours();
      await stage.world.rewrite('published: { interfaces: [tailscale0], harpin: true }\n');
      await stage.role.says('host.yaml:1');
      await stage.world.rewrite('');
      await stage.role.says('has no settings in it');
      assert.equal(await stage.ours(), before);
      await rm(join(stage.world.folder, 'host.yaml'));
      await stage.role.says('host.yaml","problem":"is gone"');
      assert.equal(await stage.ours(), before);
      assert.equal((await stage.world.status()).faults.length, 1);
      await stage.world.rewrite('published: { interfaces: [lan0] }\n');
      await until('the new one holds', async () => /UNDERBRIDGE-LOCAL -i lan0/.test(await stage.ours()));
      await stage.world.rewrite(published);
      await until('the old one holds again', async () => (await stage.ours()) === before);
    });

    it('needs little memory and next to no time while nothing happens', async (t) => {
      const before = usageOf(stage.role.pid);
      await new Promise((resolve) => setTimeout(resolve, 2_000));
      const { residentMiB, cpuMs } = usageOf(stage.role.pid);
      t.diagnostic(`${residentMiB.toFixed(1)} MiB; ${cpuMs - before.cpuMs} ms of CPU in 2 s`);
      assert.ok(residentMiB <= 80, `${residentMiB} MiB`);
      assert.ok(cpuMs - before.cpuMs <= 40, `${cpuMs - before.cpuMs} ms`);
    });

    it('cleanup removes ours and nothing else; plan shows what would come', async () => {
      const foreign = await foreignRules(stage.world.machine);
      stage.role.kill('SIGTERM');
      await stage.role.exited;
      assert.notEqual(await stage.ours(), '');
      assert.equal((await stage.world.host('cleanup')).exitCode, 0);
      assert.equal(await stage.ours(), '');
      const { output } = await stage.world.host('plan');
      assert.match(output, /^\+ nat UNDERBRIDGE-LOCAL .*published anew 8080\/tcp/m);
      assert.equal(await stage.ours(), '');
      assert.equal((await stage.world.host('--once')).exitCode, 0);
      assert.match(await stage.ours(), /published anew 8080/);
      assert.equal(await foreignRules(stage.world.machine), foreign);
      await stage.engine.docker('rm', '--force', 'near', 'far', 'anew', 'two', 'missed');
    });
  });
}
