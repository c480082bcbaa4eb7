import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { untilCounting } from './lab/counting.ts';
import { addresses, credentials, makeWorld, type World } from './lab/world.ts';

// Root and network namespaces; a real router with a real VPN server, and doctor beside it.
let world: World;
let settings: Readonly<Record<string, string>>;

before(async () => {
  world = await makeWorld();
  await world.startServer();
  await world.startRouter().untilHealthy();
  // The router itself loads this table last.
  await untilCounting(world);
  settings = {
    IP_ADDR: `${addresses.gateway}/24`,
    CONFIG: join(world.folder, 'client.ovpn'),
    OPENVPN_CREDENTIALS_FILE: join(world.folder, 'credentials'),
    UPLINK_GATEWAY: addresses.isp,
  };
});
after(() => world.remove());

interface Ran {
  readonly exitCode: number;
  readonly output: string;
  readonly codes: readonly string[];
}

/** Runs doctor in the router's namespace, inside another program that takes something from it. */
async function examine({
  env = {},
  inside = [],
}: {
  readonly env?: Readonly<Record<string, string>>;
  readonly inside?: readonly string[];
} = {}): Promise<Ran> {
  const variables = Object.entries({ PATH: process.env.PATH, ...settings, ...env }).map(
    ([name, value]) => `${name}=${value}`,
  );
  const doctor = [join(world.folder, 'underbridge/run'), 'doctor'];
  const { exitCode, output } = await world.router.attempt('env', '-i', ...variables, ...inside, ...doctor);
  const codes = [...output.matchAll(/^(?:leak|break|warning) (UB_DOCTOR_\w+): /gm)].map(([, code = '']) => code);
  return { exitCode, output, codes };
}

test('finds nothing beside a router that works, and says what it looked at', async () => {
  const { exitCode, output } = await examine();
  assert.match(output, /^0 leaks, 0 breaks, 0 warnings\. Looked at this container; .*$/);
  assert.equal(exitCode, 0);
});

test('finds that files are missing which settings name', async () => {
  const { exitCode, output, codes } = await examine({
    env: { DNS: 'tls://9.9.9.9#dns.example', DNS_CA_FILE: '/nowhere/ca.pem', CONTROL_TOKEN_FILE: '/nowhere/token' },
  });
  assert.deepEqual(codes, ['UB_DOCTOR_SETTING', 'UB_DOCTOR_SETTING'], output);
  assert.equal(exitCode, 1);
});

test('changes nothing and sends nothing', async () => {
  const commands = [
    'nft list ruleset',
    'ip rule',
    'ip -6 rule',
    // Of IPv6 addresses the kernel itself changes the state for some seconds.
    'ip -4 addr',
    'ip -4 route show table all',
    'ip -4 neigh | sed "s/ [A-Z]* *$//"',
  ];
  // Counters of the router's own packets and lifetimes go on by themselves.
  const see = async () =>
    (await world.router.run('sh', '-c', commands.join('; '))).replace(/(packets|bytes) \d+|\w+ \d+sec/g, '');
  const before = await see();
  await world.forgetLeaks();
  await examine({ env: { UPLINK_GATEWAY: '' } });
  assert.equal(await see(), before);
  assert.equal(await world.leaked(), 0);
});

test('shows no secret', async () => {
  for (const env of [
    {},
    { OPENVPN_PASSWORD: credentials.password },
    { CONFIG: settings.OPENVPN_CREDENTIALS_FILE ?? '' },
  ]) {
    const { output } = await examine({ env });
    for (const secret of ['s#é', 'us er', 'BEGIN']) assert.ok(!output.includes(secret), output);
  }
});

describe('finds', () => {
  test('a default route that leads to the router itself', async () => {
    const { exitCode, codes, output } = await examine({ env: { UPLINK_GATEWAY: '' } });
    assert.deepEqual(codes, ['UB_DOCTOR_DEFAULT_ROUTE'], output);
    assert.ok(output.includes(`leads to ${addresses.gateway}, which is the router itself`), output);
    assert.equal(exitCode, 3);
  });

  test('forwarding that was on from the start', async () => {
    await world.router.run('sysctl', '-qw', 'net.ipv4.ip_forward=1');
    const { exitCode, codes, output } = await examine();
    await world.router.run('sysctl', '-qw', 'net.ipv4.ip_forward=0');
    assert.deepEqual(codes, ['UB_DOCTOR_IP_FORWARD'], output);
    assert.equal(exitCode, 3);
  });

  test('an uplink that is too narrow, and nothing once MSS is set as it says', async () => {
    await world.router.run('ip', 'link', 'set', 'eth1', 'mtu', '1400');
    const { codes, output } = await examine();
    const MSS = /Remedy: MSS=(\d+)/.exec(output)?.[1] ?? '';
    const mended = await examine({ env: { MSS } });
    await world.router.run('ip', 'link', 'set', 'eth1', 'mtu', '1500');
    assert.deepEqual(codes, ['UB_DOCTOR_MTU'], output);
    assert.deepEqual([MSS, mended.exitCode], ['1220', 0], mended.output);
  });

  test('missing capabilities, and does not need them', async () => {
    const without = (names: string) => ['setpriv', `--bounding-set=${names}`, `--inh-caps=${names}`];
    const one = await examine({ inside: without('-net_admin') });
    assert.deepEqual(one.codes, ['UB_DOCTOR_CAPABILITIES'], one.output);
    const all = await examine({ inside: without('-all') });
    assert.deepEqual(all.codes, Array(3).fill('UB_DOCTOR_CAPABILITIES'), all.output);
    assert.deepEqual([one.exitCode, all.exitCode], [1, 1]);
  });

  test('rules that iptables-legacy cannot load without NET_RAW, and nothing with it', async () => {
    const env = { FIREWALL: 'iptables-legacy' };
    const bare = await examine({ env, inside: ['setpriv', '--bounding-set=-net_raw', '--inh-caps=-net_raw'] });
    assert.deepEqual([bare.codes, bare.exitCode], [['UB_DOCTOR_KERNEL'], 1], bare.output);
    assert.match(bare.output, /the container has no NET_RAW.*cap_add: \[NET_RAW\]/);
    const { codes } = await examine({ env });
    assert.ok(!codes.includes('UB_DOCTOR_KERNEL'), `${codes}`);
  });

  test('a kernel that refuses the firewall, whatever capabilities it shows', async () => {
    // Root of a user namespace has NET_ADMIN, but not in a network namespace that it did not make.
    const { exitCode, codes, output } = await examine({ inside: ['unshare', '--user', '--map-root-user'] });
    assert.deepEqual(codes, ['UB_DOCTOR_KERNEL'], output);
    assert.equal(exitCode, 1);
  });

  test('that there is no tunnel device', async () => {
    const inside = ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs tmpfs /dev/net && exec "$@"', 'sh'];
    const { exitCode, codes, output } = await examine({ inside });
    assert.deepEqual(codes, ['UB_DOCTOR_TUN'], output);
    assert.equal(exitCode, 1);
  });

  test('a profile that is refused, and one that would believe any customer of the provider', async () => {
    const good = await world.router.run('cat', settings.CONFIG ?? '');
    const evil = join(world.folder, 'evil.ovpn');
    await writeFile(evil, `plugin /evil.so\n${good}\n`);
    const refused = await examine({ env: { CONFIG: evil } });
    assert.deepEqual(refused.codes, ['UB_DOCTOR_PROFILE'], refused.output);
    assert.match(refused.output, /evil\.ovpn:1="plugin \/evil\.so": would load code/);
    const trusting = join(world.folder, 'trusting.ovpn');
    await writeFile(trusting, `${good.replace('remote-cert-tls server\n', '')}\n`);
    const believed = await examine({ env: { CONFIG: trusting } });
    assert.deepEqual(believed.codes, ['UB_DOCTOR_SERVER_CHECK'], believed.output);
    const second = await examine({ env: { CONFIG: `${settings.CONFIG}, ${trusting}` } });
    assert.deepEqual(second.codes, ['UB_DOCTOR_SERVER_CHECK'], second.output);
    assert.match(second.output, /trusting\.ovpn takes any certificate/);
    const alone = await examine({ env: { STANDBY: 'on' } });
    assert.deepEqual(alone.codes, ['UB_DOCTOR_SETTING'], alone.output);
  });

  test('all of a bad set-up at once', async () => {
    const { exitCode, codes, output } = await examine({
      env: {
        IP_ADDR: '172.29.0.1/24',
        DNS: 'nine',
        CONFIG: '/nowhere.ovpn',
        OPENVPN_CREDENTIALS_FILE: '/nothing',
      },
    });
    const all = ['CREDENTIALS', 'PROFILE', 'ROUTER_NETWORKS', 'SETTING'];
    assert.deepEqual(
      codes.toSorted(),
      all.map((code) => `UB_DOCTOR_${code}`),
      output,
    );
    assert.equal(exitCode, 1);
  });

  test('missing credentials', async () => {
    const { codes, output } = await examine({ env: { OPENVPN_CREDENTIALS_FILE: '/nothing' } });
    assert.deepEqual(codes, ['UB_DOCTOR_CREDENTIALS'], output);
  });
});

describe('where something else listens at the socket', { concurrency: true }, () => {
  const http = (body: string, status = 200) => JSON.stringify(`HTTP/1.1 ${status} Some\r\n\r\n${body}`);
  const version = (ApiVersion: string) => JSON.stringify({ Version: '28.5.2', ApiVersion });
  /** What it does with each `peer`, in JavaScript. */
  const hostile: readonly { readonly given: string; readonly talk: string; readonly says: RegExp }[] = [
    { given: 'nothing', talk: '', says: /no answer within 10 s/ },
    { given: 'no HTTP', talk: 'setInterval(() => peer.write("x"), 500)', says: /does not answer at/ },
    {
      given: 'an answer without an end',
      talk: `peer.write(${http('{')}); setInterval(() => peer.write(" "), 500)`,
      says: /no answer within 10 s/,
    },
    { given: 'no JSON', talk: `peer.end(${http('<html>')})`, says: /did not answer in JSON/ },
    { given: 'JSON of another kind', talk: `peer.end(${http('{}')})`, says: /does not tell its version/ },
    { given: 'a path for a version', talk: `peer.end(${http(version('1/../..'))})`, says: /does not tell its version/ },
    {
      given: 'the same to every question',
      talk: `peer.end(${http(version('1.41'))})`,
      says: /answered no list to \/v1\.41\/networks/,
    },
    { given: 'an error', talk: `peer.end(${http('', 500)})`, says: /answered 500 to \/version/ },
  ];
  for (const { given, talk, says } of hostile) {
    test(`says so when it says ${given}`, async () => {
      const server = `require("net").createServer((peer) => { peer.on("error", () => {}); ${talk} }).listen("/run/docker.sock")`;
      const script = `mount -t tmpfs tmpfs /run; node -e '${server}' & server=$!
        until [ -S /run/docker.sock ]; do sleep 0.05; done
        "$@"; code=$?; kill $server; exit $code`;
      const { exitCode, output } = await examine({
        env: { IP_ADDR: '' },
        inside: ['unshare', '--mount', 'sh', '-c', script, 'sh'],
      });
      assert.equal(exitCode, 2, output);
      assert.match(output, says);
      assert.match(output, /\(UB_DOCKER\)$/);
    });
  }
});

describe('where there is no router and no Docker', () => {
  test('says that nothing could be looked at, and what to type', async () => {
    // A network namespace hides no socket in the file system, and this machine may have an engine.
    const inside = ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs tmpfs /run && exec "$@"', 'sh'];
    const { exitCode, output } = await examine({ env: { IP_ADDR: '' }, inside });
    assert.equal(exitCode, 2);
    assert.match(output, /^underbridge: Docker does not answer at \/var\/run\/docker\.sock \(ENOENT\)$/m);
    assert.match(output, /docker run --rm -v .*IP_ADDR.*\(UB_DOCKER\)$/m);
  });
});
