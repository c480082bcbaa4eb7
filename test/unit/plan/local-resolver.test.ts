import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { tableIds } from '../../../src/plan/lockdown.ts';
import { planRouter } from '../../../src/plan/router.ts';
import { ipv4, port } from '../tunnel/endpoints.ts';
import { context, policies } from './scenarios.ts';

const settings = {
  dns: { kind: 'tls', servers: [{ address: ipv4('1.1.1.1'), port: port(853), name: 'one.example' }] },
  localResolver: { isCaching: true, zones: [{ domain: 'lan.example', address: ipv4('192.168.1.1') }] },
} as const;

const plan = (policy: keyof typeof policies) => planRouter(context({ policy: policies[policy], settings }));
const idsOf = (policy: keyof typeof policies, chain: string) =>
  plan(policy)
    .ruleset.tables.flatMap(({ chains }) => chains)
    .find(({ name }) => name === chain)
    ?.rules.map(({ id }) => id) ?? [];
const waysOut = (policy: keyof typeof policies) =>
  plan(policy)
    .routes.filter(({ table, via }) => table === tableIds.resolver && via.kind === 'device')
    .map(({ destination, via }) => `${destination} ${via.kind === 'device' ? via.name : ''}`);

describe("the router's own resolver", () => {
  it('is not led out by the look-up of a VPN server, by rules or by routes', () => {
    const ids = idsOf('resolve', 'output');
    assert.ok(ids.includes('out-resolver'));
    assert.ok(ids.indexOf('out-dns-elsewhere') < ids.indexOf('out-resolver'), `${ids}`);
    assert.deepEqual(waysOut('resolve'), ['172.22.0.0/24 eth1']);
  });

  for (const policy of ['lockdown', 'resolve', 'dial'] as const) {
    it(`reaches clients only, and is not reached, in ${policy}`, () => {
      assert.deepEqual(waysOut(policy), ['172.22.0.0/24 eth1']);
      const ids = ['input', 'output', 'uplink', 'prerouting'].flatMap((chain) => idsOf(policy, chain));
      assert.deepEqual(
        ids.filter((id) => id.includes('dns')),
        ['out-dns-elsewhere'],
      );
    });
  }

  it('reaches the tunnel, and DNS_LOCAL beside it, in forward', () => {
    assert.deepEqual(waysOut('forward'), ['172.22.0.0/24 eth1', '192.168.1.1 eth0', 'default tun0']);
  });

  it('has its rule and its table in every state, of both families', () => {
    for (const policy of Object.keys(policies) as (keyof typeof policies)[]) {
      const { rules, ipv6Rules, routes } = plan(policy);
      for (const list of [rules, ipv6Rules]) {
        const preferences = list.map(({ preference }) => preference);
        assert.ok(preferences.includes(112));
        assert.deepEqual(
          preferences,
          preferences.toSorted((one, other) => one - other),
        );
      }
      const closed = routes.filter(({ table, via }) => table === tableIds.resolver && via.kind === 'unreachable');
      assert.deepEqual(
        closed.map(({ destination }) => destination),
        ['default', '::/0'],
      );
    }
  });

  it('leaves no trace where no setting asks for it', () => {
    const text = JSON.stringify(planRouter(context()));
    assert.doesNotMatch(text, /976|7107|5300/);
  });

  it('is nowhere to lead to while the server has pushed nobody to ask', () => {
    const { ruleset } = planRouter(
      context({
        policy: { ...policies.forward, tun: { ...policies.forward.tun, pushedDns: [] } },
        settings: { localResolver: settings.localResolver },
      }),
    );
    assert.doesNotMatch(JSON.stringify(ruleset), /nat-dns/);
  });
});
