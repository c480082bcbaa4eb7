import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { familyOf, isIpv6, renderSubnet } from '../../../src/net/address.ts';
import type { Context } from '../../../src/plan/context.ts';
import { tableIds } from '../../../src/plan/lockdown.ts';
import type { Plan, Route } from '../../../src/plan/plan.ts';
import { planRouter } from '../../../src/plan/router.ts';
import type { Match, Rule } from '../../../src/ruleset/model.ts';
import { renderNft } from '../../../src/ruleset/nft.ts';
import { anyClosedPolicy, anyForwardPolicy, anyIpv6Context } from './any-context.ts';

const anyPlan = anyIpv6Context(fc.oneof(anyClosedPolicy, anyForwardPolicy)).map((given) => ({
  ...given,
  plan: planRouter(given),
}));

const rulesOf = ({ ruleset }: Plan, chainName: string): readonly Rule[] =>
  ruleset.tables.flatMap(({ chains }) => chains).find(({ name }) => name === chainName)?.rules ?? [];
const isNeighbourMatch = (match: Match) => match.kind === 'icmpv6' && match.types.includes('nd-neighbor-solicit');
const isIpv6Route = ({ destination }: Route) => familyOf(destination) === 'ipv6';
const hasIpv6Server = ({ policy }: Pick<Context, 'policy'>) => 'endpoint' in policy && isIpv6(policy.endpoint.address);

describe('IPv6', () => {
  it('is dropped whole where nobody asked for it, whatever uplink and server have', () => {
    fc.assert(
      fc.property(anyIpv6Context(fc.oneof(anyClosedPolicy, anyForwardPolicy)), ({ config, facts, policy }) => {
        fc.pre(!hasIpv6Server({ policy }) && policy.kind !== 'resolve');
        const { ipv6: _, ...without } = config;
        const { ipv6: __, ...uplink } = facts.uplink;
        const given = { config: { ...without, forwards: [] }, policy };
        const plan = planRouter({ ...given, facts });
        assert.equal(renderNft(plan.ruleset), renderNft(planRouter({ ...given, facts: { ...facts, uplink } }).ruleset));
        assert.deepEqual(plan.routes.filter(isIpv6Route), []);
        const drop = rulesOf(plan, 'early')[0]?.when ?? [];
        assert.deepEqual(drop, [
          { kind: 'family', family: 'ipv6' },
          { kind: 'not-in', names: ['lo'] },
        ]);
      }),
    );
  });

  it('has a way for clients only into a tunnel with an address of its own', () => {
    fc.assert(
      fc.property(anyPlan, ({ plan, config, policy }) => {
        const ways = plan.routes.filter((route) => isIpv6Route(route) && route.table === tableIds.clients);
        const kinds = ways.map(({ via }) => (via.kind === 'device' ? via.name : via.kind));
        const carries = config.ipv6 !== undefined && policy.kind === 'forward' && policy.tun.ipv6 !== undefined;
        assert.deepEqual(kinds, config.ipv6 === undefined ? [] : carries ? ['unreachable', 'tun0'] : ['unreachable']);
        assert.equal(plan.tun.link?.ipv6 !== undefined, carries);
      }),
    );
  });

  it('meets a routing rule of clients and of the tunnel, or none but those of the boot', () => {
    fc.assert(
      fc.property(anyPlan, ({ plan, config }) => {
        const preferences = plan.ipv6Rules.map(({ preference }) => preference);
        assert.deepEqual(
          preferences,
          config.ipv6 === undefined ? [110, 115, 120, 130] : [100, 101, 105, 110, 115, 120, 130],
        );
      }),
    );
  });

  it('leaves on the uplink with an address of the uplink alone, and in the tunnel with none of the isolated network', () => {
    fc.assert(
      fc.property(anyPlan, ({ plan, config, facts, policy }) => {
        const last = rulesOf(plan, 'last').filter(({ id }) => id.endsWith('-ipv6'));
        const uplink = last.find(({ id }) => id === 'last-uplink-ipv6');
        if (config.ipv6 !== undefined || hasIpv6Server({ policy })) assert.ok(uplink);
        const [, link, source] = uplink?.when ?? [];
        const own = (facts.uplink.ipv6?.cidrs ?? []).map(({ address }) => address);
        if (source?.kind === 'source-any') {
          assert.deepEqual(source.addresses, own);
          assert.deepEqual(link, { kind: 'source', subnet: 'fe80::/10', negate: true });
        }
        for (const { when } of rulesOf(plan, 'uplink').filter(({ when }) => when.some(isNeighbourMatch))) {
          const [from] = when;
          const isLink = from?.kind === 'source' && from.subnet === 'fe80::/10';
          if (!isLink) assert.deepEqual(from, { kind: 'source-any', addresses: ['::', ...own] });
        }
        const tunnel = last.find(({ id }) => id === 'last-tunnel-ipv6')?.when[1];
        const subnet = config.ipv6 === undefined ? undefined : renderSubnet(config.ipv6.gateway);
        assert.equal(tunnel?.kind === 'source' ? tunnel.subnet : undefined, subnet);
        for (const { verdict } of last) assert.equal(verdict?.kind, 'drop');
      }),
    );
  });

  it('lets neighbours find each other only on interfaces that use it, and lets through no other multicast', () => {
    fc.assert(
      fc.property(anyPlan, ({ plan, config, facts }) => {
        for (const chain of ['early', 'input', 'output']) {
          const names = rulesOf(plan, chain)
            .filter(({ when }) => when.some(isNeighbourMatch))
            .flatMap(({ when }) => when.flatMap((match) => ('names' in match ? match.names : [])));
          assert.ok(!names.some((name) => name.startsWith('tun')));
          assert.equal(names.includes(facts.lan.name), config.ipv6 !== undefined);
        }
      }),
    );
  });

  it('gives every rule an id of its own', () => {
    fc.assert(
      fc.property(anyPlan, ({ plan }) => {
        const ids = plan.ruleset.tables.flatMap(({ chains }) =>
          chains.flatMap(({ rules }) => rules.map(({ id }) => id)),
        );
        const twice = ids.filter((id, index) => ids.indexOf(id) !== index && id !== 'out-resolver');
        assert.deepEqual(twice, []);
      }),
    );
  });

  it('gives forwards and resolvers of a family to the table of that family', () => {
    fc.assert(
      fc.property(anyPlan, ({ plan }) => {
        for (const { family, maps, chains } of plan.ruleset.tables) {
          if (family === 'inet') continue;
          const targets = [
            ...maps.flatMap(({ entries }) => entries.map(({ target }) => target)),
            ...chains.flatMap(({ rules }) =>
              rules.flatMap(({ verdict }) => (verdict?.kind === 'dnat' ? verdict.targets : [])),
            ),
          ];
          for (const target of targets) assert.equal(familyOf(target), family === 'ip' ? 'ipv4' : 'ipv6');
        }
      }),
    );
  });
});
