import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { contains } from '../../../src/net/address.ts';
import { enforcedResolvers, probeAddresses } from '../../../src/plan/context.ts';
import { endpoint, ipv4, port, tunnelLink } from '../tunnel/endpoints.ts';
import { anyContext, anyForwardPolicy } from './any-context.ts';
import { config, facts, uplinkIpv4 } from './scenarios.ts';

const pushing = (...pushedDns: readonly string[]) => tunnelLink(2, { pushedDns: pushedDns.map(ipv4) });

describe('the resolvers of clients', () => {
  it('are those of DNS, whatever the server pushed', () => {
    const dns = { kind: 'servers', servers: [ipv4('9.9.9.9'), ipv4('1.1.1.1')] } as const;
    assert.deepEqual(enforcedResolvers({ ...config, dns }, pushing('10.8.0.1')), ['9.9.9.9', '1.1.1.1']);
  });

  it('are else those that were pushed, in their order', () => {
    assert.deepEqual(enforcedResolvers(config, pushing('10.8.0.2', '10.8.0.1')), ['10.8.0.2', '10.8.0.1']);
    assert.deepEqual(enforcedResolvers(config, pushing()), []);
  });

  it('are no pushed ones inside the isolated network, from its first address to its last', () => {
    const pushed = ['172.21.255.255', '172.22.0.0', '172.22.0.1', '172.22.0.255', '172.22.1.0'];
    assert.deepEqual(enforcedResolvers(config, pushing(...pushed)), ['172.21.255.255', '172.22.1.0']);
    assert.deepEqual(enforcedResolvers(config, pushing('172.22.0.53')), []);
  });

  it('are all that was pushed outside the isolated network, and nothing else', () => {
    fc.assert(
      fc.property(anyContext(anyForwardPolicy), ({ config, policy }) => {
        fc.pre(config.dns.kind === 'pushed' && policy.kind === 'forward');
        const found = enforcedResolvers(config, policy.tun);
        for (const address of policy.tun.pushedDns) {
          assert.equal(found.includes(address), !contains(config.gateway, address));
        }
        for (const address of found) assert.ok(policy.tun.pushedDns.includes(address));
      }),
    );
  });
});

describe('where a probe may go', () => {
  const tcp = (address: string) => ({ kind: 'tcp', address: ipv4(address), port: port(443) }) as const;
  const found = (settings: Partial<typeof config>, ...pushed: readonly string[]) =>
    probeAddresses({ config: { ...config, ...settings }, facts, endpoint: endpoint(10), tun: pushing(...pushed) });

  it('is to every enforced resolver', () => {
    assert.deepEqual(found({}, '10.8.0.2', '10.8.0.1'), ['10.8.0.2', '10.8.0.1']);
    assert.deepEqual(found({}, '172.22.0.53', '10.8.0.1'), ['10.8.0.1']);
    assert.deepEqual(found({}), []);
  });

  it('is to the address of HEALTH_PROBE alone where that is set', () => {
    assert.deepEqual(found({ probe: tcp('192.0.2.1') }, '10.8.0.1'), ['192.0.2.1']);
  });

  it('is never to the VPN server, whose address is for OpenVPN', () => {
    assert.deepEqual(found({}, '198.51.100.10', '10.8.0.1'), ['10.8.0.1']);
    assert.deepEqual(found({ probe: tcp('198.51.100.10') }, '10.8.0.1'), []);
  });

  it("is never to the uplink's gateway, which has the same address as somebody beyond the tunnel", () => {
    assert.deepEqual(found({}, uplinkIpv4.gateway, '10.8.0.1'), ['10.8.0.1']);
  });
});
