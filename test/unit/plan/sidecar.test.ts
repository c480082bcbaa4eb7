import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ownNetwork } from '../../../src/config/sidecar.ts';
import type { PlanConfig } from '../../../src/plan/context.ts';
import { findInterfaces } from '../../../src/plan/interfaces.ts';
import { resolverUid } from '../../../src/plan/local-resolver.ts';
import { loopback, tableIds } from '../../../src/plan/lockdown.ts';
import type { Plan } from '../../../src/plan/plan.ts';
import { planRouter } from '../../../src/plan/router.ts';
import type { Policy } from '../../../src/tunnel/policy.ts';
import { faultsOf, valueFrom } from '../config/outcome.ts';
import { ipv4 } from '../tunnel/endpoints.ts';
import { acceptsAt, namesOn, pathsAt } from './rule-paths.ts';
import { context, dualUplink, facts, forward, policies } from './scenarios.ts';

const settings: Partial<PlanConfig> = {
  isSidecar: true,
  gateway: ownNetwork,
  localResolver: { isCaching: true, zones: [{ domain: 'lan.test', address: ipv4('192.168.1.1') }] },
  forwards: [forward({ outside: 6881, target: '127.0.0.1' })],
};
const every: readonly Policy[] = [
  ...Object.values(policies),
  { kind: 'resolve', scope: { kind: 'servers', servers: [ipv4('10.96.0.10')] } },
  { kind: 'resolve', scope: { kind: 'servers', servers: [] } },
];
const planOf = (policy: Policy): Plan =>
  planRouter(context({ policy, settings, seen: { lan: { name: loopback }, uplink: dualUplink } }));
const ownUsers = [facts.openvpnUid, resolverUid];

describe('the plan of a sidecar', () => {
  for (const policy of every) {
    const plan = planOf(policy);
    const name = JSON.stringify(policy).slice(0, 60);

    it(`lets nothing onto the uplink but of the router's two users, and the link's own: ${name}`, () => {
      for (const at of ['output', 'egress'] as const) {
        const onUplink = acceptsAt(plan.ruleset, at).filter(({ matches }) => {
          const path = { matches, rule: { id: '', why: '', when: [] } };
          const out = namesOn(path, 'out');
          return out.length === 0 || out.includes(facts.uplink.name);
        });
        for (const { rule, matches } of onUplink) {
          const isOfLink = matches.some(({ kind }) => kind === 'arp-without' || kind === 'icmpv6');
          const toDocker = matches.some((match) => match.kind === 'destination' && match.addresses[0] === '127.0.0.11');
          const isNat = rule.id.startsWith('nat-');
          const byOwn = matches.some((match) => match.kind === 'socket-uid' && ownUsers.includes(match.uid));
          assert.ok(isOfLink || isNat || byOwn, `${rule.id} ${toDocker}`);
        }
      }
    });

    it(`forwards nothing, and leads nobody but these users to the uplink: ${name}`, () => {
      assert.deepEqual(pathsAt(plan.ruleset, 'forward'), []);
      const toUplink = plan.routes.filter(({ via }) => via.kind === 'device' && via.name === facts.uplink.name);
      const tables: readonly number[] = [tableIds.openvpn, tableIds.resolver];
      for (const { table, why } of toUplink) assert.ok(tables.includes(table), why);
      for (const { from, to } of [...plan.rules, ...plan.ipv6Rules]) {
        if (to.kind !== 'table' || !tables.includes(to.table)) continue;
        assert.ok(from.kind === 'user' && (ownUsers.includes(from.uid) || from.source === '203.0.113.7'));
      }
    });

    it(`keeps Docker's resolver from all but the look-up: ${name}`, () => {
      const [first, second] = pathsAt(plan.ruleset, 'output').filter(({ matches }) =>
        matches.some((match) => match.kind === 'destination' && match.addresses[0] === '127.0.0.11'),
      );
      const refuses = policy.kind === 'resolve' ? second : first;
      assert.equal(refuses?.rule.verdict?.kind, 'reject');
      assert.equal(first?.rule.verdict?.kind === 'accept', policy.kind === 'resolve');
    });
  }
});

describe('the interfaces of a sidecar', () => {
  const find = (...interfaces: Parameters<typeof findInterfaces>[0]['interfaces'][number][]) =>
    findInterfaces({ gateway: ownNetwork, interfaces, defaults: [{ device: 'eth0', gateway: '169.254.1.1' }] });

  it('are loopback and an uplink, also one whose next hop is outside of its subnet', () => {
    const { lan, uplink, gateways } = valueFrom(find({ name: 'eth0', ipv4: ['10.244.3.7/32'] }));
    assert.deepEqual([lan.name, uplink.name, gateways], ['lo', 'eth0', ['169.254.1.1']]);
  });

  it('are too few without an uplink', () => {
    assert.match(faultsOf(find())[0]?.problem ?? '', /^there is no uplink \(/);
  });
});
