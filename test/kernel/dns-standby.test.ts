// Root and network namespaces; real OpenVPN, and unbound on both ends. A resolver of the router's own and two tunnels.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { askDns } from './lab/client.ts';
import { until } from './lab/containers.ts';
import { makeDotPki, startDotResolver } from './lab/dot.ts';
import { pidsIn } from './lab/namespace.ts';
import { makeStandbyLab, type StandbyLab } from './lab/standby.ts';
import { addresses, makeWorld, type World } from './lab/world.ts';

const dotAnswer = '10.0.0.53';
let world: World;
let lab: StandbyLab;

before(async () => {
  world = await makeWorld();
  const { folder } = world;
  const pki = await makeDotPki(folder);
  const dot = { address: addresses.resolver, port: 853, certificate: pki.good, answer: dotAnswer, folder };
  await startDotResolver(world.server, dot);
  lab = await makeStandbyLab(world, {
    DNS: `tls://${addresses.resolver}#dot.test`,
    DNS_CA_FILE: `${pki.authority}.crt`,
    // Each question of a client is one of the resolver.
    DNS_CACHE: 'off',
  });
});
after(() => world?.remove());

/** Waits until a client's question is answered, and gives the milliseconds. */
const untilAnswered = (answer: string) =>
  until('DNS answers', async () => (await askDns(world.client, '9.9.9.9', '+time=1')) === answer, 8_000);

async function resolverPid(): Promise<string> {
  const [pid, ...others] = await pidsIn(world.router, 'unbound');
  assert.ok(pid !== undefined && others.length === 0, `one resolver runs: ${[pid, ...others]}`);
  return pid;
}

for (const signal of ['SIGKILL', 'SIGSTOP'] as const) {
  test(`answers again through the other tunnel after ${signal} of the server, and asks nothing past it`, async (t) => {
    await untilAnswered(dotAnswer);
    const lost = await lab.carrier();
    const questions =
      'while :; do dig +short +time=1 +tries=1 @9.9.9.9 x.test; dig +short +tcp +time=1 +tries=1 @9.9.9.9 x.test; done';
    const asking = world.client.start({}, 'sh', '-c', questions);
    await asking.says(dotAnswer);
    lab.servers[lost]?.signal(signal);
    await until('clients change the tunnel', async () => (await lab.carrier()) === 1 - lost, 5_000);
    const tookMs = await untilAnswered(dotAnswer);
    t.diagnostic(`answered ${Math.round(tookMs)} ms after clients changed the tunnel`);
    assert.ok(tookMs < 3_000, `${tookMs} ms`);
    asking.kill('SIGKILL');
    await lab.restart(lost);
    await lab.untilHealthy(2);
    assert.equal(await lab.carrier(), 1 - lost);
    await resolverPid();
    await until(
      'the check of names is well',
      async () => ((await lab.router.health()).dns as { state: string }).state === 'ok',
      15_000,
    );
    assert.equal(await world.leaked(), 0);
  });
}

test('goes on with the same resolver while the tunnel that stands by is lost and comes back', async () => {
  const [before, carrier] = [await resolverPid(), await lab.carrier()];
  lab.servers[1 - carrier]?.signal('SIGKILL');
  await lab.untilHealthy(1);
  for (let looks = 0; looks < 10; looks += 1) {
    assert.equal(await askDns(world.client, '9.9.9.9'), dotAnswer);
    await sleep(50);
  }
  await lab.restart(1 - carrier);
  await lab.untilHealthy(2);
  assert.equal(await askDns(world.client, '9.9.9.9'), dotAnswer);
  assert.deepEqual([await resolverPid(), await lab.carrier()], [before, carrier]);
  assert.equal(await world.leaked(), 0);
});

test('answers nothing while both tunnels are lost, and again with the first of them', async () => {
  for (const server of lab.servers) server.signal('SIGKILL');
  await lab.untilHealthy(0);
  assert.match(await askDns(world.client, '9.9.9.9'), /unreachable|refused|no servers|timed out/);
  await until('no resolver runs', async () => (await pidsIn(world.router, 'unbound')).length === 0, 5_000);
  await Promise.all([lab.restart(0), lab.restart(1)]);
  await untilAnswered(dotAnswer);
  assert.equal(await world.leaked(), 0);
  assert.equal((await lab.router.stop()).exitCode, 0);
});
