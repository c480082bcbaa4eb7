import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseDns } from '../../../src/config/dns.ts';
import { parseIpv6Gateway, parseUplinkGateway6 } from '../../../src/config/ipv6.ts';
import { parsePortForwards } from '../../../src/config/port-forward.ts';
import { renderCidr } from '../../../src/net/address.ts';
import { cidr, cidr6, problemOf, valueFrom } from './outcome.ts';

const isolated = cidr('172.22.0.1/24');
const ipv6 = { gateway: cidr6('fd00:7722::1/64') };

describe('IP6_ADDR', () => {
  it('is an address in whatever spelling, with a prefix length', () => {
    assert.equal(renderCidr(valueFrom(parseIpv6Gateway('FD00:7722:0::0001/64'))), 'fd00:7722::1/64');
  });

  const faults = {
    '': /no IPv6 address/,
    '172.22.0.1/24': /no IPv6 address/,
    'fd00::1': /no IPv6 address/,
    'fd00::1/129': /no IPv6 address/,
    'fe80::1/64': /link-local/,
    'ff02::1/64': /multicast/,
    '::1/64': /loopback/,
    'fd00::1/32': /outside 48 to 126/,
    'fd00::1/128': /outside 48 to 126/,
    'fd00:7722::/64': /the subnet itself/,
    '::ffff:10.0.0.1/64': /no IPv6 address/,
  };
  for (const [text, problem] of Object.entries(faults)) {
    it(`is not ${text === '' ? 'nothing' : text}`, () => assert.match(problemOf(parseIpv6Gateway(text)), problem));
  }
});

describe('UPLINK_GATEWAY6', () => {
  it('is an address, a link-local one too', () => {
    for (const text of ['fe80::1', '2001:db8::1']) assert.equal(valueFrom(parseUplinkGateway6(text)), text);
    for (const text of ['fe80::1%eth0', '2001:db8::1/64', 'ff02::1', '10.0.0.1'])
      assert.match(problemOf(parseUplinkGateway6(text)), /not the IPv6 address of a host/);
  });
});

describe('with IPV6=tunnel', () => {
  it('DNS names resolvers of both families', () => {
    const { kind, ...named } = valueFrom(parseDns('9.9.9.9, 2620:FE::9, 2620:fe:0::9', isolated, ipv6));
    assert.deepEqual([kind, named], ['servers', { servers: ['9.9.9.9', '2620:fe::9'] }]);
  });

  it('DNS is no address that the tunnel does not lead to', () => {
    assert.match(problemOf(parseDns('fd00:7722::53', isolated, ipv6)), /lies in the isolated network/);
    assert.match(problemOf(parseDns('fe80::1', isolated, ipv6)), /link-local/);
  });

  it('one port of PORT_FWD leads to a container by each family', () => {
    const text = '4666:172.22.0.128:80/tcp, 4666:[fd00:7722::128]:80/tcp, [fd00:7722::9]:5000-5010/udp';
    const targets = valueFrom(parsePortForwards(text, isolated, ipv6)).map((forward) => [
      forward.outside.first,
      'target' in forward && forward.target,
      forward.inside.first,
    ]);
    assert.deepEqual(targets, [
      [4666, '172.22.0.128', 80],
      [4666, 'fd00:7722::128', 80],
      [5000, 'fd00:7722::9', 5000],
    ]);
  });

  const faults = {
    '4666:[fd00:7722::1]:80': /gateway address of IP6_ADDR/,
    '[fd00:99::5]:80': /outside the isolated network/,
    'fd00:7722::5:80': /not \[ADDRESS\] and a port/,
    '[172.22.0.5]:80': /no IPv6 address in its brackets/,
    '[fd00:7722::5]': /not \[ADDRESS\] and a port/,
    '80:[fd00:7722::5]:80, 80:[fd00:7722::6]:80': /takes outside port 80/,
  };
  for (const [text, problem] of Object.entries(faults)) {
    it(`PORT_FWD is not ${text}`, () => assert.match(problemOf(parsePortForwards(text, isolated, ipv6)), problem));
  }
});
