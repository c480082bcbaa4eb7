import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { askDns, askTcp, sentBy, startFlood } from './lab/client.ts';
import { firstCause } from './lab/first-cause.ts';
import { addresses, makeWorld, ports, type RunningRouter, type RunningServer, type World } from './lab/world.ts';

// What a VPN server may push to the router. Root and network namespaces; real OpenVPN on both ends.
let world: World;
let server: RunningServer | undefined;
let router: RunningRouter | undefined;
/** Rules, routes, addresses and firewall with a server that means well. */
let ordinary = '';

before(async () => {
  world = await makeWorld();
  await connect();
  await router?.untilHealthy();
  ordinary = await kernelState();
  assert.match(ordinary, /^default dev tun0/m);
  await end();
});
afterEach(end);
after(() => world.remove());

async function connect(
  options: Parameters<World['startServer']>[0] = {},
  env: Readonly<Record<string, string>> = {},
): Promise<RunningRouter> {
  server = await world.startServer(options);
  router = world.startRouter(env);
  return router;
}

async function end(): Promise<void> {
  await router?.stop();
  await server?.stop();
  router = undefined;
  server = undefined;
}

/** Everything of ours that a server might want to change, without counters. */
async function kernelState(): Promise<string> {
  const parts = await Promise.all([
    world.router.run('ip', 'rule'),
    world.router.run('ip', '-6', 'rule'),
    world.router.run('ip', 'route', 'show', 'table', 'all'),
    world.router.run('ip', '-br', 'addr'),
    world.router.run('nft', 'list', 'ruleset'),
    readFile('/etc/resolv.conf', 'utf8'),
  ]);
  return (
    parts
      .join('\n')
      .replaceAll(/counter packets \d+ bytes \d+/g, 'counter')
      // Who has connections, and what was refused and let through.
      .replaceAll(/\t\telements = \{[^{}]*\}\n/g, '')
      .replaceAll(/^table inet underbridge_passed \{\n.*?^\}\n/gms, '')
      .replaceAll(/fe80::[0-9a-f:]+/g, 'fe80::')
      .split('\n')
      // The kernel gives the link-local addresses of a tun device by chance.
      .filter((line) => !line.includes('fe80::'))
      .join('\n')
  );
}

async function causeOf(running: RunningRouter): Promise<{ readonly code: string; readonly text: string }> {
  const { code, text } = await firstCause(running);
  return { code, text };
}

async function carriesWithoutLeak(running: RunningRouter): Promise<void> {
  await running.untilHealthy();
  assert.equal(await askTcp(world.client, addresses.web, ports.web), '10.8.0.2', running.output());
  assert.equal(await askDns(world.client, '9.9.9.9'), addresses.resolver);
  // Where the pushed routes would have led outside.
  const flood = startFlood(world.client, addresses.web, ports.web, 0.5);
  const outside = [addresses.isp, addresses.server, '203.0.113.99', '10.50.0.1'];
  await Promise.all(outside.map((address) => world.client.attempt('ping', '-c1', '-W1', address)));
  assert.ok((await sentBy(flood)) > 100);
  assert.equal(await world.leaked(), 0, running.output());
}

const route = (network: string, mask: string, gateway = '') => `route ${network} ${mask} ${gateway}`.trim();
const ignored: Readonly<Record<string, readonly string[]>> = {
  'routes past the tunnel': [
    route('0.0.0.0', '0.0.0.0', 'net_gateway'),
    route('0.0.0.0', '128.0.0.0', 'net_gateway'),
    route(addresses.web, '255.255.255.255', 'net_gateway'),
    route(addresses.web, '255.255.255.255', addresses.isp),
    route('198.51.100.0', '255.255.255.0'),
    route('172.22.0.0', '255.255.255.0'),
    route(addresses.client, '255.255.255.255', 'vpn_gateway'),
    route('0.0.0.0', '0.0.0.0', addresses.isp),
    route(addresses.server, '255.255.255.255', 'vpn_gateway'),
    'redirect-private def1',
    'redirect-gateway local bypass-dhcp bypass-dns',
    'redirect-gateway !ipv4 ipv6 block-local',
    `route-gateway ${addresses.isp}`,
    'route-metric 0',
    'route-ipv6 ::/0',
    'client-nat snat 172.22.0.0 255.255.255.0 198.51.100.0',
  ],
  'scripts, settings and noise': [
    'up /bin/sh',
    'route-up "/bin/sh -c id"',
    'script-security 3',
    'plugin /tmp/evil.so',
    'setenv PATH /tmp',
    'setenv-safe LD_PRELOAD /tmp/evil.so',
    'setenv opt up /bin/sh',
    'config /etc/shadow',
    'log-append /tmp/underbridge-pushed',
    'echo $(id)',
    'remote 127.0.0.1 22',
    'management 127.0.0.1 7505',
    'user root',
    'persist-key',
    'ping-exit 1',
    'inactive 1',
    'session-timeout 1',
    'explicit-exit-notify 9',
    'server-poll-timeout 1',
    'push-remove route',
    'block-outside-dns',
    'block-ipv6',
    'pull-filter accept ""',
    'cipher none',
    'auth none',
    'peer-id 16777215',
    'auth-token "a$(id)\\\\ b;c\'d"',
    'auth-token-user JChpZCk=',
  ],
  'resolvers that are none': [
    'dhcp-option DOMAIN "$(id)"',
    'dhcp-option DOMAIN-SEARCH `id`',
    'dhcp-option DNS $(id)',
    'dhcp-option DNS 127.0.0.11',
    'dhcp-option DNS 0.0.0.0',
    'dhcp-option DNS 255.255.255.255',
    'dhcp-option DNS 224.0.0.251',
    `dhcp-option DNS ${addresses.client}`,
    `dhcp-option DNS ${addresses.gateway}`,
    'dhcp-option DNS6 fe80::1%eth0',
    'dhcp-option WINS 198.51.100.1',
    'dhcp-option PROXY_HTTP 198.51.100.1 80',
    'dns server 1 address 127.0.0.11 172.22.0.128 fe80::1',
    'dns search-domains $(id)',
  ],
  'IPv6 addresses': [
    'ifconfig-ipv6 fd00::2/64 fd00::1',
    'route-ipv6 2000::/3',
    'tun-ipv6',
    'dhcp-option DNS6 fd00::53',
  ],
  'a thousand routes': Array.from({ length: 1_000 }, (_, index) =>
    route(`10.${50 + (index >> 8)}.${index & 255}.0`, '255.255.255.0', 'net_gateway'),
  ),
};

for (const [what, pushes] of Object.entries(ignored)) {
  test(`changes nothing for ${what} that are pushed, and carries its clients`, async () => {
    const running = await connect({ pushes }, { LOG_LEVEL: 'debug' });
    await carriesWithoutLeak(running);
    assert.equal(await kernelState(), ordinary, running.output());
    // It has come as far as OpenVPN; values of tokens are cut out there.
    const replies = running.output().match(/PUSH: Received control message: .*/g) ?? [];
    for (const option of pushes) assert.ok(replies.join().includes(option.split(' ')[0] ?? ''), option);
  });
}

const conflicts: readonly (readonly [address: string, owner: string])[] = [
  [addresses.gateway, 'the isolated network'],
  ['172.22.0.255', 'the isolated network'],
  [addresses.isp, 'the uplink'],
  [addresses.routerUplink, 'the uplink'],
  ['198.51.100.200', 'the uplink'],
  [addresses.server, 'the VPN server itself'],
  [addresses.resolver, 'the enforced resolver'],
];

for (const [address, owner] of conflicts) {
  test(`refuses ${address} as the tunnel's address`, async () => {
    const pushes = [`dhcp-option DNS ${addresses.resolver}`, `ifconfig ${address} 255.255.255.0`];
    const running = await connect({ pushesNothingElse: true, pushes });
    assert.deepEqual(await causeOf(running), {
      code: 'address-conflict',
      text: `the server gave ${address}, which belongs to ${owner}`,
    });
    await refusesClients(running);
  });
}

async function refusesClients(running: RunningRouter): Promise<void> {
  assert.match(await askTcp(world.client, addresses.web, ports.web), /^E\w+ /);
  assert.doesNotMatch(await world.router.run('ip', 'route', 'show', 'table', '7101'), /tun0/);
  assert.doesNotMatch(await world.router.run('ip', '-4', '-br', 'addr', 'show', 'dev', 'tun0'), /\d\/32/);
  assert.equal(await world.leaked(), 0, running.output());
}

const noAddresses: readonly (readonly [pushed: string | undefined, text: string])[] = [
  [undefined, 'the server gave no IPv4 address'],
  ['$(id)', 'the server gave no IPv4 address'],
  ...['127.0.0.1', '0.0.0.0', '224.0.0.1', '255.255.255.255'].map(
    (address) => [address, `the server gave ${address}, which is no address of a host`] as const,
  ),
];

for (const [pushed, text] of noAddresses) {
  test(`refuses a server that gives ${pushed ?? 'no address'}`, async () => {
    const pushes = pushed === undefined ? [] : [`ifconfig ${pushed} 255.255.255.0`];
    const running = await connect({ pushesNothingElse: true, pushes });
    assert.deepEqual(await causeOf(running), { code: 'option-error', text });
    await refusesClients(running);
  });
}

test('refuses the address of the probe as its own: it would answer itself', async () => {
  const running = await connect({}, { HEALTH_PROBE: '10.8.0.2:443' });
  assert.deepEqual(await causeOf(running), {
    code: 'address-conflict',
    text: 'the server gave 10.8.0.2, which belongs to HEALTH_PROBE',
  });
  await refusesClients(running);
});

test('refuses compression that the profile does not turn on', async () => {
  const running = await connect({ pushes: ['comp-lzo yes'] });
  const { code, text } = await causeOf(running);
  assert.equal(code, 'option-error');
  assert.match(text, /^OpenVPN does not take what the server pushed: server pushed compression settings/);
  await refusesClients(running);
});

test('refuses a cipher that was not offered, and says which', async () => {
  // Without the pushed one OpenVPN is left with the default of its oldest versions.
  const profile = join(world.folder, 'old-cipher.ovpn');
  const text = await readFile(join(world.folder, 'client.ovpn'), 'utf8');
  await writeFile(profile, `${text}pull-filter ignore "cipher "\n`);
  const { code, text: cause } = await causeOf(await connect({}, { CONFIG: profile }));
  assert.equal(code, 'option-error');
  assert.match(cause, /^OpenVPN does not take what the server pushed: negotiated cipher not allowed - BF-CBC not in /);
});

test('refuses a tunnel without encryption', async () => {
  const running = await connect({ args: ['--data-ciphers', 'none'] });
  assert.deepEqual(await causeOf(running), {
    code: 'tls-mismatch',
    text: `${addresses.server}:1194/udp takes none of the ciphers of client.ovpn`,
  });
  await refusesClients(running);
});

for (const [pushedBytes, usedBytes] of [
  [100, 100],
  // More than OpenVPN takes from a server without the profile's leave.
  [65_535, 1_600],
] as const) {
  test(`uses ${usedBytes} bytes where ${pushedBytes} are pushed as the tunnel's MTU`, async () => {
    const running = await connect({ args: ['--tun-mtu', `${pushedBytes}`] });
    await carriesWithoutLeak(running);
    assert.equal((await world.router.run('cat', '/sys/class/net/tun0/mtu')).trim(), `${usedBytes}`);
  });
}

test('keeps DNS inside the tunnel when a resolver on the uplink is pushed', async () => {
  const pushes = [`dhcp-option DNS ${addresses.isp}`, `dhcp-option DNS ${addresses.routerUplink}`];
  const running = await connect({ pushesNothingElse: true, pushes: [...pushes, 'ifconfig 10.8.0.2 255.255.255.0'] });
  while (!(await world.router.run('ip', 'route', 'show', 'table', '7101')).includes('tun0')) await sleep(50);
  await askDns(world.client, '9.9.9.9');
  await askDns(world.client, addresses.isp, '+tcp');
  assert.equal(await world.leaked(), 0, running.output());
});

test('asks no more than eight of the resolvers that are pushed', async () => {
  const many = Array.from({ length: 500 }, (_, index) => `dhcp-option DNS 10.60.${index >> 8}.${index & 255}`);
  const running = await connect({ pushes: many });
  await carriesWithoutLeak(running);
  const rules = await world.router.run('nft', 'list', 'table', 'ip', 'underbridge_nat');
  assert.equal(rules.match(/10\.60\.\d+\.\d+/g)?.length, 7);
});

test('keeps the token of a session out of the log', async () => {
  const running = await connect({ args: ['--auth-gen-token', '60'] }, { LOG_LEVEL: 'debug' });
  await carriesWithoutLeak(running);
  assert.doesNotMatch(running.output(), /SESS_ID_A/);
});

test("shows a server's words without what would steer a terminal", async () => {
  const reject = join(world.folder, 'reject');
  const script = '#!/bin/sh\nprintf \'red \\302\\233 31m $(id)\' > "$auth_failed_reason_file"; exit 1\n';
  await writeFile(reject, script, { mode: 0o755 });
  const running = await connect({ args: ['--auth-user-pass-verify', reject, 'via-file'] });
  assert.deepEqual(await causeOf(running), {
    code: 'auth-failed',
    text: `${addresses.server}:1194/udp did not take the user name and password: red ? 31m $(id)`,
  });
  assert.doesNotMatch(running.output(), /\u009b/);
});
