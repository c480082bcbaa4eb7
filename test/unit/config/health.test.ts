import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseHealthAddress, parseHealthProbe } from '../../../src/config/health.ts';
import { cidr, problemOf, valueFrom } from './outcome.ts';

const isolated = cidr('172.22.0.1/24');

describe('HEALTH_ADDR', () => {
  it('is an address and a port', () => {
    assert.deepEqual(valueFrom(parseHealthAddress('127.0.0.1:9797')), { host: '127.0.0.1', port: 9797 });
    assert.deepEqual(valueFrom(parseHealthAddress('0.0.0.0:80')), { host: '0.0.0.0', port: 80 });
  });

  const refusals = {
    '127.0.0.1': 'has no port',
    '127.0.0.1:': 'has a port that is not a number from 1 to 65535',
    '127.0.0.1:0': 'has a port that is not a number from 1 to 65535',
    ':9797': 'has no address',
    '9797': 'is not an IPv4 address',
    '[::1]:9797': 'is an IPv6 address, and only IPv4 is supported',
    'localhost:9797': 'is a host name',
    '224.0.0.1:9797': 'is no address that a program can listen on',
    '0.0.0.1:9797': 'is no address that a program can listen on',
  };
  for (const [text, problem] of Object.entries(refusals)) {
    it(`that reads ${text} ${problem}`, () => assert.equal(problemOf(parseHealthAddress(text)), problem));
  }
});

describe('HEALTH_PROBE', () => {
  it('asks the resolver when it is dns', () => {
    assert.deepEqual(valueFrom(parseHealthProbe('dns', isolated)), { kind: 'dns' });
    assert.deepEqual(valueFrom(parseHealthProbe('DNS', isolated)), { kind: 'dns' });
  });

  it('connects over TCP when it is an address and a port', () => {
    const expected = { kind: 'tcp', address: '1.1.1.1', port: 443 };
    assert.deepEqual(valueFrom(parseHealthProbe('1.1.1.1:443', isolated)), expected);
  });

  const refusals = {
    ping: 'is not a kind of probe',
    '1.1.1.1': 'has no port',
    'example.com:443': 'is a host name',
    '172.22.0.9:80': 'lies in the isolated network 172.22.0.0/24, so it proves nothing about the tunnel',
    '127.0.0.1:80': 'is a loopback address',
  };
  for (const [text, problem] of Object.entries(refusals)) {
    it(`that reads ${text} ${problem}`, () => assert.equal(problemOf(parseHealthProbe(text, isolated)), problem));
  }

  it('never throws, and neither does HEALTH_ADDR', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        parseHealthAddress(text);
        parseHealthProbe(text, isolated);
      }),
    );
  });
});
