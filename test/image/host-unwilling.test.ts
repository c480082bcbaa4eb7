// The host role with real engines that do not tell, or do not do what they are asked for. Needs root.
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import type { LabProcess } from '../kernel/lab/namespace.ts';
import type { Engine } from '../lab/engine.ts';
import { type EngineName, engines, openEngine, runApart } from './apart.ts';
import { type HostWorld, openHostWorld, until } from './host/world.ts';

await runApart(import.meta.filename);

const folder = mkdtempSync(join(tmpdir(), 'underbridge-unwilling-'));
const bundle = join(import.meta.dirname, '../../dist/boot.cjs');
const networksFile = join(folder, 'networks.json');
const slowRuntime = join(folder, 'runc');
const held = join(folder, 'held');
process.env.NETWORKS_CONFIG_PATH = networksFile;
after(() => rmSync(folder, { recursive: true }));

for (const name of Object.keys(engines) as EngineName[]) {
  describe(`the host role on Docker ${name}`, () => {
    let engine: Engine;
    let world: HostWorld;
    let role: LabProcess;
    const pidOf = async (container: string) =>
      Number(await engine.docker('inspect', '--format', '{{.State.Pid}}', container));
    const endpoint = async () => {
      const text = await engine.docker('inspect', '--format', '{{json .NetworkSettings.Networks.front}}', 'client');
      const { IPAddress, Aliases }: { IPAddress: string; Aliases: readonly string[] } = JSON.parse(text) ?? {};
      return `${IPAddress} ${Aliases?.includes('caller') ? 'caller' : 'nameless'}`;
    };
    const rules = () => world.machine.run('iptables-save', '--table', 'mangle');
    const isolate = async (network: string) => {
      const bridge = ['--opt', `com.docker.network.bridge.name=${network}`, '--label', 'underbridge.isolated=true'];
      await engine.docker('network', 'create', ...bridge, network);
      const fromMs = performance.now();
      await until('it is shut', async () => (await rules()).includes(`-i ${network} `));
      return performance.now() - fromMs;
    };
    const findings = async () => (await world.status()).findings.map(({ code, subject }) => `${code} ${subject}`);

    before(async () => {
      writeFileSync(networksFile, '{}');
      // A container that starts has its address before Docker lists it.
      const hold = `case " $* " in *" start "*) while [ -e ${held} ]; do sleep 0.1; done;; esac`;
      writeFileSync(slowRuntime, `#!/bin/sh\n${hold}\nexec runc "$@"\n`);
      chmodSync(slowRuntime, 0o755);
      await execa('mount', ['-t', 'tmpfs', 'tmpfs', '/etc/docker']);
      writeFileSync('/etc/docker/daemon.json', JSON.stringify({ runtimes: { slow: { path: slowRuntime } } }));
      engine = await openEngine(name);
      world = await openHostWorld(engine);
    });
    after(async () => {
      await world?.close();
      await engine?.stop();
      await execa('umount', ['/etc/docker']);
    });

    it('shuts new networks while Docker does not tell about a container, says so, and takes it up again', async (t) => {
      role = await world.startHost('clients: cut-off\n');
      await isolate('first');
      await world.serve('stuck', ['tcp:80'], '--network', 'first', '--dns', '172.22.0.1');
      await until('it is known', async () => `${await findings()}` === 'router-absent first');
      const shim = Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${await pidOf('stuck')}/status`, 'utf8'))?.[1]);
      process.kill(shim, 'SIGSTOP');
      t.after(() => process.kill(shim, 'SIGCONT'));
      // Docker locks the container until its shim has answered.
      const killing = execa('docker', ['kill', '--signal', 'CONT', 'stuck'], { env: { ...engine.env } });
      const inspect = () => execa('timeout', ['5', 'docker', 'inspect', 'stuck'], { env: engine.env, reject: false });
      await until('Docker does not tell', async () => (await inspect()).exitCode === 124, 30_000);

      const tookMs = await isolate('second');
      await world.serve('careless', ['tcp:80'], '--network', 'second');
      await until('the rest goes on', async () => (await findings()).includes('client-without-dns careless'));
      assert.ok((await findings()).includes('container-not-inspected stuck'), `${await findings()}`);
      assert.ok(!(await findings()).includes('router-absent first'));
      const againMs = await isolate('third');
      t.diagnostic(`shut after ${tookMs.toFixed(0)} and ${againMs.toFixed(0)} ms`);
      assert.equal((await world.status()).healthy, true);

      process.kill(shim, 'SIGCONT');
      await killing;
      role.kill('SIGHUP');
      await until('it is known again', async () => !`${await findings()}`.includes('container-not-inspected'));
    });

    it('is refused a second time; two that want different things say that what they write does not stay', async () => {
      const second = await world.host();
      assert.equal(second.exitCode, 1);
      assert.match(second.output, /another host role may run already/);
      const file = join(folder, 'other.yaml');
      writeFileSync(file, 'published: { interfaces: [lan0] }\nallow: [{ from: 10.0.0.1, to: 10.0.0.2 }]\n');
      const env = { ...process.env, ...engine.env, HOST_CONFIG: file, HEALTH_ADDR: '127.0.0.1:9799' };
      const other = world.machine.start({ env }, process.execPath, bundle, 'host');
      const tells = (one: LabProcess) => one.output().includes('what was written does not stay');
      await until('both tell', async () => tells(role) && tells(other), 40_000);
      other.kill('SIGTERM');
      await other.exited;
      await world.settled();
      assert.doesNotMatch(await world.machine.run('iptables-save'), /10\.0\.0\.2/);
      assert.match(await rules(), /-i first /);
    });

    it('gives a container back what it had where Docker refuses to move it, and moves it when it may', async (t) => {
      await engine.docker('network', 'create', '--subnet', '10.50.0.0/24', '--gateway', '10.50.0.1', 'front');
      const on = (address: string) => ['--network', 'front', '--ip', address];
      await world.serve('client', ['tcp:80'], ...on('10.50.0.77'), '--network-alias', 'caller');
      writeFileSync(held, '');
      t.after(() => rmSync(held, { force: true }));
      const starting = world.serve('late', ['tcp:80'], ...on('10.50.0.30'), '--runtime', 'slow');
      await until('it starts', async () =>
        (await engine.docker('network', 'inspect', 'front')).includes('10.50.0.30/'),
      );
      writeFileSync(
        networksFile,
        JSON.stringify({
          networks: { front: { subnet: '10.50.0.0/24', gateway: '10.50.0.1' } },
          ips: { '10.50.0.30': { container_name: 'client' } },
        }),
      );
      await role.says('a step failed');
      assert.match(role.output(), /Docker refuses .*connect: .*already in use/i);
      assert.equal(await endpoint(), '10.50.0.77 caller');
      await world.settled();
      assert.match((await world.status()).error ?? '', /Docker refuses/);
      // It may be tried again just now.
      await until('it has what it had', async () => (await endpoint()) === '10.50.0.77 caller');

      rmSync(held);
      await starting;
      await engine.docker('rm', '--force', 'late');
      await until('it is moved', async () => (await endpoint()) === '10.50.0.30 caller', 45_000);
      await until('it is well', async () => (await world.status()).healthy);
    });
  });
}
