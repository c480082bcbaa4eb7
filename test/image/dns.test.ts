// The image's own resolver: in the demo's world, and against certificates. Needs root; starts engines apart.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type Check, dnsChecks } from '../../compose/proof/rows.ts';
import { renderResolverSettings } from '../../src/dns/resolver-settings.ts';
import { makeDotPki, writeDotSettings } from '../kernel/lab/dot.ts';
import { cidr } from '../unit/config/outcome.ts';
import { ipv4, port } from '../unit/tunnel/endpoints.ts';
import { image, openEngine, runApart } from './apart.ts';
import { openWorld, runFor, slackMs, type World } from './world.ts';

await runApart(import.meta.filename);

let world: World;
before(async () => {
  world = openWorld(await openEngine('28.5'), { isolated: 'last', dnsCache: 'on' });
  await world.startScene();
  await world.startRouter();
  await world.untilHealth('router', 'healthy', 5_000 + slackMs);
});
after(() => world?.remove());

test('answers clients by the resolver in the container, read-only and without capabilities', async () => {
  assert.equal(await world.leaked(), 0);
  const [ofProbe = assert.fail(), ...ofClients] = dnsChecks;
  const holds = async (check: Check) => {
    const { done, seen, pass } = await check(world);
    assert.ok(pass, `${done}: ${seen}`);
  };
  // It is on the uplink itself: the line counts what it asks.
  await holds(ofProbe);
  const ofProbeAlone = await world.leaked();
  assert.ok(ofProbeAlone > 0);
  for (const check of ofClients) await holds(check);
  const status = readFileSync(`/proc/${await world.pidOf('router', 'unbound')}/status`, 'utf8');
  assert.match(status, /^Uid:\s+976\s/m);
  assert.match(status, /^CapEff:\s+0+$/m);
  assert.equal(await world.leaked(), ofProbeAlone);
});

test('takes at most 90 MiB of memory after 3,000 names, pages that processes share counted once', async (t) => {
  const measure = async () => {
    const each = (await world.processes('router')).map(({ pid, program }) => {
      const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
      const mebibytes = (name: string) => Number(new RegExp(`^${name}: +(\\d+)`, 'm').exec(rollup)?.[1]) / 1024;
      return { program, rss: mebibytes('Rss'), pss: mebibytes('Pss') };
    });
    const sum = (name: 'rss' | 'pss') => each.reduce((total, of) => total + of[name], 0);
    const list = each.map(({ program, rss, pss }) => `${program} ${rss.toFixed(1)} (${pss.toFixed(1)})`).join(', ');
    t.diagnostic(`MiB resident (shared pages once): ${sum('rss').toFixed(1)} (${sum('pss').toFixed(1)}): ${list}`);
    return { total: sum('pss'), list };
  };
  await measure();
  // Each is a connection: CONNECTION_LIMIT has 4,096.
  const ask = 'seq 3000 | sed "s/.*/n&.example A/" >/tmp/names && dig @9.9.9.9 -f /tmp/names | grep -c NOERROR';
  const { stdout } = await world.exec('client1', 'sh', '-c', ask);
  assert.equal(stdout, '3000');
  const { total, list } = await measure();
  assert.ok(total <= 90, list);
});

test('brings the public authorities', async () => {
  const { stdout } = await world.exec(
    'router',
    'grep',
    '-c',
    'BEGIN CERTIFICATE',
    '/usr/lib/underbridge/authorities.pem',
  );
  assert.ok(Number(stdout) > 100, stdout);
});

test("says of a resolver's certificate why it was refused", async () => {
  const folder = await mkdtemp(join(tmpdir(), 'underbridge-dot-'));
  try {
    const pki = await makeDotPki(folder);
    // Until there is an answer, or a complaint in the log: 00 01 is the question's number, 81 80 the answer's success.
    const script = `
      unbound -d -c "$1/dot-853.conf" 2>/dev/null & unbound -d -c "$1/client.conf" >/tmp/log 2>&1 &
      for try in {1..50}; do
        exec 3<>/dev/udp/127.0.0.2/5300
        printf '\\0\\1\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\1a\\4test\\0\\0\\1\\0\\1' >&3
        head=$(timeout 0.5 head -c 4 <&3 2>/dev/null | od -An -tx1)
        [ -n "$head" ] || grep -q handshake /tmp/log && break
        sleep 0.1
      done
      echo "answer:$head"; cat /tmp/log`;
    const said = async (name: string, certificate: string) => {
      await writeDotSettings({ address: '127.0.0.1', port: 853, certificate, answer: '10.0.0.1', folder });
      const settings = renderResolverSettings({
        config: { gateway: cidr('127.0.0.2/8') },
        resolver: { isCaching: true, zones: [] },
        upstreams: [{ address: ipv4('127.0.0.1'), port: port(853), name }],
        authorities: `${pki.authority}.crt`,
      });
      await writeFile(
        `${folder}/client.conf`,
        settings.replace('server:\n', 'server:\n  do-not-query-localhost: no\n'),
      );
      const { stdout } = await runFor(world.engine, [
        ...(['docker', 'run', '--rm', '--network', 'none', '--volume', `${folder}:${folder}:ro`] as const),
        ...['--entrypoint', 'bash', image, '-c', script, 'bash', folder],
      ]);
      return stdout;
    };
    const refused = await said('other.test', pki.good);
    assert.match(refused, /ssl handshake cert error: hostname mismatch/);
    assert.doesNotMatch(refused, /answer: 00 01 81 80/);
    assert.match(await said('dot.test', pki.expired), /ssl handshake cert error: certificate has expired/);
    const believed = await said('dot.test', pki.good);
    assert.match(believed, /answer: 00 01 81 80/);
    assert.doesNotMatch(believed, /handshake/);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
