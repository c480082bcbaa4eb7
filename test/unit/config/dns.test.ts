import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseDns } from '../../../src/config/dns.ts';
import { cidr, faultsOf, problemOf, valueFrom } from './outcome.ts';

const isolated = cidr('172.22.0.1/24');

describe('DNS', () => {
  it('means what the server pushes when it is vpn', () => {
    assert.deepEqual(valueFrom(parseDns('vpn', isolated)), { kind: 'pushed' });
    assert.deepEqual(valueFrom(parseDns('VPN', isolated)), { kind: 'pushed' });
  });

  it('is a list with commas or spaces', () => {
    const expected = { kind: 'servers', servers: ['1.1.1.1', '9.9.9.9', '10.8.0.1'] };
    assert.deepEqual(valueFrom(parseDns('1.1.1.1, 9.9.9.9 10.8.0.1', isolated)), expected);
  });

  it('counts a resolver that is given twice once', () => {
    assert.deepEqual(valueFrom(parseDns('1.1.1.1,1.1.1.1', isolated)), { kind: 'servers', servers: ['1.1.1.1'] });
  });

  const refusals = {
    '172.22.0.53': 'lies in the isolated network 172.22.0.0/24, so it cannot be reached through the tunnel',
    '172.22.0.1': 'lies in the isolated network 172.22.0.0/24, so it cannot be reached through the tunnel',
    '127.0.0.11': 'is a loopback address',
    '224.0.0.251': 'is a multicast address',
    '255.255.255.255': 'is a reserved or broadcast address',
    '0.0.0.0': 'is not the address of a host',
    '169.254.169.253': 'is a link-local address, which no router forwards',
    '2606:4700:4700::1111': 'is an IPv6 address, and IPV6 is off',
    '[::1]': 'is an IPv6 address, and IPV6 is off',
    '1.1.1.1:53': 'has a port after the address',
    '1.1.1.0/24': 'has a prefix length after the address',
    'dns.google': 'is a host name',
    '1.1.1': 'is not an IPv4 address',
    '1.1.1.1 vpn': 'stands beside addresses',
    ',': 'names no resolver',
  };
  for (const [text, problem] of Object.entries(refusals)) {
    it(`that reads ${text} ${problem}`, () => assert.equal(problemOf(parseDns(text, isolated)), problem));
  }

  it('reports every faulty resolver by itself', () => {
    const faults = faultsOf(parseDns('127.0.0.1, 1.1.1.1, ::1', isolated));
    assert.deepEqual(
      faults.map((fault) => fault.value),
      ['127.0.0.1', '::1'],
    );
  });

  it('is not compared with a subnet that is unknown', () => {
    assert.deepEqual(valueFrom(parseDns('172.22.0.53', undefined)), { kind: 'servers', servers: ['172.22.0.53'] });
  });

  it('never throws', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => void parseDns(text, isolated)));
  });
});
