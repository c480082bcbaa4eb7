import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { renderSubnet } from '../../../src/net/address.ts';
import { tableIds } from '../../../src/plan/lockdown.ts';
import { planRouter } from '../../../src/plan/router.ts';
import { anyClosedPolicy, anyContext, anyForwardPolicy, anyLanAllowances } from './any-context.ts';
import { acceptsAt, namesOn } from './rule-paths.ts';

const anyGiven = fc
  .tuple(anyContext(fc.oneof(anyClosedPolicy, anyForwardPolicy)), anyLanAllowances)
  .map(([given, lanAllowances]) => ({ ...given, config: { ...given.config, lanAllowances } }));

const anyBackend = fc.constantFrom('nft' as const, 'iptables-legacy' as const);

describe('what is let past the tunnel', () => {
  it('is named by subnet, protocol and ports in each lock, in every state', () => {
    fc.assert(
      fc.property(anyGiven, anyBackend, (given, firewall) => {
        const { config, facts } = given;
        const context = { ...given, facts: { ...facts, firewall, extras: firewall === 'nft' ? facts.extras : [] } };
        const plan = planRouter(context);
        const uplink = facts.uplink.name;
        const past = acceptsAt(plan.ruleset, 'forward').filter(
          (path) => namesOn(path, 'out').includes(uplink) || namesOn(path, 'in').includes(uplink),
        );
        assert.equal(past.length, 2 * config.lanAllowances.length);
        for (const { matches } of past) {
          const allowed = config.lanAllowances.some(
            ({ subnet, transport, ports }) =>
              matches.some(
                (match) =>
                  (match.kind === 'destination-subnet' || match.kind === 'source') &&
                  [renderSubnet(subnet), subnet.address].includes(match.subnet),
              ) &&
              matches.some(
                (match) =>
                  match.kind === 'transport' &&
                  match.transports.join() === transport &&
                  match.port !== undefined &&
                  'among' in match.port &&
                  match.port.among[0] === ports,
              ),
          );
          assert.ok(allowed, JSON.stringify(matches));
          assert.ok(matches.some(({ kind }) => kind === 'state'));
        }
        const ways = plan.rules.filter(({ to }) => to.kind === 'table' && to.table === tableIds.allowed);
        assert.equal(ways.length, 3 * config.lanAllowances.length);
        for (const { from, flow, preference } of ways) {
          assert.ok(flow !== undefined && preference < 100);
          assert.ok(from.kind === 'interface' && from.source !== undefined, 'of clients or the subnet alone');
        }
        for (const { flow, to } of plan.rules) {
          if (to.kind !== 'table' || to.table !== tableIds.allowed) assert.equal(flow, undefined);
        }
      }),
    );
  });

  it('is nothing by default, and nothing while the uplink has no IPv4', () => {
    fc.assert(
      fc.property(anyGiven, (given) => {
        const { lanAllowances: _, ...config } = given.config;
        const { ipv4: __, ...uplink } = given.facts.uplink;
        const without = [
          { ...given, config },
          { ...given, facts: { ...given.facts, uplink } },
        ];
        for (const context of without) {
          const plan = planRouter(context);
          assert.ok(!plan.routes.some(({ table }) => table === tableIds.allowed));
          assert.ok(!plan.rules.some(({ flow }) => flow !== undefined));
          assert.ok(!JSON.stringify(plan.ruleset).includes('allowed'));
        }
      }),
    );
  });
});
