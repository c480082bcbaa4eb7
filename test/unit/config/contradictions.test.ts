import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Environment, parseRouterConfig } from '../../../src/config/env.ts';
import { renderFaults } from '../../../src/config/report.ts';
import { faultsOf } from './outcome.ts';

const least = { IP_ADDR: '172.22.0.1/24' };
const clients6 = { IPV6: 'tunnel', IP6_ADDR: 'fd00:7722::1/64' };
const inward = '192.168.1.0/24:tcp/9000-9999:172.22.0.128';
const dot = 'tls://1.1.1.1#one.example';

describe('settings that cannot work together are refused in one sentence:', () => {
  const pairs: readonly (readonly [Environment, string])[] = [
    [
      { LAN_ALLOW_IN: `192.168.1.0/24:udp/1:172.22.0.9, ${inward}`, HEALTH_ADDR: '0.0.0.0:9797' },
      'LAN_ALLOW_IN entry 2="192.168.1.0/24 to 172.22.0.128 tcp/9000-9999": has port 9797 of HEALTH_ADDR=0.0.0.0:9797',
    ],
    [
      { LAN_ALLOW_IN: inward, HEALTH_ADDR: '172.18.0.2:9797' },
      'LAN_ALLOW_IN entry 1="192.168.1.0/24 to 172.22.0.128 tcp/9000-9999": has port 9797 of HEALTH_ADDR=172.18.0.2:9797',
    ],
    [
      { DNS_LOCAL: 'Underbridge.Internal.=192.168.1.1' },
      'DNS_LOCAL="Underbridge.Internal.=192.168.1.1": has the router',
    ],
    [
      { DNS_LOCAL: 'a.root-servers.net=192.168.1.1' },
      'DNS_LOCAL="a.root-servers.net=192.168.1.1": has the name by which',
    ],
    [{ DNS_LOCAL: 'lan=192.168.1.1', DNS: '192.168.1.1' }, 'DNS_LOCAL="lan=192.168.1.1": has an address that DNS or'],
    [
      { ...clients6, DNS: 'fd00::53, fd00::54', DNS_CACHE: 'on' },
      'DNS="fd00::53, fd00::54": has IPv6 addresses alone, and the resolver that DNS_CACHE starts asks over IPv4',
    ],
    [
      { ...clients6, DNS: 'fd00::53', DNS_LOCAL: 'lan=192.168.1.1' },
      'DNS="fd00::53": has IPv6 addresses alone, and the resolver that DNS_LOCAL starts asks over IPv4',
    ],
    [
      { HEALTH_ADDR: '0.0.0.0:5300', DNS: dot },
      'HEALTH_ADDR="0.0.0.0:5300": has the port of the router\'s own resolver, which DNS=tls:// starts',
    ],
    [
      { HEALTH_ADDR: '172.22.0.1:5300', DNS_CACHE: 'on' },
      'HEALTH_ADDR="172.22.0.1:5300": has the port of the router\'s own resolver, which DNS_CACHE',
    ],
    [
      { HEALTH_PROBE: '172.18.0.1:443', UPLINK_GATEWAY: '172.18.0.1' },
      'HEALTH_PROBE="172.18.0.1:443": is the address of UPLINK_GATEWAY',
    ],
    [
      { ...clients6, FIREWALL: 'iptables-nft' },
      'IPV6="tunnel": FIREWALL has the rules loaded by iptables-nft, and only nft can carry',
    ],
    [
      { CONNECTION_LIMIT: '500', FIREWALL: 'iptables-legacy' },
      'CONNECTION_LIMIT="500": FIREWALL has the rules loaded by iptables-legacy, and only nft can count connections',
    ],
    [
      { UPLINK_GATEWAY6: 'fe80::1', FIREWALL: 'iptables-legacy' },
      'UPLINK_GATEWAY6="fe80::1": FIREWALL has the rules loaded by iptables-legacy, and only nft can reach a server',
    ],
    [
      { ...clients6, UPLINK_GATEWAY6: 'fd00:7722::9' },
      'UPLINK_GATEWAY6="fd00:7722::9": lies in the isolated network fd00:7722::/64 of IP6_ADDR',
    ],
    [
      {
        LAN_ALLOW: '10.1.0.0/16:tcp/80',
        LAN_ALLOW_IN: '10.1.0.0/16:tcp/9000-65535:172.22.0.9, 10.1.0.0/16:udp/1-8999:172.22.0.9',
      },
      'LAN_ALLOW_IN: has every port from 1024 on, so that clients have none left for what LAN_ALLOW',
    ],
    [{ MTU: '1300', MSS: '1261' }, 'MSS="1261": is more than the 1260 bytes that MTU=1300 leaves'],
    [{ ...clients6, MTU: '1300', MSS: '1241' }, 'MSS="1241": is more than the 1240 bytes that MTU=1300 leaves'],
    [{ IPV6: 'tunnel' }, 'IP6_ADDR: is not set, and IPV6=tunnel needs it'],
    [{ IP6_ADDR: 'fd00:7722::1/64' }, 'IP6_ADDR: is set, and IPV6 is off'],
    [{ DNS_CA_FILE: '/ca.pem', DNS_CACHE: 'on' }, 'DNS_CA_FILE: is set, and DNS has no tls://'],
    [{ PORT_FWD_FILE: '/port' }, 'PORT_FWD_FILE: is set, and PORT_FWD_DYNAMIC is not'],
    [{ PORT_FWD_HOOK: 'http://web/{port}' }, 'PORT_FWD_HOOK: is set, and PORT_FWD_DYNAMIC is not'],
  ];
  for (const [env, sentence] of pairs) {
    it(
      Object.entries(env)
        .map(([name, value]) => `${name}=${value}`)
        .join(' '),
      () => {
        const faults = faultsOf(parseRouterConfig({ ...least, ...env }));
        assert.equal(faults.length, 1);
        const [, line = ''] = renderFaults(faults, '').split('\n');
        assert.equal(line.slice(2, 2 + sentence.length), sentence);
      },
    );
  }

  it('all at the same time, and beside settings that are faulty themselves', () => {
    const env = Object.assign(
      { ...least, LOG_LEVEL: 'loud' },
      ...[0, 2, 9, 11, 15, 20].map((index) => pairs[index]?.[0]),
    );
    const names = faultsOf(parseRouterConfig(env)).map(({ name }) => name);
    const wanted = [
      'DNS_LOCAL',
      'PORT_FWD_FILE',
      'LAN_ALLOW_IN entry 2',
      'CONNECTION_LIMIT',
      'HEALTH_PROBE',
      'MSS',
      'LOG_LEVEL',
    ];
    assert.deepEqual(names, wanted);
  });
});

describe('settings that only look alike work together:', () => {
  const pairs: readonly Environment[] = [
    { LAN_ALLOW_IN: inward, HEALTH_ADDR: '127.0.0.1:9797' },
    { LAN_ALLOW_IN: inward, HEALTH_ADDR: '172.22.0.1:9797' },
    { LAN_ALLOW_IN: inward.replace('tcp', 'udp'), HEALTH_ADDR: '0.0.0.0:9797' },
    { LAN_ALLOW_IN: inward, HEALTH_ADDR: '0.0.0.0:8999' },
    { LAN_ALLOW: '192.168.1.0/24:tcp/9797', HEALTH_ADDR: '0.0.0.0:9797' },
    { LAN_ALLOW: '192.168.1.0/24:tcp/443', HEALTH_PROBE: '192.168.1.5:443' },
    { LAN_ALLOW: '192.168.1.0/24:tcp/443', DNS_LOCAL: 'lan=192.168.1.1' },
    { LAN_ALLOW: '10.1.0.0/16:tcp/80', LAN_ALLOW_IN: '10.1.0.0/16:tcp/1-65534:172.22.0.9' },
    { LAN_ALLOW_IN: '10.1.0.0/16:tcp/1-65535:172.22.0.9' },
    { DNS_LOCAL: 'internal=192.168.1.1, x.underbridge.internal=192.168.1.1, root-servers.net=192.168.1.1' },
    { DNS_LOCAL: 'lan=172.18.0.1', UPLINK_GATEWAY: '172.18.0.1' },
    { DNS: dot, DNS_CACHE: 'off' },
    { ...clients6, DNS: 'fd00::53, 9.9.9.9', DNS_CACHE: 'on' },
    { ...clients6, DNS: 'fd00::53' },
    { HEALTH_ADDR: '127.0.0.1:5300', DNS: dot },
    { HEALTH_ADDR: '0.0.0.0:5300', DNS_CACHE: 'off' },
    { CONNECTION_LIMIT: '0', FIREWALL: 'iptables-legacy' },
    { ...clients6, CONNECTION_LIMIT: '500', UPLINK_GATEWAY6: 'fe80::1', FIREWALL: 'auto' },
    { MTU: '1300', MSS: '1260' },
    { MTU: '1300', ...clients6, MSS: '1240' },
    {
      STANDBY: 'on',
      FAILBACK: '5',
      PORT_FWD_HAIRPIN: 'on',
      AUTH_RETRY: 'stop',
      LOG_FORMAT: 'json',
      TZ: 'Europe/Warsaw',
    },
  ];
  for (const env of pairs) {
    it(
      Object.entries(env)
        .map(([name, value]) => `${name}=${value}`)
        .join(' '),
      () => {
        assert.equal(parseRouterConfig({ ...least, ...env }).kind, 'ok');
      },
    );
  }
});
