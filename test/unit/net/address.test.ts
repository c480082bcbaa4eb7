import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  broadcastOf,
  contains,
  type Ipv4,
  type Ipv4Cidr,
  lastHostOf,
  networkOf,
  overlaps,
  parseIfName,
  parseIpv4,
  parseIpv4Cidr,
  parsePort,
  renderCidr,
  renderSubnet,
} from '../../../src/net/address.ts';

const anyCidr = fc
  .tuple(fc.ipV4(), fc.integer({ min: 0, max: 32 }))
  .map(([address, prefixBits]): Ipv4Cidr => ({ address: address as Ipv4, prefixBits }));

/** The address as a number, worked out apart from the code under test. */
function numberOf(address: string): number {
  return address.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0);
}

function sizeOf({ prefixBits }: Ipv4Cidr): number {
  return 2 ** (32 - prefixBits);
}

function firstOf(cidr: Ipv4Cidr): number {
  return Math.floor(numberOf(cidr.address) / sizeOf(cidr)) * sizeOf(cidr);
}

describe('parseIpv4', () => {
  it('takes every dotted quad as it stands', () => {
    fc.assert(fc.property(fc.ipV4(), (text) => assert.equal(parseIpv4(text), text)));
  });

  for (const text of [
    '',
    '1.2.3',
    '1.2.3.4.5',
    '01.2.3.4',
    '1.2.3.256',
    '0x7f.0.0.1',
    '2130706433',
    ' 1.2.3.4',
    '1.2.3.4\n',
    '::1',
    'web',
  ]) {
    it(`refuses ${JSON.stringify(text)}`, () => assert.equal(parseIpv4(text), undefined));
  }
});

describe('parseIpv4Cidr', () => {
  it('takes back what renderCidr wrote', () => {
    fc.assert(fc.property(anyCidr, (cidr) => assert.deepEqual(parseIpv4Cidr(renderCidr(cidr)), cidr)));
  });

  for (const text of [
    '1.2.3.4',
    '1.2.3.4/',
    '1.2.3.4/33',
    '1.2.3.4/08',
    '1.2.3.4/-1',
    '1.2.3.4/8/8',
    '/8',
    '1.2.3.4/8 ',
    '::/8',
  ]) {
    it(`refuses ${JSON.stringify(text)}`, () => assert.equal(parseIpv4Cidr(text), undefined));
  }
});

describe('parsePort', () => {
  it('takes every port from 1 to 65535', () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 65_535 }), (port) => assert.equal(parsePort(`${port}`), port)));
  });

  for (const text of ['', '0', '65536', '080', '+80', '-80', '80 ', '8e1', '0x50', '80.0', '99999999999']) {
    it(`refuses ${JSON.stringify(text)}`, () => assert.equal(parsePort(text), undefined));
  }
});

describe('parseIfName', () => {
  for (const name of ['eth0', 'tun0', 'br-0a1b2c3d4e5f', 'wg0.5', 'veth@if3']) {
    it(`takes ${name}`, () => assert.equal(parseIfName(name), name));
  }

  for (const name of ['', '.', '..', 'a/b', 'a b', 'a:b', 'sixteen-letters-', 'a\n']) {
    it(`refuses ${JSON.stringify(name)}`, () => assert.equal(parseIfName(name), undefined));
  }
});

describe('a subnet', () => {
  it('starts at its network address and ends at its broadcast address', () => {
    fc.assert(
      fc.property(anyCidr, (cidr) => {
        assert.equal(numberOf(networkOf(cidr)), firstOf(cidr));
        assert.equal(numberOf(broadcastOf(cidr)), firstOf(cidr) + sizeOf(cidr) - 1);
      }),
    );
  });

  it('has a last host below its broadcast, and never the address itself', () => {
    const last = (text: string, prefixBits: number) => lastHostOf({ address: text as Ipv4, prefixBits });
    assert.equal(last('172.22.0.1', 24), '172.22.0.254');
    assert.equal(last('172.22.0.254', 24), '172.22.0.253');
    assert.equal(last('10.1.2.3', 8), '10.255.255.254');
    assert.equal(last('10.1.2.5', 30), '10.1.2.6');
  });

  it('contains an address exactly when it lies between the two', () => {
    fc.assert(
      fc.property(anyCidr, fc.ipV4(), (cidr, address) => {
        const offset = numberOf(address) - firstOf(cidr);
        assert.equal(contains(cidr, address as Ipv4), offset >= 0 && offset < sizeOf(cidr));
      }),
    );
  });

  it('contains its own address, network and broadcast', () => {
    fc.assert(
      fc.property(anyCidr, (cidr) => {
        for (const address of [cidr.address, networkOf(cidr), broadcastOf(cidr)]) assert.ok(contains(cidr, address));
      }),
    );
  });

  it('overlaps another exactly when one of the two holds the start of the other', () => {
    fc.assert(
      fc.property(anyCidr, anyCidr, (one, other) => {
        const expected = contains(one, networkOf(other)) || contains(other, networkOf(one));
        assert.equal(overlaps(one, other), expected);
        assert.equal(overlaps(other, one), expected);
      }),
    );
  });

  it('renders with its host bits cleared', () => {
    assert.equal(renderSubnet({ address: '172.22.0.1' as Ipv4, prefixBits: 24 }), '172.22.0.0/24');
    assert.equal(renderSubnet({ address: '10.9.8.7' as Ipv4, prefixBits: 0 }), '0.0.0.0/0');
    assert.equal(renderSubnet({ address: '10.9.8.7' as Ipv4, prefixBits: 32 }), '10.9.8.7/32');
  });
});
