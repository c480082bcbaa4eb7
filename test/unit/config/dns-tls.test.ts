import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseDns } from '../../../src/config/dns.ts';
import { localZoneFaults, parseLocalZones } from '../../../src/config/dns-local.ts';
import { parseRouterConfig } from '../../../src/config/env.ts';
import { ipv4, port } from '../tunnel/endpoints.ts';
import { cidr, faultsOf, problemOf, valueFrom } from './outcome.ts';

const isolated = cidr('172.22.0.1/24');

describe('DNS over TLS', () => {
  it('is an address and the name in the certificate, with a port where it is another than 853', () => {
    assert.deepEqual(valueFrom(parseDns('tls://1.1.1.1#One.Example, TLS://9.9.9.9:8853#dns.example', isolated)), {
      kind: 'tls',
      servers: [
        { address: '1.1.1.1', port: 853, name: 'one.example' },
        { address: '9.9.9.9', port: 8853, name: 'dns.example' },
      ],
    });
  });

  const refusals = {
    'tls://1.1.1.1': 'has no name after #, so that any server would be believed',
    'tls://1.1.1.1#': 'has no name after #, so that any server would be believed',
    'tls://1.1.1.1#1.1.1.1': 'has no name after #, so that any server would be believed',
    'tls://1.1.1.1#a"b': 'has no name after #, so that any server would be believed',
    'tls://1.1.1.1#a..b': 'has no name after #, so that any server would be believed',
    'tls://1.1.1.1:0#a.example': 'has a port that is not a number from 1 to 65535',
    'tls://172.22.0.9#a.example':
      'lies in the isolated network 172.22.0.0/24, so it cannot be reached through the tunnel',
    'tls://dns.google#dns.google': 'is a host name',
    'tls://[2606:4700::1111]#a.example': 'is an IPv6 address, and only IPv4 is supported',
    'tls://1.1.1.1#a.example 9.9.9.9': 'would be asked without TLS beside tls://',
    'tls://1.1.1.1#a.example vpn': 'would be asked without TLS beside tls://',
  };
  for (const [text, problem] of Object.entries(refusals)) {
    it(`refuses ${text}`, () => assert.equal(problemOf(parseDns(text, isolated)), problem));
  }
});

describe('DNS_LOCAL', () => {
  it('is a list of domains with addresses', () => {
    assert.deepEqual(valueFrom(parseLocalZones('Lan.example=192.168.1.1, home.=10.0.0.1', isolated)), [
      { domain: 'lan.example', address: '192.168.1.1' },
      { domain: 'home', address: '10.0.0.1' },
    ]);
  });

  const refusals = {
    'lan.example': 'has no address',
    '=192.168.1.1': 'is not DOMAIN=ADDRESS',
    '.=192.168.1.1': 'is not DOMAIN=ADDRESS',
    'a=1.1.1.1=2.2.2.2': 'is not DOMAIN=ADDRESS',
    'a"b=1.1.1.1': 'is not DOMAIN=ADDRESS',
    'lan.example=172.22.0.9': 'lies in the isolated network 172.22.0.0/24, where nothing is asked past the tunnel',
    'lan.example=192.168.1.0/24': 'has a prefix length after the address',
    'lan.example=127.0.0.11': 'is a loopback address',
    ',': 'names no domain',
  };
  for (const [text, problem] of Object.entries(refusals)) {
    it(`refuses ${text}`, () => {
      const parsed = parseLocalZones(text, isolated);
      assert.equal(parsed.kind === 'faults' ? parsed.faults[0]?.problem : undefined, problem);
    });
  }

  it('never names a resolver of DNS or the probe, which are to be beyond the tunnel', () => {
    const zones = [{ domain: 'lan.example', address: ipv4('9.9.9.9') }];
    const faultsBeside = (dns: string, probe: string) =>
      localZoneFaults(
        {
          dns: { kind: 'servers', servers: [ipv4(dns)] },
          probe: { kind: 'tcp', address: ipv4(probe), port: port(443) },
        },
        zones,
      ).length;
    assert.equal(faultsBeside('9.9.9.9', '8.8.8.8'), 1);
    assert.equal(faultsBeside('1.1.1.1', '8.8.8.8'), 0);
    assert.equal(faultsBeside('1.1.1.1', '9.9.9.9'), 1);
    const parsed = parseRouterConfig({
      IP_ADDR: '172.22.0.1/24',
      DNS: 'tls://9.9.9.9#dns.example',
      DNS_LOCAL: 'lan.example=9.9.9.9',
    });
    assert.deepEqual(parsed.kind === 'faults' ? parsed.faults.map(({ name }) => name) : [], ['DNS_LOCAL']);
  });
});

describe("the router's own resolver", () => {
  const resolverOf = (env: Readonly<Record<string, string>>) =>
    valueFrom(parseRouterConfig({ IP_ADDR: '172.22.0.1/24', ...env })).config.localResolver;

  it('is there only where a setting needs it', () => {
    assert.equal(resolverOf({}), undefined);
    assert.equal(resolverOf({ DNS: '1.1.1.1' }), undefined);
    assert.equal(resolverOf({ DNS: '1.1.1.1', DNS_CACHE: 'off' }), undefined);
    assert.deepEqual(resolverOf({ DNS: '1.1.1.1', DNS_CACHE: 'on' }), { isCaching: true, zones: [] });
    assert.deepEqual(resolverOf({ DNS: 'tls://1.1.1.1#a.example' }), { isCaching: true, zones: [] });
    assert.deepEqual(resolverOf({ DNS: 'tls://1.1.1.1#a.example', DNS_CACHE: 'off', DNS_CA_FILE: '/config/ca.pem' }), {
      isCaching: false,
      zones: [],
      authoritiesFile: '/config/ca.pem',
    });
    assert.equal(resolverOf({ DNS_LOCAL: 'lan=10.9.9.9' })?.zones.length, 1);
  });

  it('has no use for authorities without TLS, and says so', () => {
    for (const dns of [{}, { DNS: '1.1.1.1' }, { DNS: '1.1.1.1', DNS_CACHE: 'on' }]) {
      const faults = faultsOf(parseRouterConfig({ IP_ADDR: '172.22.0.1/24', DNS_CA_FILE: '/config/ca.pem', ...dns }));
      assert.deepEqual(
        faults.map(({ name }) => name),
        ['DNS_CA_FILE'],
      );
    }
  });
});
