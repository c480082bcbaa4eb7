// What the image does besides routing: `docker run IMAGE COMMAND`. Needs root; starts an engine apart.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Engine } from '../lab/engine.ts';
import { openEngine, removeAll, runApart } from './apart.ts';
import { type ContainerRun, type Files, goodRun, makeFiles, makeNetworks, runContainer } from './container.ts';

await runApart(import.meta.filename);

let engine: Engine;
let files: Files;
before(async () => {
  engine = await openEngine('20.10');
  await makeNetworks(engine);
  files = await makeFiles({ named: { 'client.ovpn': 'PROFILE\nremote vpn.example 1194\n' } });
});
after(async () => {
  await files?.remove();
  if (engine !== undefined) await removeAll(engine);
});

/** The image as somebody runs it who has read nothing yet. */
const bare: ContainerRun = {
  env: {},
  networks: [],
  capabilities: [],
  device: 'none',
  ipForward: 0,
};

test('plan prints what would be applied in each state', async () => {
  const plan = await runContainer(engine, files, { ...goodRun, command: ['plan'] });
  assert.equal(plan.code, 0, plan.stderr);
  const states = [...plan.stdout.matchAll(/^# (lockdown|resolve|dial|forward)\b.*/gm)].map(([, state]) => state);
  assert.deepEqual(states, ['lockdown', 'dial', 'forward']);
  assert.match(plan.stdout, /^# dial 203\.0\.113\.10:1194\/udp$/m);
  assert.match(plan.stdout, /dnat (ip )?to 9\.9\.9\.9/);
  assert.match(plan.stdout, /^ip rule add pref 110 not iif lo unreachable/m);
  assert.doesNotMatch(plan.stdout, /secret of a run|BEGIN/);
});

test('plan shows the look-up of a server that has a name', async () => {
  const plan = await runContainer(engine, files, { ...goodRun, config: 'named', command: ['plan'] });
  assert.match(plan.stdout, /^# resolve/m, plan.stderr);
});

test('plan needs no capability and no device', async () => {
  const run = { ...goodRun, capabilities: [], device: 'none', command: ['plan'] } as const;
  const plan = await runContainer(engine, files, run);
  assert.equal(plan.code, 0, plan.stderr);
  assert.match(plan.stdout, /^# forward/m);
});

test('plan changes nothing', async () => {
  const script = `
    seen() { nft list ruleset 2>/tmp/remarks; ip -4 address; ip rule; ip route show table all; ip tuntap; ls /run /tmp; }
    touch /tmp/before /tmp/after /tmp/plan /tmp/remarks
    seen >/tmp/before
    underbridge plan >/tmp/plan || exit 1
    seen >/tmp/after
    cmp /tmp/before /tmp/after && cat /tmp/after`;
  const { code, stdout, stderr } = await runContainer(engine, files, {
    ...goodRun,
    entrypoint: 'sh',
    command: ['-c', script],
  });
  assert.equal(code, 0, stdout + stderr);
  assert.match(stdout, /inet 172\.22\.0\.\d+\/24/);
  assert.doesNotMatch(stdout, /172\.22\.0\.1\/24|underbridge|tun0/);
});

test('plan lists the faults, as the router does', async () => {
  const { code, stderr } = await runContainer(engine, files, { ...goodRun, env: { IP_ADDR: 'x' }, command: ['plan'] });
  assert.equal(code, 1);
  assert.match(stderr, /^there is no plan: 1 problem\n {2}IP_ADDR="x": .*$/);
});

test('doctor looks from inside in a container that is to be the router, and finds what it lacks', async () => {
  // Docker orders networks by name, so the default route leads to the isolated network: the one finding.
  const good = await runContainer(engine, files, { ...goodRun, command: ['doctor'] });
  assert.deepEqual([codesOf(good.stdout), good.code], [['UB_DOCTOR_DEFAULT_ROUTE'], 3], good.stdout + good.stderr);
  assert.doesNotMatch(good.stdout, /secret of a run|BEGIN/);
  const bad = await runContainer(engine, files, {
    ...goodRun,
    env: { ...goodRun.env, UPLINK_GATEWAY: '10.77.0.1' },
    capabilities: [],
    device: 'none',
    credentials: undefined,
    ipForward: 1,
    command: ['doctor'],
  });
  const capability = 'UB_DOCTOR_CAPABILITIES';
  const lacking = ['UB_DOCTOR_CREDENTIALS', capability, capability, capability, 'UB_DOCTOR_TUN'];
  assert.deepEqual([codesOf(bad.stdout), bad.code], [[...lacking, 'UB_DOCTOR_IP_FORWARD'], 1], bad.stdout + bad.stderr);
});

test('doctor says that it has nothing to look at', async () => {
  const { code, stdout, stderr } = await runContainer(engine, files, { ...bare, command: ['doctor'] });
  assert.deepEqual([code, stdout], [2, '']);
  assert.match(stderr, /^underbridge: Docker does not answer at \/var\/run\/docker\.sock \(ENOENT\)\n.*\(UB_DOCKER\)$/);
});

test('version, --version and --help need nothing at all', async () => {
  for (const command of ['version', '--version']) {
    const ran = await runContainer(engine, files, { ...bare, command: [command] });
    assert.deepEqual([ran.code, ran.stderr], [0, '']);
    assert.match(ran.stdout, /^\d+\.\d+\.\d+$/);
  }
  const help = await runContainer(engine, files, { ...bare, command: ['--help'] });
  assert.equal(help.code, 0);
  assert.match(help.stdout, /^Usage: underbridge \[COMMAND\]$/m);
});

test('status says that no router runs here', async () => {
  const { code, stderr } = await runContainer(engine, files, { ...bare, command: ['status'] });
  assert.equal(code, 1);
  assert.match(stderr, /^underbridge: no router answers at 127\.0\.0\.1:9797/);
});

test('a command or option that is not there is named, and is no crash', async () => {
  for (const word of ['rotuer', '--verbose']) {
    const { code, stderr } = await runContainer(engine, files, { ...bare, command: [word] });
    assert.equal(code, 2);
    assert.match(stderr, new RegExp(`^underbridge: there is no (command|option) "${word}"\n\nUsage: `));
    assert.doesNotMatch(stderr, /^\s+at /m);
  }
});

test('the router that is told nothing names everything that it lacks', async () => {
  const { code, stderr } = await runContainer(engine, files, bare);
  assert.equal(code, 1);
  for (const name of ['IP_ADDR', 'CONFIG', 'capabilities="NET_ADMIN"', '/dev/net/tun'])
    assert.ok(stderr.includes(`\n  ${name}`), stderr);
});

function codesOf(report: string): readonly string[] {
  return [...report.matchAll(/^(?:leak|break|warning) (UB_DOCTOR_\w+): /gm)].map(([, code = '']) => code);
}
