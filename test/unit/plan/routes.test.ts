import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { PlanConfig } from '../../../src/plan/context.ts';
import { planRoutes } from '../../../src/plan/routes.ts';
import { renderRoute } from '../../../src/system/iproute.ts';
import type { Policy } from '../../../src/tunnel/policy.ts';
import { endpoint, ipv4, port, tunnelLink } from '../tunnel/endpoints.ts';
import { context, policies } from './scenarios.ts';

const own = (policy: Policy, settings: Partial<PlanConfig> = {}) =>
  planRoutes(context({ policy, settings }))
    .map(renderRoute)
    .filter((text) => text.endsWith(' table 7100'))
    .map((text) => text.replace(' table 7100', ''));

const clients = '172.22.0.0/24 dev eth1 scope link';
const neighbours = '203.0.113.0/24 dev eth0 scope link';
const server = '198.51.100.10 dev eth0 via 203.0.113.1 onlink';
const tunnel = 'default dev tun0 scope link';

describe("the router's own packets", () => {
  it('reach only clients in lockdown', () => assert.deepEqual(own(policies.lockdown), [clients]));

  it('reach the server of the attempt by the gateway of the uplink, and nothing else outside', () => {
    assert.deepEqual(own(policies.dial), [clients, server]);
  });

  it('reach a server on the uplink itself without the gateway', () => {
    const near = endpoint(1, { address: ipv4('203.0.113.200'), transport: 'tcp' });
    assert.deepEqual(own({ kind: 'dial', endpoint: near }), [clients, '203.0.113.200 dev eth0 scope link']);
  });

  it('reach any place by the uplink only while names are resolved', () => {
    assert.deepEqual(own(policies.resolve), [clients, neighbours, 'default dev eth0 via 203.0.113.1 onlink']);
  });

  it('go through the tunnel while it is up, but for OpenVPN', () => {
    assert.deepEqual(own(policies.forward), [clients, server, tunnel]);
  });

  it('reach whoever asks the health endpoint from the uplink', () => {
    const healthAddress = { host: ipv4('0.0.0.0'), port: port(9797) };
    assert.deepEqual(own(policies.lockdown, { healthAddress }), [clients, neighbours]);
    assert.deepEqual(own(policies.forward, { healthAddress }), [clients, neighbours, server, tunnel]);
  });
});

describe('the probe', () => {
  const probed = (settings: Partial<PlanConfig>, pushedDns: readonly string[] = []) =>
    own({ ...policies.forward, tun: tunnelLink(2, { pushedDns: pushedDns.map(ipv4) }) }, settings).filter(
      (text) => ![clients, server, tunnel].includes(text),
    );

  it('goes through the tunnel to every enforced resolver, also to one in the subnet of the uplink', () => {
    const dns = { kind: 'servers', servers: [ipv4('203.0.113.53'), ipv4('9.9.9.9')] } as const;
    assert.deepEqual(probed({ dns }), ['203.0.113.53 dev tun0 scope link', '9.9.9.9 dev tun0 scope link']);
    assert.deepEqual(probed({}, ['10.8.0.1']), ['10.8.0.1 dev tun0 scope link']);
  });

  it('goes where HEALTH_PROBE says, and then to no resolver', () => {
    const probe = { kind: 'tcp', address: ipv4('192.0.2.1'), port: port(443) } as const;
    assert.deepEqual(probed({ probe }, ['10.8.0.1']), ['192.0.2.1 dev tun0 scope link']);
  });

  it('never takes the way of OpenVPN to its server', () => {
    assert.deepEqual(probed({}, ['198.51.100.10', '10.8.0.1']), ['10.8.0.1 dev tun0 scope link']);
  });
});
