// The image's own resolver: in the demo's world, and against certificates. Needs root; starts engines apart.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { dnsChecks } from '../../compose/proof/rows.ts';
import { renderResolverSettings } from '../../src/dns/resolver-settings.ts';
import { makeDotPki } from '../kernel/lab/dot.ts';
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

test('answers clients by the resolver in the container, read-only and without capabilities', async (t) => {
  for (const check of dnsChecks) {
    const { done, seen, pass } = await check(world);
    assert.ok(pass, `${done}: ${seen}`);
  }
  const status = readFileSync(`/proc/${await world.pidOf('router', 'unbound')}/status`, 'utf8');
  assert.match(status, /^Uid:\s+976\s/m);
  assert.match(status, /^CapEff:\s+0+$/m);
  assert.equal(await world.leaked(), 0);
  const residents = (await world.processes('router')).map(({ pid, program }) => {
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    return `${program} ${/^Rss: +(\d+)/m.exec(rollup)?.[1]} (${/^Pss: +(\d+)/m.exec(rollup)?.[1]})`;
  });
  t.diagnostic(`resident memory (shared pages once), KiB: ${residents.join(', ')}`);
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
    const said = async (name: string, certificate: string) => {
      const server = `server:\n chroot: ""\n username: ""\n pidfile: ""\n interface: 127.0.0.1@853\n tls-service-pem: ${certificate}.crt\n tls-service-key: ${certificate}.key\n local-zone: "." redirect\n local-data: ". A 10.0.0.1"\n`;
      const client = renderResolverSettings({
        config: { gateway: cidr('127.0.0.2/8') },
        resolver: { isCaching: true, zones: [] },
        upstreams: [{ address: ipv4('127.0.0.1'), port: port(853), name }],
        authorities: `${pki.authority}.crt`,
      }).replace('server:\n', 'server:\n  do-not-query-localhost: no\n');
      const script =
        'printf %s "$1" >/tmp/server; printf %s "$2" >/tmp/client; unbound -c /tmp/server 2>&1; unbound -d -c /tmp/client 2>&1 & sleep 1; ' +
        'printf "$3" >/dev/udp/127.0.0.2/5300; sleep 1';
      const question = '\\0\\1\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\1a\\7example\\0\\0\\1\\0\\1';
      const { stdout } = await runFor(world.engine, [
        ...(['docker', 'run', '--rm', '--network', 'none', '--volume', `${folder}:${folder}:ro`] as const),
        ...['--entrypoint', 'bash', image, '-c', script, 'bash', server, client, question],
      ]);
      return stdout;
    };
    assert.match(await said('other.test', pki.good), /ssl handshake cert error: hostname mismatch/);
    assert.match(await said('dot.test', pki.expired), /ssl handshake cert error: certificate has expired/);
    assert.doesNotMatch(await said('dot.test', pki.good), /handshake/);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
