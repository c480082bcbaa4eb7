import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { overlaps, renderSubnet } from '../../../src/net/address.ts';
import { isLoopback, type PlanConfig, probeAddresses } from '../../../src/plan/context.ts';
import { tableIds } from '../../../src/plan/lockdown.ts';
import type { Route } from '../../../src/plan/plan.ts';
import { planRoutes } from '../../../src/plan/routes.ts';
import { renderRoute } from '../../../src/system/iproute.ts';
import type { Policy } from '../../../src/tunnel/policy.ts';
import { cidr } from '../config/outcome.ts';
import { endpoint, ipv4, port, tunnelLink } from '../tunnel/endpoints.ts';
import { anyClosedPolicy, anyContext, anyForwardPolicy } from './any-context.ts';
import { context, facts, policies, uplinkIpv4 } from './scenarios.ts';

const own = (policy: Policy, settings: Partial<PlanConfig> = {}) =>
  planRoutes(context({ policy, settings }))
    .map(renderRoute)
    .filter((text) => text.endsWith(' table 7100'))
    .map((text) => text.replace(' table 7100', ''));

const anyOfAll = anyContext(fc.oneof(anyClosedPolicy, anyForwardPolicy));
const isOwn = ({ table }: Route) => table === tableIds.own;
const isBy =
  (name: string) =>
  ({ via }: Route) =>
    via.kind === 'device' && via.name === name;

const clients = '172.22.0.0/24 dev eth1 scope link';
const gateway = '203.0.113.1 dev eth0 scope link';
const neighbours = '203.0.113.0/24 dev eth0 scope link';
const server = '198.51.100.10 dev eth0 via 203.0.113.1 onlink';
const noServer = 'unreachable 198.51.100.10 metric 4278198272';
const tunnel = 'default dev tun0 scope link';

describe("the router's own packets", () => {
  it('reach only clients in lockdown', () => assert.deepEqual(own(policies.lockdown), [clients, gateway]));

  it('reach the server of the attempt by the gateway of the uplink, and nothing else outside', () => {
    assert.deepEqual(own(policies.dial), [clients, gateway, server]);
  });

  it('reach a server on the uplink itself without the gateway', () => {
    const near = endpoint(1, { address: ipv4('203.0.113.200'), transport: 'tcp' });
    assert.deepEqual(own({ kind: 'dial', endpoint: near }), [clients, gateway, '203.0.113.200 dev eth0 scope link']);
  });

  it('reach any place by the uplink only while names are resolved', () => {
    assert.deepEqual(own(policies.resolve), [clients, gateway, neighbours, 'default dev eth0 via 203.0.113.1 onlink']);
  });

  it('go through the tunnel while it is up, but for OpenVPN', () => {
    assert.deepEqual(own(policies.forward), [clients, gateway, server, noServer, tunnel]);
  });

  it('reach whoever asks the health endpoint from the uplink', () => {
    const healthAddress = { host: ipv4('0.0.0.0'), port: port(9797) };
    assert.deepEqual(own(policies.lockdown, { healthAddress }), [clients, gateway, neighbours]);
    assert.deepEqual(own(policies.forward, { healthAddress }), [
      clients,
      gateway,
      neighbours,
      server,
      noServer,
      tunnel,
    ]);
  });

  it('to the server never enter its own tunnel, also when the uplink and all its routes are gone', () => {
    fc.assert(
      fc.property(anyContext(anyForwardPolicy), (given) => {
        const { facts, policy } = given;
        const left = planRoutes(given).filter((route) => isOwn(route) && !isBy(facts.uplink.name)(route));
        assert.ok(policy.kind === 'forward');
        const [route, ...others] = left.filter(({ destination }) => destination === policy.endpoint.address);
        assert.deepEqual([route?.via.kind, others], ['unreachable', []]);
      }),
    );
  });

  it('reach the gateway of the uplink itself in every state, or its ARP requests get no answer', () => {
    for (const policy of Object.values(policies)) assert.ok(own(policy).includes(gateway), policy.kind);
    fc.assert(
      fc.property(anyOfAll, (given) => {
        const { uplink } = given.facts;
        assert.ok(
          planRoutes(given).some(
            (route) => isOwn(route) && isBy(uplink.name)(route) && route.destination === uplink.ipv4?.gateway,
          ),
        );
      }),
    );
  });

  it('reach the rest of the subnet of the uplink only for a look-up, or to answer for the health endpoint', () => {
    const hosts = ['127.0.0.1', '127.255.0.9', '0.0.0.0', '172.22.0.1', '203.0.113.7', '128.0.0.1'];
    for (const host of hosts) {
      const healthAddress = { host: ipv4(host), port: port(9797) };
      for (const policy of Object.values(policies)) {
        const isWanted = policy.kind === 'resolve' || !host.startsWith('127.');
        assert.equal(own(policy, { healthAddress }).includes(neighbours), isWanted, `${policy.kind}, ${host}`);
      }
    }
    fc.assert(
      fc.property(anyOfAll, (given) => {
        const { cidr: uplinkCidr } = given.facts.uplink.ipv4 ?? assert.fail();
        fc.pre(!overlaps(given.config.gateway, uplinkCidr));
        const subnet = renderSubnet(uplinkCidr);
        const isWanted = given.policy.kind === 'resolve' || !isLoopback(given.config.healthAddress.host);
        assert.equal(
          planRoutes(given).some(({ destination }) => destination === subnet),
          isWanted,
        );
      }),
    );
  });

  it('reach a gateway that is alone in a subnet of the uplink', () => {
    const uplink = { ...facts.uplink, ipv4: { ...uplinkIpv4, cidr: cidr('203.0.113.7/32') } };
    const given = context({ policy: policies.resolve, seen: { uplink } });
    assert.deepEqual(planRoutes(given).filter(isOwn).map(renderRoute), [
      `${clients} table 7100`,
      `${gateway} table 7100`,
      '203.0.113.7 dev eth0 scope link table 7100',
      'default dev eth0 via 203.0.113.1 onlink table 7100',
    ]);
  });
});

describe('the probe', () => {
  const probed = (settings: Partial<PlanConfig>, pushedDns: readonly string[] = []) =>
    own({ ...policies.forward, tun: tunnelLink(2, { pushedDns: pushedDns.map(ipv4) }) }, settings).filter(
      (text) => ![clients, gateway, server, noServer, tunnel].includes(text),
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
    const probe = { kind: 'tcp', address: ipv4('198.51.100.10'), port: port(443) } as const;
    assert.deepEqual(probed({ probe }, ['10.8.0.1']), []);
  });

  it('goes to no resolver that the server pushed inside the isolated network', () => {
    assert.deepEqual(probed({}, ['172.22.0.53', '10.8.0.1']), ['10.8.0.1 dev tun0 scope link']);
  });

  it('is all that has a route of its own through the tunnel, and has none without a tunnel', () => {
    fc.assert(
      fc.property(anyOfAll, (given) => {
        const { policy, config, facts } = given;
        const found = planRoutes(given)
          .filter(isOwn)
          .filter(isBy(given.facts.tunName))
          .map(({ destination }) => destination);
        if (policy.kind !== 'forward') return assert.deepEqual(found, []);
        assert.deepEqual(found, [
          'default',
          ...probeAddresses({ config, facts, endpoint: policy.endpoint, tun: policy.tun }),
        ]);
        assert.ok(!found.includes(policy.endpoint.address));
      }),
    );
  });
});

describe('the routes of one table', () => {
  it('never name a destination twice by devices: the kernel would keep only the later one', () => {
    fc.assert(
      fc.property(anyOfAll, (given) => {
        const keys = planRoutes(given)
          .filter(({ via }) => via.kind === 'device')
          .map(({ table, destination }) => `${table} ${destination.replace(/\/32$/, '')}`);
        assert.deepEqual(keys, [...new Set(keys)]);
      }),
    );
  });
});
