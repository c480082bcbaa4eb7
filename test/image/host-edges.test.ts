// What a careful reader would try with the host role, on real engines: Docker that translates IPv6 itself, restarts, other
// programs, bad input, docker-ipv6nat's options, the number of processes. Needs root.
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import { assertInTime } from '../kernel/lab/in-time.ts';
import type { LabProcess } from '../kernel/lab/namespace.ts';
import type { Engine } from '../lab/engine.ts';
import { type EngineName, engines, openEngine, runApart } from './apart.ts';
import { answerOf, type HostWorld, lines, openHostWorld, until, untilAnswer } from './host/world.ts';

await runApart(import.meta.filename);

const { tailscale0 } = lines;
const here = { machine: 'fd77::1', outside: 'fd77::2' };
const ipv6nat = 'ipv6nat: true\n';
const answering = join(import.meta.dirname, 'host/answer.pl');
const bundle = join(import.meta.dirname, '../../dist/boot.cjs');

/** An engine's machine with IPv6 to somebody outside, and a network with unique local addresses. */
async function openStage(name: EngineName) {
  const engine = await openEngine(name);
  const world = await openHostWorld(engine);
  await world.machine.run('sysctl', '-qw', 'net.ipv6.conf.all.forwarding=1');
  await world.machine.run('ip', 'addr', 'add', `${here.machine}/64`, 'dev', 'lan0', 'nodad');
  await world.outside.lan0.run('ip', 'addr', 'add', `${here.outside}/64`, 'dev', 'eth0', 'nodad');
  await engine.docker('network', 'create', '--ipv6', '--subnet', 'fd00:5eed:1::/64', 'six');
  return { engine, world };
}

const savedRules = async ({ machine }: HostWorld, program = 'ip6tables') =>
  (await machine.run(`${program}-save`)).split('\n').filter((line) => line.includes('UNDERBRIDGE-'));

describe('the host role on Docker 20.10', () => {
  let engine: Engine;
  let world: HostWorld;
  let role: LabProcess;
  const restart = async (settings: Readonly<Record<string, unknown>>) => {
    await engine.stop();
    writeFileSync('/etc/docker/daemon.json', JSON.stringify(settings));
    engine = await engines['20.10']();
  };
  const serve = (name: string, address: string, ...args: readonly string[]) =>
    world.serve(name, ['tcp:80'], '--network', 'six', '--ip6', address, ...args);
  const untilServed = (name: string, port: number) =>
    untilAnswer(`${name} ${here.outside}`, world.outside.lan0, here.machine, port);
  const hosts = { hosts: ['unix:///var/run/docker.sock', 'tcp://127.0.0.1:2376'] };
  const certificates = '/etc/docker/certificates';
  /** Runs a command of the role without the world's own gate to the engine. */
  const run = (env: Readonly<Record<string, string>>, ...args: readonly string[]) =>
    execa(process.execPath, [bundle, 'host', ...args], {
      env: { DOCKER_HOST: engine.env.DOCKER_HOST ?? '', HOST_CONFIG: join(world.folder, 'host.yaml'), ...env },
      reject: false,
      all: true,
    });

  before(async () => {
    await execa('mount', ['-t', 'tmpfs', 'tmpfs', '/etc/docker']);
    await makeCertificates(certificates);
    const tls = { tlsverify: true, tlscacert: 'ca', tlscert: 'server', tlskey: 'server-key' };
    const files = Object.entries(tls).map(([key, name]) => [key, name === true ? name : `${certificates}/${name}.pem`]);
    writeFileSync('/etc/docker/daemon.json', JSON.stringify({ ...hosts, ...Object.fromEntries(files) }));
    ({ engine, world } = await openStage('20.10'));
  });
  after(async () => {
    await world?.close();
    await engine?.stop();
    await execa('umount', ['/etc/docker']);
  });

  it('finds a container again that comes back with another address', async () => {
    await serve('web', 'fd00:5eed:1::10', '--publish', '8080:80');
    role = await world.startHost(ipv6nat, '-retry', '-debug', '-cleanup');
    await untilServed('web', 8080);
    await engine.docker('rm', '--force', 'web');
    await until('its rules are gone', async () => !`${await savedRules(world)}`.includes('fd00:5eed:1::10'));
    await serve('anew', 'fd00:5eed:1::11', '--publish', '8080:80');
    await untilServed('anew', 8080);
    // What -debug is for.
    assert.match(role.output(), /changed \{"line":"\+ nat UNDERBRIDGE-LOCAL .*fd00:5eed:1::10/);
  });

  it("has its rules back when another program flushes them, and asks the user's DOCKER-USER first", async () => {
    await world.settled();
    const rules = await savedRules(world);
    await assertInTime(3_000, async () => {
      for (const words of ['-F', '-t nat -F']) await world.machine.run('ip6tables', ...words.split(' '));
      const fromMs = performance.now();
      await until('they are back', async () => `${await savedRules(world)}` === `${rules}`);
      return performance.now() - fromMs;
    });
    await world.machine.run('ip6tables', '-N', 'DOCKER-USER');
    await world.machine.run(
      'ip6tables',
      '-A',
      'DOCKER-USER',
      '-s',
      `${here.outside}/128`,
      '-o',
      'lan0',
      '-j',
      'RETURN',
    );
    await world.machine.run('ip6tables', '-A', 'DOCKER-USER', '-d', `${here.outside}/128`, '-j', 'DROP');
    const asks = async () =>
      (await (await world.enter('anew')).attempt('ping', '-c1', '-W1', here.outside)).exitCode === 0;
    await until('the user is heard', async () => !(await asks()));
    await world.machine.run('ip6tables', '-F', 'DOCKER-USER');
    await until('the container goes out', asks);
  });

  it('takes everything of ours away at a stop where -cleanup asked for it', async () => {
    role.kill('SIGTERM');
    await role.exited;
    assert.deepEqual(await savedRules(world), []);
    await world.machine.run('ip6tables', '-X', 'DOCKER-USER');
    assert.match((await world.host('-version')).output, /^underbridge \d+\.\d+\.\d+$/);
    assert.match((await world.host('plan', '-cleanup')).output, /--cleanup is no option of plan/);
  });

  it('reaches the engine by TLS, and only with its certificates', async () => {
    const env = { DOCKER_HOST: 'tcp://127.0.0.1:2376', DOCKER_TLS_VERIFY: '1', DOCKER_CERT_PATH: certificates };
    const { exitCode, all } = await run(env, 'plan');
    assert.equal(exitCode, 0, all);
    assert.match(all, /^\+ nat UNDERBRIDGE-LOCAL /m);
    assert.match(
      (await run({ ...env, DOCKER_CERT_PATH: '/nowhere' }, 'plan')).all,
      /\/nowhere\/ca\.pem cannot be read/,
    );
    await makeCertificates('/etc/docker/foreign');
    const foreign = await run({ ...env, DOCKER_CERT_PATH: '/etc/docker/foreign' }, 'plan');
    assert.match(foreign.all, /Docker does not answer at 127\.0\.0\.1:2376 \(\w*(SELF_SIGNED|UNABLE|CERT)/);
  });

  it('steps aside when the engine is back with ip6tables on, and takes over when it is off again', async () => {
    role = await world.startHost(ipv6nat);
    await untilServed('anew', 8080);
    await restart({ experimental: true, ip6tables: true });
    await engine.docker('start', 'anew');
    await until('nothing of ours is left', async () => (await savedRules(world)).length === 0);
    const { findings } = await world.status();
    assert.deepEqual(
      findings.map(({ code, subject }) => `${code} ${subject}`),
      ['ipv6nat-by-docker six'],
    );
    assert.match(role.output(), /"ipv6nat-by-docker","subject":"six","problem":"Docker 20\.10\.\S+ writes IPv6 rules/);
    await untilServed('anew', 8080);
    await engine.stop();
    // Docker would leave its rules; a restart of the machine would not.
    for (const table of ['filter', 'nat']) {
      for (const what of ['-F', '-X']) await world.machine.run('ip6tables', '-t', table, what);
    }
    writeFileSync('/etc/docker/daemon.json', '{}');
    engine = await engines['20.10']();
    await engine.docker('start', 'anew');
    await untilServed('anew', 8080);
    assert.notDeepEqual(await savedRules(world), []);
    await until('that is told no more', async () => (await world.status()).findings.length === 0);
  });

  it('says that IPv6 is not forwarded', async () => {
    await world.machine.run('sysctl', '-qw', 'net.ipv6.conf.all.forwarding=0');
    const { all } = await run({}, 'plan');
    assert.match(all, /net\.ipv6\.conf\.all\.forwarding: it is 0/);
    await world.machine.run('sysctl', '-qw', 'net.ipv6.conf.all.forwarding=1');
  });

  it('gives a port that two containers want to the first, says so, and holds the rest', async () => {
    await engine.docker('network', 'create', '--subnet', '10.90.0.0/24', 'apps');
    await world.serve('first', ['tcp:80'], '--network', 'apps');
    await world.serve('third', ['tcp:80'], '--network', 'apps', '--publish', '8088:80', '--publish', '8089:80');
    await world.rewrite(`${ipv6nat}published: { interfaces: [tailscale0] }
forwards:
  - { interface: tailscale0, port: 8088, to: { container: first, port: 80 } }
  - { port: 8077, to: { container: nobody } }
  - { interface: tailscale0, port: 8088, to: { container: anew, port: 80, network: apps } }
`);
    const outside = world.outside.tailscale0;
    await untilAnswer(`first ${tailscale0.outside}`, outside, tailscale0.machine, 8088);
    assert.equal(await answerOf(outside, tailscale0.machine, 8089), `third ${tailscale0.outside}`);
    const { exitCode, all } = await run({}, '--once');
    assert.equal(exitCode, 1);
    assert.match(all, /host\.yaml:2.*8088\/tcp.*\n?.*third wants the port that first has \(host\.yaml:4\)/);
    for (const place of [5, 6]) assert.match(all, new RegExp(`host\\.yaml:${place}`));
  });

  it('says that the engine cannot be reached, and leaves the rules', async () => {
    await until('it is settled', async () => (await world.status()).last?.changes === 0);
    const rules = await savedRules(world, 'iptables');
    assert.ok(rules.length > 0);
    const { exitCode, all } = await run({ DOCKER_HOST: 'unix:///run/nobody.sock' }, '--once');
    assert.equal(exitCode, 1);
    assert.match(all, /Docker does not answer at \/run\/nobody\.sock \(ENOENT\)\n {2}mount the socket of an engine/);
    assert.match(
      (await run({ DOCKER_HOST: 'ssh://machine' }, 'plan')).all,
      /DOCKER_HOST="ssh:\/\/machine" is no address/,
    );
    assert.deepEqual(await savedRules(world, 'iptables'), rules);
  });

  it('starts one program for each table and family, however many rules there are', async () => {
    role.kill('SIGTERM');
    await role.exited;
    await world.host('cleanup');
    const range = '11000-11039:11000-11039';
    await world.serve('many', ['tcp:80'], '--network', 'six', '--publish', range, '--publish', `${range}/udp`);
    await world.rewrite(`${ipv6nat}published: { interfaces: [tailscale0], hairpin: true }\n`);
    const counted = await countPrograms(world.folder);
    const started = async (...args: readonly string[]) => {
      counted.clear();
      const { all } = await run({ PATH: counted.path }, ...args);
      return { programs: counted.programs(), all };
    };
    const reads = ['ip', 'ip6tables-nft-save', 'iptables-nft-save'];
    const first = await started('--once');
    assert.ok(first.all.split('\n').length > 400, first.all);
    // Of filter and nat.
    const writes = ['ip6tables-nft-restore', 'iptables-nft-restore'].flatMap((program) => [program, program]);
    assert.deepEqual(first.programs, ['conntrack', 'conntrack', ...reads, ...writes].sort());
    assert.deepEqual((await started('--once')).programs, reads);
    await engine.docker('rm', '--force', 'many');
    assert.deepEqual((await started('--once')).programs, ['conntrack', 'conntrack', ...reads, ...writes].sort());
  });
});

describe('IPv6 translation on Docker 28.5', () => {
  let engine: Engine;
  let world: HostWorld;
  before(async () => {
    await execa('mount', ['-t', 'tmpfs', 'tmpfs', '/etc/docker']);
    ({ engine, world } = await openStage('28.5'));
  });
  after(async () => {
    await world?.close();
    await engine?.stop();
    await execa('umount', ['/etc/docker']);
  });

  it('is left to Docker, and said so', async () => {
    await world.serve('web', ['tcp:80'], '--network', 'six', '--publish', '8080:80');
    const role = await world.startHost(ipv6nat);
    await role.says('"code":"ipv6nat-by-docker","subject":"six","problem":"Docker 28.5');
    assert.deepEqual(await savedRules(world), []);
    await untilAnswer(`web ${here.outside}`, world.outside.lan0, here.machine, 8080);
    assert.equal((await world.status()).healthy, true);
  });

  it('is done here where Docker was told not to (`"ip6tables": false`)', async () => {
    const { outside, machine } = world;
    await outside.lan0.run('ip', 'route', 'add', 'default', 'via', here.machine);
    outside.lan0.start({}, 'perl', answering, 'world', 'tcp:7777');
    await engine.stop();
    for (const table of ['filter', 'nat', 'raw']) {
      for (const what of ['-F', '-X']) await machine.run('ip6tables', '-t', table, what);
    }
    writeFileSync('/etc/docker/daemon.json', '{ "ip6tables": false }');
    engine = await engines['28.5']();
    const local = ['--opt', 'com.docker.network.bridge.host_binding_ipv4=127.0.0.1'];
    await engine.docker('network', 'create', '--ipv6', '--subnet', 'fd00:5eed:2::/64', ...local, 'local');
    const serve = (name: string, network: string, ...args: readonly string[]) =>
      world.serve(name, ['tcp:80', 'tcp:81'], '--network', network, ...args);
    await serve('second', 'six', '--ip6', 'fd00:5eed:1::20', '--publish', '8090:80', '--publish', '[::1]:8091:80');
    await serve('bound', 'local', '--ip6', 'fd00:5eed:2::20', '--publish', '8095:80');
    const ask = (address: string, port: number) => answerOf(outside.lan0, address, port);
    await untilAnswer(`second ${here.outside}`, outside.lan0, here.machine, 8090);
    await until('it is known', async () => (await world.status()).resources['bridge-base'] === 2);
    for (const port of [8091, 8095]) assert.equal(await ask(here.machine, port), 'nobody');
    for (const address of ['fd00:5eed:1::20', 'fd00:5eed:2::20']) assert.equal(await ask(address, 81), 'nobody');
    const [second, bound] = [await world.enter('second'), await world.enter('bound')];
    assert.equal(await answerOf(second, here.outside, 7777), `world ${here.machine}`);
    assert.equal(await answerOf(bound, 'fd00:5eed:1::20', 80), 'nobody');
    assert.match(await answerOf(bound, here.machine, 8090), /^second /);
    assert.match(await answerOf(machine, '::1', 8091), /^second /);
    assert.doesNotMatch(`${(await world.status()).findings.map(({ code }) => code)}`, /ipv6/);
    await world.settled();
    assert.equal((await world.host('plan')).output, '# nothing to change');
  });
});

/** A folder with ca, server and client certificates, for 127.0.0.1. */
async function makeCertificates(folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  const openssl = (...args: readonly string[]) => execa('openssl', ['req', '-x509', ...key, ...args], { cwd: folder });
  await openssl('-subj', '/CN=ca', '-keyout', 'ca-key.pem', '-out', 'ca.pem');
  const signed = ['-CA', 'ca.pem', '-CAkey', 'ca-key.pem', '-addext', 'basicConstraints=critical,CA:FALSE'];
  const server = ['-addext', 'subjectAltName=IP:127.0.0.1', '-addext', 'extendedKeyUsage=serverAuth'];
  await openssl(...signed, ...server, '-subj', '/CN=engine', '-keyout', 'server-key.pem', '-out', 'server.pem');
  const client = ['-addext', 'extendedKeyUsage=clientAuth'];
  await openssl(...signed, ...client, '-subj', '/CN=role', '-keyout', 'key.pem', '-out', 'cert.pem');
}

/** A search path on which every program of the role says that it was started, and runs as ever. */
async function countPrograms(folder: string) {
  const bin = join(folder, 'bin');
  const log = join(folder, 'programs.log');
  mkdirSync(bin);
  const kinds = ['iptables', 'ip6tables'].flatMap((name) =>
    ['nft-save', 'nft-restore', 'legacy-save', 'legacy-restore'].map((kind) => `${name}-${kind}`),
  );
  for (const name of [...kinds, 'ip', 'conntrack', 'nft', 'nsenter']) {
    const { stdout } = await execa('which', [name]);
    writeFileSync(join(bin, name), `#!/bin/sh\necho ${name} >> ${log}\nexec ${stdout} "$@"\n`);
    chmodSync(join(bin, name), 0o755);
  }
  return {
    path: `${bin}:${process.env.PATH}`,
    clear: () => writeFileSync(log, ''),
    programs: () => readFileSync(log, 'utf8').trim().split('\n').sort(),
  };
}
