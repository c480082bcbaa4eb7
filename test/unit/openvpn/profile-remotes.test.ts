import assert from 'node:assert/strict';
import { test } from 'node:test';
import { faultsOf, parseText, understood, withLines } from './corpus.ts';

const faults = (...lines: readonly string[]): readonly string[] => faultsOf(parseText(withLines(...lines)));

const faulty: readonly (readonly [line: string, problem: string])[] = [
  ['remote vpn.example.net 0', 'has no port from 1 to 65535'],
  ['remote vpn.example.net 443proto udp', 'has the option proto run into it'],
  ['remote vpn.example.net 443 sctp', 'names no transport that OpenVPN knows'],
  ['remote $(id) 443', 'names no host'],
  ['remote 192.0.2 443', 'names no host'],
  ['remote 0x7f.1 443', 'names no host'],
  ['remote fe80::1%eth0 443', 'names no host'],
  [`remote ${'0'.repeat(60)}::1 443`, 'names no host'],
  ...[
    ...['0.0.0.0', '0.255.255.255', '127.0.0.1', '127.255.255.255', '224.0.0.1', '239.255.255.255', '240.0.0.0'],
    ...['255.255.255.255', '::', '::1', 'ff02::1', '::ffff:127.0.0.1', '[::1]'],
  ].map((address) => [`remote ${address} 443`, 'has an address that no server can have'] as const),
];

for (const [line, problem] of faulty) {
  test(`refuses ${line.trim()}`, () => {
    const [fault = '', ...others] = faults(line);
    assert.deepEqual(others, []);
    assert.ok(fault.startsWith('test.ovpn:7 | ') && fault.endsWith(` | ${problem}`), fault);
  });
}

test('takes the last proto and port for every remote without its own, wherever they stand', () => {
  const text = withLines('remote b.example.net', 'remote c.example.net 80 udp6', 'port 53', 'proto tcp4-client');
  const remotes = understood(parseText(text)).remotes.map(
    ({ host, port, transport }) => `${host} ${port} ${transport}`,
  );
  assert.deepEqual(remotes, ['vpn.example.net 1194 tcp', 'b.example.net 53 tcp', 'c.example.net 80 udp']);
});

test('takes the transport of proto-force only, and each remote once', () => {
  const text = withLines('remote vpn.example.net 1194', 'remote vpn.example.net 443 tcp', 'proto-force tcp');
  assert.deepEqual(
    understood(parseText(text)).remotes.map(({ port }) => port),
    [443],
  );
  const twice = withLines('remote vpn.example.net 1194 udp');
  assert.equal(understood(parseText(twice)).remotes.length, 1);
});

test('takes remotes as IPv4, IPv6 or names', () => {
  const text = withLines('remote 2001:db8::1 1194 udp6', 'remote [2001:db8::2] 1194', 'remote 192.0.2.7');
  const hosts = understood(parseText(text)).remotes.map(({ host }) => host);
  assert.deepEqual(hosts, ['vpn.example.net', '2001:db8::1', '2001:db8::2', '192.0.2.7']);
});

test('gives a connection block what stands before it, and its own', () => {
  const block = (...lines: readonly string[]) => ['<connection>', ...lines, '</connection>'];
  const text = [
    ...['client', 'auth-user-pass', '<ca>', 'CA', '</ca>', '<tls-auth>', 'T', '</tls-auth>', 'key-direction 1'],
    ...['tun-mtu 1400', 'fragment 1300', 'proto udp', 'rport 53'],
    ...block('remote a.example.net', 'connect-retry 1'),
    ...block('remote b.example.net 443 tcp', 'mssfix 1200', '<tls-crypt>', 'K', '</tls-crypt>'),
    ...block('remote c.example.net', 'key-direction 0'),
    ...['mssfix 1000', 'remote d.example.net'],
  ].join('\n');
  const profile = understood(parseText(text));
  const remotes = profile.remotes.map(({ host, port, transport, line, options }) => [
    `${line} ${host} ${port} ${transport}`,
    options.map(({ name, parameters }) => [name, ...parameters].join(' ')),
  ]);
  assert.deepEqual(remotes, [
    ['15 a.example.net 53 udp', ['tun-mtu 1400', 'fragment 1300']],
    ['19 b.example.net 443 tcp', ['tun-mtu 1400', 'mssfix 1200', 'tls-crypt']],
    ['26 c.example.net 53 udp', ['tun-mtu 1400', 'fragment 1300']],
  ]);
  const dropped = profile.ignored.map(({ line, option }) => `${line} ${option}`);
  assert.deepEqual(dropped, ['16 connect-retry', '11 fragment', '30 remote', '29 mssfix']);
});

test('refuses a connection block without a remote, with two, or with an option of the profile', () => {
  assert.deepEqual(faults('<connection>', 'proto udp', '</connection>'), [
    'test.ovpn:7 | <connection> | has no remote',
  ]);
  const two = ['<connection>', 'remote a', 'remote b', 'ca x', 'up /bin/sh', '</connection>'];
  assert.deepEqual(faults(...two), [
    'test.ovpn:9 | remote b | is the second remote of its <connection> block',
    'test.ovpn:10 | ca x | cannot stand in a <connection> block',
    'test.ovpn:11 | up /bin/sh | would run a program',
  ]);
});

test('refuses more than 256 remotes by the line of the next one', () => {
  const listed = (count: number) => Array.from({ length: count }, (_, index) => `remote a${index}.example.net`);
  const blocks = (count: number) => listed(count).flatMap((line) => ['<connection>', line, '</connection>']);
  // withLines has one more outside of blocks.
  assert.equal(understood(parseText(withLines(...listed(255)))).remotes.length, 256);
  assert.equal(understood(parseText(withLines(...blocks(256)))).remotes.length, 256);
  assert.deepEqual(faults(...listed(2_000)), ['test.ovpn:262 | is one server too many: 256 are the most']);
  const inherited = Array.from({ length: 1_000 }, () => 'tun-mtu 1500');
  assert.deepEqual(faults(...inherited, ...blocks(1_000)), [
    'test.ovpn:1776 | is one server too many: 256 are the most',
  ]);
});
