// Root and network namespaces. What keeps `IPV6: tunnel` from working is told at the start, one sentence each.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { addIpv6, ipv6Addresses, writeProfile } from './lab/ipv6.ts';
import { addresses, makeWorld, ports, type World } from './lab/world.ts';

let world: World;

before(async () => {
  world = await makeWorld();
  await addIpv6(world);
});
after(() => world?.remove());

/** What a router says that does not start; `before` is done in its mount namespace. */
async function refusal(settings: readonly string[], before = 'true'): Promise<string> {
  const { exitCode, output } = await world.router.attempt(
    'env',
    ...[`IP_ADDR=${addresses.gateway}/24`, `CONFIG=${world.folder}/client.ovpn`],
    ...[`OPENVPN_CREDENTIALS_FILE=${world.folder}/credentials`, ...settings],
    ...[
      'timeout',
      '10',
      'sh',
      '-c',
      `mount -t tmpfs tmpfs /run && ${before} && exec ${world.folder}/underbridge/entrypoint`,
    ],
  );
  assert.equal(exitCode, 1, output);
  return output;
}

const wanted = ['IPV6=tunnel', `IP6_ADDR=${ipv6Addresses.gateway}/64`];

test('a /proc/sys that is read-only and does not let IPv6 be forwarded', async () => {
  const readOnly = 'mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys';
  const output = await refusal(wanted, readOnly);
  assert.match(output, /net\.ipv6\.conf\.all\.forwarding is not 1, and \/proc\/sys is read-only/);
  assert.match(output, /sysctls: \{ net\.ipv6\.conf\.all\.forwarding: 1 \}/);
});

test('rules that iptables loads', async () => {
  const output = await refusal([...wanted, 'FIREWALL=iptables-legacy']);
  assert.match(output, /loaded by iptables-legacy, and only nft can carry clients' IPv6/);
});

test('an isolated network without that subnet, or no gateway address at all', async () => {
  assert.match(await refusal(['IPV6=tunnel', 'IP6_ADDR=fd00:99::1/64']), /has no subnet fd00:99::\/64/);
  assert.match(await refusal(['IPV6=tunnel']), /IP6_ADDR: is not set, and IPV6=tunnel needs it/);
  assert.match(await refusal(wanted.slice(1)), /is set, and IPV6 is off/);
});

test('a server that has only an IPv6 address, where the uplink has none', async () => {
  await world.router.run('ip', 'addr', 'del', `${ipv6Addresses.routerUplink}/64`, 'dev', 'eth1');
  // Else it may get one by a router advertisement.
  await world.router.run('sysctl', '-qw', 'net.ipv6.conf.eth1.accept_ra=0');
  const remote = `remote ${ipv6Addresses.server} ${ports.openvpn}`;
  const CONFIG = await writeProfile(world, { name: 'only.ovpn', remote, transport: 'udp' });
  assert.match(await refusal([`CONFIG=${CONFIG}`]), /only an IPv6 address, and the uplink none/);
});
