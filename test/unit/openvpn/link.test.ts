import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parsePushedDns, parseTunnelLink } from '../../../src/openvpn/link.ts';
import { ifName } from '../tunnel/endpoints.ts';

const name = ifName('tun0');

/** The ends of 0.0.0.0/8, 127.0.0.0/8, 224.0.0.0/4 and 240.0.0.0/4 (RFC 6890), and their neighbours. */
const noHosts = [
  ...['0.0.0.0', '0.255.255.255', '127.0.0.0', '127.0.0.11', '127.255.255.255'],
  ...['224.0.0.0', '239.255.255.255', '240.0.0.0', '255.255.255.255'],
];
const hosts = ['1.0.0.0', '126.255.255.255', '128.0.0.0', '223.255.255.255'];

function linkOf(env: Readonly<Record<string, string>>, pushed: readonly string[] = []) {
  return parseTunnelLink({ name, env: new Map(Object.entries(env)), pushed });
}

describe('the tunnel of an up event', () => {
  it('has the address, MTU, peer and resolvers that the server gave', () => {
    const env = { ifconfig_local: '10.8.0.6', tun_mtu: '1420', route_vpn_gateway: '10.8.0.1', ifconfig_netmask: 'x' };
    assert.deepEqual(linkOf(env, ['dhcp-option DNS 10.8.0.1', 'route 10.0.0.0 255.0.0.0']), {
      ...{ name: 'tun0', address: '10.8.0.6', mtuBytes: 1420, peer: '10.8.0.1', pushedDns: ['10.8.0.1'] },
    });
  });

  it('takes the far end of a point-to-point link where no gateway was named', () => {
    assert.equal(linkOf({ ifconfig_local: '10.8.0.6', ifconfig_remote: '10.8.0.5' })?.peer, '10.8.0.5');
    const both = { ifconfig_local: '10.8.0.6', ifconfig_remote: '10.8.0.5', route_vpn_gateway: '10.8.0.1' };
    assert.equal(linkOf(both)?.peer, '10.8.0.1');
  });

  it('has no peer where none was named, or it is not an address', () => {
    assert.ok(!('peer' in (linkOf({ ifconfig_local: '10.8.0.6' }) ?? assert.fail())));
    const env = { ifconfig_local: '10.8.0.6', route_vpn_gateway: 'gateway' };
    assert.ok(!('peer' in (linkOf(env) ?? assert.fail())));
  });

  it('is none without an IPv4 address', () => {
    for (const env of [{}, { ifconfig_local: '' }, { ifconfig_local: 'fd00::1' }, { ifconfig_ipv6_local: 'fd00::1' }]) {
      assert.equal(linkOf(env), undefined);
    }
  });

  it('is none with an address that no host can have', () => {
    for (const address of noHosts) assert.equal(linkOf({ ifconfig_local: address }), undefined, address);
    for (const address of hosts) assert.equal(linkOf({ ifconfig_local: address })?.address, address);
  });

  it('has no peer with an address that no host can have', () => {
    for (const [name, address] of ['route_vpn_gateway', 'ifconfig_remote'].flatMap((name) =>
      noHosts.map((address) => [name, address] as const),
    )) {
      const link = linkOf({ ifconfig_local: '10.8.0.6', [name]: address }) ?? assert.fail();
      assert.ok(!('peer' in link), `${name} ${address}`);
    }
    for (const address of hosts) {
      assert.equal(linkOf({ ifconfig_local: '10.8.0.6', route_vpn_gateway: address })?.peer, address);
      assert.equal(linkOf({ ifconfig_local: '10.8.0.6', ifconfig_remote: address })?.peer, address);
    }
  });

  it('has an MTU that the kernel takes, whatever the server says', () => {
    const mtuOf = (text: string) => linkOf({ ifconfig_local: '10.8.0.6', tun_mtu: text })?.mtuBytes;
    assert.deepEqual(['68', '1500', '65535'].map(mtuOf), [68, 1500, 65_535]);
    for (const text of ['', '0', '67', '65536', '-1', '1500.5', 'many', 'NaN', 'Infinity']) {
      assert.equal(mtuOf(text), 1500, text);
    }
    assert.equal(linkOf({ ifconfig_local: '10.8.0.6' })?.mtuBytes, 1500);
  });
});

describe('the pushed resolvers', () => {
  it('are those of dhcp-option and of dns server, in their order and once each', () => {
    const pushed = [
      'dhcp-option DNS 10.8.0.1',
      'redirect-gateway def1',
      'dhcp-option DNS 10.8.0.2',
      'dns server 1 address 9.9.9.9 149.112.112.112',
      'dhcp-option DNS 10.8.0.1',
    ];
    assert.deepEqual(parsePushedDns(pushed), ['10.8.0.1', '10.8.0.2', '9.9.9.9', '149.112.112.112']);
  });

  it('may have a port, which is left out because clients ask at 53', () => {
    assert.deepEqual(parsePushedDns(['dns server 0 address 9.9.9.9:5353']), ['9.9.9.9']);
  });

  it('are one for each dhcp-option, as OpenVPN reads it', () => {
    assert.deepEqual(parsePushedDns(['dhcp-option DNS 10.8.0.1 10.8.0.2']), ['10.8.0.1']);
  });

  it('may have any spaces between the words', () => {
    assert.deepEqual(parsePushedDns(['  dhcp-option\tDNS   10.8.0.1 ']), ['10.8.0.1']);
  });

  for (const option of [
    'dhcp-option DNS6 fd00::1',
    'dhcp-option DNS fd00::1',
    'dhcp-option DNS',
    'dhcp-option DNS resolver.example',
    'dhcp-option DOMAIN 10.8.0.1',
    'dhcp-option WINS 10.8.0.1',
    'dns server 1 address [fd00::1]:53',
    'dns server 1 resolve-domains 10.8.0.1',
    'dns search-domains 10.8.0.1',
    'dhcp-option dns 10.8.0.1"; drop',
    'route 10.8.0.1',
    '',
  ]) {
    it(`are none in ${JSON.stringify(option)}`, () => assert.deepEqual(parsePushedDns([option]), []));
  }

  it('are none at an address that no host can have, and the others stay', () => {
    for (const address of noHosts) {
      assert.deepEqual(parsePushedDns([`dhcp-option DNS ${address}`]), [], address);
      assert.deepEqual(parsePushedDns([`dns server 1 address ${address}:53 9.9.9.9`]), ['9.9.9.9'], address);
    }
    assert.deepEqual(parsePushedDns(hosts.map((address) => `dhcp-option DNS ${address}`)), hosts);
  });

  it('are of a host, whatever address a server pushes', () => {
    fc.assert(
      fc.property(fc.ipV4(), (address) => {
        const first = Number(address.split('.')[0]);
        const isHost = first !== 0 && first !== 127 && first < 224;
        assert.deepEqual(parsePushedDns([`dhcp-option DNS ${address}`]), isHost ? [address] : []);
      }),
    );
  });

  it('are addresses and nothing else, whatever a server pushes', () => {
    const option = fc.tuple(fc.constantFrom('dhcp-option DNS ', 'dns server 1 address ', ''), fc.string());
    fc.assert(
      fc.property(fc.array(option), (options) => {
        for (const address of parsePushedDns(options.map((words) => words.join('')))) {
          assert.match(address, /^\d{1,3}(\.\d{1,3}){3}$/);
        }
      }),
    );
  });
});

it("takes no peer that is the tunnel's own address", () => {
  const env = new Map([
    ['ifconfig_local', '10.8.0.2'],
    ['ifconfig_remote', '10.8.0.2'],
  ]);
  const link = (...pushed: readonly string[]) => parseTunnelLink({ name, env, pushed });
  assert.equal(link()?.peer, undefined);
  assert.equal(link('route-gateway 10.8.0.2')?.peer, undefined);
  assert.equal(link('route-gateway 10.8.0.1')?.peer, '10.8.0.1');
});

it('takes the first eight of the resolvers that are pushed, each once', () => {
  const pushed = Array.from({ length: 1_000 }, (_, index) => `dhcp-option DNS 10.0.0.${((index >> 1) % 250) + 1}`);
  assert.deepEqual(
    parsePushedDns(pushed),
    [1, 2, 3, 4, 5, 6, 7, 8].map((last) => `10.0.0.${last}`),
  );
});

describe('the IPv6 of a tunnel', () => {
  const env = new Map([
    ['ifconfig_local', '10.8.0.2'],
    ['ifconfig_ipv6_local', 'FD00:8::1000'],
    ['ifconfig_ipv6_netbits', '64'],
  ]);
  const parse = (more: Readonly<Record<string, string>> = {}, pushed: readonly string[] = []) =>
    parseTunnelLink({ name: ifName('tun0'), env: new Map([...env, ...Object.entries(more)]), pushed })?.ipv6;

  it('is its address, and the resolvers that were pushed for it', () => {
    const pushed = ['dhcp-option DNS6 2620:fe::9', 'dhcp-option DNS 9.9.9.9', 'dns server 1 address [2620:fe::fe]:53'];
    assert.deepEqual(parse({}, pushed), { address: 'fd00:8::1000', pushedDns: ['2620:fe::9', '2620:fe::fe'] });
  });

  it('is none where no host can have the address, or the device would be too narrow for it', () => {
    for (const address of ['', '::', '::1', 'ff02::1', 'fe80::2', 'x'])
      assert.equal(parse({ ifconfig_ipv6_local: address }), undefined, address);
    assert.equal(parse({ tun_mtu: '1279' }), undefined);
    assert.ok(parse({ tun_mtu: '1280' }));
  });
});
