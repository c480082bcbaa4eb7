import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { renderSubnet } from '../../../src/net/address.ts';
import { planBootRules, planBootRuleset, tableIds } from '../../../src/plan/lockdown.ts';
import type { Plan } from '../../../src/plan/plan.ts';
import { planRouter } from '../../../src/plan/router.ts';
import type { Hook, Rule } from '../../../src/ruleset/model.ts';
import { renderNft } from '../../../src/ruleset/nft.ts';
import { renderRoute, renderRule } from '../../../src/system/iproute.ts';
import { endpoint } from '../tunnel/endpoints.ts';
import { anyClosedPolicy, anyContext, anyForwardPolicy } from './any-context.ts';
import { acceptsAt, namesOn, pathsAt, refusalOf, rulesOf } from './rule-paths.ts';
import { config, context, facts, policies } from './scenarios.ts';

const anyPlan = anyContext(fc.oneof(anyClosedPolicy, anyForwardPolicy)).map((given) => ({
  ...given,
  plan: planRouter(given),
}));
const anyClosedPlan = anyContext(anyClosedPolicy).map((given) => ({ ...given, plan: planRouter(given) }));
const anyOpenPlan = anyContext(anyForwardPolicy).map((given) => ({ ...given, plan: planRouter(given) }));

describe('while there is no tunnel', () => {
  it('nothing is accepted in the forward hook', () => {
    fc.assert(fc.property(anyClosedPlan, ({ plan }) => assert.deepEqual(acceptsAt(plan.ruleset, 'forward'), [])));
  });

  it('nothing is translated', () => {
    fc.assert(
      fc.property(anyClosedPlan, ({ plan }) => {
        const nat = plan.ruleset.tables.find(({ family }) => family === 'ip');
        assert.deepEqual([nat?.maps, nat?.chains], [[], []]);
      }),
    );
  });

  it('no route leads into the tunnel, which has no address', () => {
    fc.assert(
      fc.property(anyClosedPlan, ({ plan }) => {
        assert.ok(!('link' in plan.tun));
        assert.ok(!plan.routes.some(({ via }) => via.kind === 'device' && via.name === plan.tun.name));
      }),
    );
  });

  it('no route at all leads clients anywhere', () => {
    fc.assert(
      fc.property(anyClosedPlan, ({ plan }) => {
        for (const table of [tableIds.clients, tableIds.tunnel]) {
          assert.deepEqual(routesIn(plan, table), [`unreachable default metric 4278198272 table ${table}`]);
        }
      }),
    );
  });

  it('clients get a reset before routing where the kernel can do that, and an ICMP error in any case', () => {
    for (const canRejectBeforeRouting of [true, false]) {
      const { ruleset } = planRouter(context({ policy: policies.lockdown, seen: { canRejectBeforeRouting } }));
      const refusals = rulesOf(ruleset).filter(({ verdict }) => verdict?.kind.startsWith('reject'));
      const ids = refusals.map(({ id }) => id);
      assert.equal(ids.includes('refuse-refuse-tcp'), canRejectBeforeRouting);
      assert.ok(ids.includes('refuse-forward-refuse'));
    }
  });
});

describe('while there is a tunnel', () => {
  it('every accept in the forward hook names one interface on each side, isolated network and tunnel', () => {
    fc.assert(
      fc.property(anyOpenPlan, ({ plan, facts }) => {
        const accepts = acceptsAt(plan.ruleset, 'forward');
        assert.ok(accepts.length > 0);
        for (const path of accepts) {
          const [from, to, ...more] = [...namesOn(path, 'in'), ...namesOn(path, 'out')];
          assert.deepEqual(more, []);
          assert.deepEqual([from, to].sort(), [facts.lan.name, facts.tunName].sort());
        }
      }),
    );
  });

  it('clients and the tunnel have a way to each other, in front of the one to nowhere', () => {
    fc.assert(
      fc.property(anyOpenPlan, ({ plan, facts, config }) => {
        assert.deepEqual(routesIn(plan, tableIds.clients), [
          'unreachable default metric 4278198272 table 7101',
          `default dev ${facts.tunName} scope link table 7101`,
        ]);
        assert.deepEqual(routesIn(plan, tableIds.tunnel), [
          'unreachable default metric 4278198272 table 7102',
          `${renderSubnet(config.gateway)} dev ${facts.lan.name} scope link table 7102`,
        ]);
      }),
    );
  });

  it('new flows from the tunnel pass only when PORT_FWD translated them', () => {
    fc.assert(
      fc.property(anyOpenPlan, ({ plan, facts }) => {
        for (const path of acceptsAt(plan.ruleset, 'forward')) {
          if (!namesOn(path, 'in').includes(facts.tunName)) continue;
          const isKnown = path.matches.some(({ kind, ...match }) => kind === 'state' && !isNewAllowed(match));
          assert.ok(isKnown || path.matches.some(({ kind }) => kind === 'was-dnated'), path.rule.id);
        }
      }),
    );
  });

  it('invalid packets are dropped before anything is accepted', () => {
    const { ruleset } = planRouter(context());
    const [first] = pathsAt(ruleset, 'forward');
    assert.deepEqual(first?.rule.when, [{ kind: 'state', states: ['invalid'] }]);
    assert.deepEqual(refusalOf(ruleset, first.rule.id), { kind: 'drop' });
  });

  it('the tunnel has the address and MTU that the server gave', () => {
    fc.assert(
      fc.property(anyOpenPlan, ({ plan, policy }) => {
        assert.ok(policy.kind === 'forward');
        assert.deepEqual([plan.tun.link?.address, plan.tun.link?.mtuBytes], [policy.tun.address, policy.tun.mtuBytes]);
      }),
    );
  });
});

describe('in every state', () => {
  it('the filter chains at input, forward and output drop what no rule accepts', () => {
    fc.assert(
      fc.property(anyPlan, ({ plan }) => {
        const [filter] = plan.ruleset.tables;
        const hooks = filter?.chains.flatMap(({ hook }) => hook ?? []) ?? [];
        const closed = hooks.flatMap(({ at, policy }) => (policy === 'drop' ? [at] : []));
        assert.deepEqual(closed, ['input', 'forward', 'output']);
        for (const at of closed) assert.equal(hooks.filter((hook) => hook.at === at).length, 1);
      }),
    );
  });

  it('an early or last look only takes away', () => {
    fc.assert(
      fc.property(anyPlan, ({ plan }) => {
        const looks = (['prerouting', 'postrouting'] as const).flatMap((at) => acceptsAt(plan.ruleset, at));
        assert.deepEqual(looks, []);
      }),
    );
  });

  it('every rule has an id of its own and a reason of one sentence', () => {
    fc.assert(
      fc.property(anyPlan, ({ plan }) => {
        const rules = rulesOf(plan.ruleset);
        assert.equal(new Set(rules.map(({ id }) => id)).size, rules.length);
        for (const { id, why } of rules) {
          assert.match(id, /^[a-z]+(-[a-z0-9]+)*$/);
          assert.match(why, /^[A-Z].{12,}\.$/, id);
        }
        for (const { why } of [...plan.rules, ...plan.routes]) assert.match(why, /^[A-Z].{12,}\.$/);
      }),
    );
  });

  it('packets of clients are told to nowhere before any table of the router is asked', () => {
    fc.assert(
      fc.property(anyPlan, ({ plan, config, facts }) => {
        const texts = plan.rules.map(renderRule);
        assert.deepEqual(texts, [
          `pref 100 from ${renderSubnet(config.gateway)} iif ${facts.lan.name} lookup 7101`,
          `pref 101 iif ${facts.tunName} lookup 7102`,
          `pref 105 iif ${facts.lan.name} blackhole`,
          ...planBootRules().map(renderRule),
        ]);
      }),
    );
  });

  it('no route or rule uses a table but ours, so main is never asked', () => {
    fc.assert(
      fc.property(anyPlan, ({ plan }) => {
        const ours: ReadonlySet<number> = new Set(Object.values(tableIds));
        for (const { table } of plan.routes) assert.ok(ours.has(table));
        for (const { to } of plan.rules) assert.ok(to.kind !== 'table' || ours.has(to.table));
        for (const text of [...plan.routes.map(renderRoute), ...plan.rules.map(renderRule)]) {
          assert.doesNotMatch(text, /main|default table|lookup (254|253)\b/);
        }
      }),
    );
  });

  it('no two routes stand for the same place in one table, so none takes the place of another', () => {
    fc.assert(
      fc.property(anyPlan, ({ plan, config, facts }) => {
        // Where isolated network and uplink are one subnet the router refuses to start.
        fc.pre(renderSubnet(config.gateway) !== renderSubnet(facts.uplink.ipv4?.cidr ?? assert.fail()));
        const keys = plan.routes.map(({ table, destination, via }) => `${table} ${destination} ${via.kind}`);
        assert.equal(new Set(keys).size, keys.length);
      }),
    );
  });

  it('rules name no interfaces but loopback, the two networks and the tunnel', () => {
    fc.assert(
      fc.property(anyPlan, ({ plan, facts }) => {
        const known: ReadonlySet<string> = new Set(['lo', facts.lan.name, facts.uplink.name, facts.tunName]);
        for (const [, names = ''] of renderNft(plan.ruleset).matchAll(/[io]ifname (?:!= )?(\{[^}]*\}|"[^"]*")/g)) {
          for (const [, name = ''] of names.matchAll(/"([^"]*)"/g)) assert.ok(known.has(name), name);
        }
      }),
    );
  });

  it('what leaves on the uplink has its own address, what leaves in the tunnel has none of the isolated network', () => {
    fc.assert(
      fc.property(anyPlan, ({ plan }) => {
        const drops = pathsAt(plan.ruleset, 'postrouting').filter(({ rule }) => rule.verdict?.kind === 'drop');
        assert.deepEqual(
          drops.map(({ rule }) => rule.id),
          ['last-uplink', 'last-forwarded', 'last-tunnel'],
        );
      }),
    );
  });

  it('the same input gives the same plan', () => {
    fc.assert(
      fc.property(anyContext(fc.oneof(anyClosedPolicy, anyForwardPolicy)), (given) => {
        assert.deepEqual(planRouter(given), planRouter(structuredClone(given)));
      }),
    );
  });
});

describe('what is open on the uplink', () => {
  const opened = (policy: keyof typeof policies, at: Hook['at'], settings = {}) =>
    acceptsAt(planRouter(context({ policy: policies[policy], settings })).ruleset, at)
      .filter((path) => [...namesOn(path, 'in'), ...namesOn(path, 'out')].includes(facts.uplink.name))
      .map(({ rule }) => rule.id);

  const expected = {
    lockdown: { input: [], output: [] },
    resolve: { input: ['in-resolver'], output: ['out-resolver'] },
    dial: { input: ['in-endpoint', 'in-uplink-errors'], output: ['out-endpoint'] },
    forward: { input: ['in-endpoint', 'in-uplink-errors'], output: ['out-endpoint'] },
  } as const;
  for (const [policy, { input, output }] of Object.entries(expected)) {
    it(`in ${policy} is ${[...input, ...output].join(', ') || 'nothing'}`, () => {
      assert.deepEqual(opened(policy as keyof typeof policies, 'input'), input);
      assert.deepEqual(opened(policy as keyof typeof policies, 'output'), output);
    });
  }

  it('gets the health endpoint only when HEALTH_ADDR is outside loopback, in every state', () => {
    for (const policy of Object.keys(expected) as (keyof typeof policies)[]) {
      for (const host of ['127.0.0.1', '127.255.0.9']) {
        assert.ok(!opened(policy, 'input', { healthAddress: { ...config.healthAddress, host } }).includes('in-health'));
      }
      for (const host of ['0.0.0.0', '172.22.0.1', '203.0.113.7', '128.0.0.1']) {
        const settings = { healthAddress: { ...config.healthAddress, host } };
        assert.ok(opened(policy, 'input', settings).includes('in-health'));
        assert.ok(opened(policy, 'output', settings).includes('out-health'));
      }
    }
  });

  it('is for the user of OpenVPN alone when it is the server', () => {
    fc.assert(
      fc.property(anyPlan, ({ plan, facts, policy }) => {
        const rule = acceptsAt(plan.ruleset, 'output').find(({ rule }) => rule.id === 'out-endpoint');
        assert.equal(rule !== undefined, policy.kind === 'dial' || policy.kind === 'forward');
        assert.ok(rule?.matches.some((match) => match.kind === 'socket-uid' && match.uid === facts.openvpnUid) ?? true);
      }),
    );
  });
});

describe('the gate of the uplink', () => {
  /** What a rule asks of a packet, without where the rule stands. */
  const asks = ({ when }: Rule) =>
    when
      .filter(({ kind }) => kind !== 'out' && kind !== 'state' && kind !== 'source')
      .map((match) => JSON.stringify(match))
      .sort();

  it('is open for exactly what the router may send there, and for ARP and fragments', () => {
    fc.assert(
      fc.property(anyPlan, ({ plan, facts }) => {
        const opened = acceptsAt(plan.ruleset, 'egress').map(({ rule }) => rule);
        if (!facts.extras.includes('egress-hook')) return assert.deepEqual(opened, []);
        const sendable = acceptsAt(plan.ruleset, 'output').filter((path) =>
          namesOn(path, 'out').includes(facts.uplink.name),
        );
        const ofItself = ['egress-arp', 'egress-fragments'];
        assert.deepEqual(
          opened
            .filter(({ id }) => !ofItself.includes(id))
            .map((rule) => [rule.id.replace('egress-', 'out-'), asks(rule)]),
          sendable.map(({ rule }) => [rule.id, asks(rule)]),
        );
      }),
    );
  });

  it("passes the tunnel's own packets by its first rules", () => {
    const standby = { ...policies.dial, endpoint: endpoint(11) };
    const { ruleset } = planRouter(context({ policy: { ...policies.forward, standby } }));
    const [first, second] = pathsAt(ruleset, 'egress').map(({ rule }) => rule.id);
    assert.deepEqual([first, second], ['egress-endpoint', 'egress-standby-endpoint']);
  });

  it('hangs on the uplink, and drops what no rule accepts', () => {
    fc.assert(
      fc.property(anyPlan, ({ plan, facts }) => {
        const gates = plan.ruleset.tables.filter(({ family }) => family === 'netdev').flatMap(({ chains }) => chains);
        assert.equal(gates.length, facts.extras.includes('egress-hook') ? 1 : 0);
        for (const { hook } of gates) assert.deepEqual([hook?.device, hook?.policy], [facts.uplink.name, 'drop']);
      }),
    );
  });
});

describe('the connections of a client', () => {
  const counted = (settings: object, seen: object = {}) =>
    rulesOf(planRouter(context({ settings, seen })).ruleset).filter(({ when }) =>
      when.some(({ kind }) => kind === 'connections-over'),
    );

  it('are counted where new ones are let in, behind those that are known', () => {
    const ids = rulesOf(planRouter(context({ settings: { connectionLimit: 9 } })).ruleset).map(({ id }) => id);
    assert.ok(ids.indexOf('outbound-established') < ids.indexOf('outbound-limit'));
    assert.ok(ids.indexOf('outbound-limit') < ids.indexOf('outbound-new'));
    assert.ok(ids.indexOf('in-limit') < ids.indexOf('in-ping'));
    for (const { when } of counted({ connectionLimit: 9 }))
      assert.ok(when.some((match) => match.kind === 'state' && match.states.join() === 'new'));
  });

  it('are not counted without a limit, nor by a kernel that cannot', () => {
    assert.equal(counted({ connectionLimit: 9 }).length, 2);
    assert.deepEqual(counted({}), []);
    assert.deepEqual(counted({ connectionLimit: 9 }, { extras: ['egress-hook', 'arp-table'] }), []);
  });
});

describe('the lockdown before Node starts', () => {
  it('lets nothing pass but loopback', () => {
    const ruleset = planBootRuleset();
    for (const at of ['input', 'output'] as const) {
      const names = acceptsAt(ruleset, at).flatMap((path) => [...namesOn(path, 'in'), ...namesOn(path, 'out')]);
      assert.deepEqual(names, ['lo']);
    }
    assert.deepEqual(acceptsAt(ruleset, 'forward'), []);
  });

  it('holds tables that the router replaces later, so that none is left over', () => {
    const tables = (ruleset: Plan['ruleset']) => ruleset.tables.map(({ family, name }) => `${family} ${name}`);
    const later = tables(planRouter(context({ seen: { extras: [] } })).ruleset);
    assert.deepEqual(tables(planBootRuleset()), later);
  });
});

function routesIn(plan: Plan, table: number): readonly string[] {
  return plan.routes.filter((route) => route.table === table).map(renderRoute);
}

function isNewAllowed(match: object): boolean {
  return 'states' in match && Array.isArray(match.states) && match.states.includes('new');
}
