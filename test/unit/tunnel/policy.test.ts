import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Policy, renderEndpoint, renderPolicy } from '../../../src/tunnel/policy.ts';
import { endpoint, ipv4, port, tunnelLink } from './endpoints.ts';

describe('renderPolicy', () => {
  const servers = [ipv4('9.9.9.9'), ipv4('1.1.1.1')];
  const lines: readonly (readonly [string, Policy])[] = [
    ['lockdown', { kind: 'lockdown' }],
    ['resolve by any server', { kind: 'resolve', scope: { kind: 'any' } }],
    ['resolve by 9.9.9.9, 1.1.1.1', { kind: 'resolve', scope: { kind: 'servers', servers } }],
    ['dial 198.51.100.10:1194/udp', { kind: 'dial', endpoint: endpoint(10) }],
    [
      'forward through tun0 (10.8.0.2) to 198.51.100.10:1194/udp',
      { kind: 'forward', endpoint: endpoint(10), tun: tunnelLink(2) },
    ],
  ];
  for (const [line, policy] of lines) {
    it(`says "${line}" in one line`, () => assert.equal(renderPolicy(policy), line));
  }
});

describe('renderEndpoint', () => {
  it('names address, port and transport', () => {
    assert.equal(renderEndpoint(endpoint(7, { port: port(443), transport: 'tcp' })), '198.51.100.7:443/tcp');
  });
});
