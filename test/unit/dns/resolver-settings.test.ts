import assert from 'node:assert/strict';
import { it } from 'node:test';
import { renderResolverSettings, upstreamsOf } from '../../../src/dns/resolver-settings.ts';
import { config } from '../plan/scenarios.ts';
import { ipv4, port, tunnelLink } from '../tunnel/endpoints.ts';

const tls = { address: ipv4('1.1.1.1'), port: port(853), name: 'one.example' };

it('asks by TLS alone, with the name in the certificate, and never without', () => {
  const text = renderResolverSettings({
    config,
    resolver: { isCaching: true, zones: [{ domain: 'lan.example', address: ipv4('192.168.1.1') }] },
    upstreams: [tls],
    authorities: '/x/authorities.pem',
  });
  const zones = text.split('forward-zone:\n').slice(1);
  assert.deepEqual(
    zones.map((zone) =>
      zone
        .split('\n')
        .map((line) => line.trim())
        .filter((line) => line !== ''),
    ),
    [
      [
        'name: "."',
        'forward-tls-upstream: yes',
        'forward-first: no',
        'forward-addr: 1.1.1.1@853#one.example',
        'forward-no-cache: no',
      ],
      [
        'name: "a.root-servers.net."',
        'forward-tls-upstream: yes',
        'forward-first: no',
        'forward-addr: 1.1.1.1@853#one.example',
        'forward-no-cache: yes',
      ],
      ['name: "lan.example."', 'forward-first: no', 'forward-addr: 192.168.1.1', 'forward-no-cache: no'],
    ],
  );
  assert.match(text, /^ {2}interface: 172\.22\.0\.1@5300$/m);
  assert.match(text, /^ {2}access-control: 172\.22\.0\.0\/24 allow$/m);
  assert.match(text, /^ {2}tls-cert-bundle: "\/x\/authorities\.pem"$/m);
});

it('keeps nothing where nothing is to be kept', () => {
  const text = renderResolverSettings({
    config,
    resolver: { isCaching: false, zones: [{ domain: 'lan.example', address: ipv4('192.168.1.1') }] },
    upstreams: [tls],
    authorities: '/x',
  });
  assert.doesNotMatch(text, /forward-no-cache: no/);
});

it('never asks a pushed resolver that DNS_LOCAL lets out past the tunnel', () => {
  const tun = { ...tunnelLink(2), pushedDns: [ipv4('192.168.1.1'), ipv4('10.8.0.1')] };
  const zones = [{ domain: 'lan.example', address: ipv4('192.168.1.1') }];
  assert.deepEqual(upstreamsOf({ ...config, localResolver: { isCaching: true, zones } }, tun), [
    { address: '10.8.0.1', port: 53 },
  ]);
});

it('needs no authorities without TLS', () => {
  const upstreams = [{ address: ipv4('10.8.0.1'), port: port(53) }];
  const resolver = { isCaching: true, zones: [] };
  const text = renderResolverSettings({ config, resolver, upstreams, authorities: '/missing' });
  assert.doesNotMatch(text, /missing/);
  assert.match(text, /^ {2}forward-tls-upstream: no$/m);
});
