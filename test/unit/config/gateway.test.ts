import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseGateway } from '../../../src/config/gateway.ts';
import { faultsOf, problemOf, valueFrom } from './outcome.ts';

describe('IP_ADDR', () => {
  it('is an address with the prefix length of its subnet', () => {
    assert.deepEqual(valueFrom(parseGateway('172.22.0.1/24')), { address: '172.22.0.1', prefixBits: 24 });
  });

  it('takes the widest and the narrowest subnet that it promises', () => {
    for (const text of ['10.0.0.1/8', '10.0.0.1/30', '10.0.0.2/30']) valueFrom(parseGateway(text));
  });

  const refusals = {
    '172.22.0.1': 'has no prefix length',
    '172.22.0.1/': 'has no prefix length',
    '172.22.0.1/255.255.255.0': 'has a netmask where the prefix length belongs',
    '172.22.0.1/24/24': 'has more than one slash',
    '172.22.0.1/x': 'has a prefix length that is not a number from 8 to 30',
    '172.22.0.1/33': 'has a prefix length that is not a number from 8 to 30',
    '172.22.0.1/7': 'has a prefix length outside 8 to 30',
    '172.22.0.1/31': 'has a prefix length outside 8 to 30',
    '172.22.0.0/24': 'is the address of the subnet itself',
    '172.22.0.255/24': 'is the broadcast address of the subnet',
    '127.0.0.1/8': 'is a loopback address',
    '224.0.0.1/24': 'is a multicast address',
    '240.0.0.1/24': 'is a reserved or broadcast address',
    '0.0.0.1/24': 'is not the address of a host',
    'fd00::1/64': 'is an IPv6 address, and only IPv4 is supported',
    '172.22.0.256/24': 'has a number above 255',
    '172.22.0.01/24': 'has a number with a leading zero',
    '172.22.0/24': 'is not an IPv4 address',
    'router/24': 'is a host name',
    '/24': 'has no address',
  };
  for (const [text, problem] of Object.entries(refusals)) {
    it(`that reads ${text} ${problem}`, () => assert.equal(problemOf(parseGateway(text)), problem));
  }

  it('shows how to add the prefix length to the address that was given', () => {
    assert.match(faultsOf(parseGateway('10.1.2.3'))[0]?.hint ?? '', /10\.1\.2\.3\/24/);
  });

  it('never throws', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => void parseGateway(text)));
  });
});
