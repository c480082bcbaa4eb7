// Needs root and both backends of iptables: rulesets are loaded in a network namespace of their own.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import fc from 'fast-check';
import type { IpFamily } from '../../src/net/address.ts';
import { planRouter } from '../../src/plan/router.ts';
import { translateRuleset } from '../../src/ruleset/iptables.ts';
import { compareSave, parseSave, renderRestore } from '../../src/ruleset/iptables-restore.ts';
import type { Ruleset } from '../../src/ruleset/model.ts';
import { anyClosedPolicy, anyContext, anyForwardPolicy, anyLanAllowances } from '../unit/plan/any-context.ts';
import { makeNamespace, type Namespace, removeNamespace } from './lab/namespace.ts';

for (const backend of ['legacy', 'nft'] as const) {
  describe(`iptables-${backend}`, () => {
    let ns: Namespace;
    before(async () => {
      ns = await makeNamespace(`ub-ipt-${backend}-${process.pid}`);
    });
    after(() => removeNamespace(ns));

    const tool = (family: IpFamily, verb: 'save' | 'restore') =>
      `${family === 'ipv6' ? 'ip6' : 'ip'}tables-${backend}-${verb}`;
    const save = async (family: IpFamily) => parseSave(await ns.run(tool(family, 'save')));
    const load = async (ruleset: Ruleset) => {
      for (const family of ['ipv4', 'ipv6'] as const) {
        const input = renderRestore({ wanted: translateRuleset(ruleset, family), saved: await save(family) });
        await execa('ip', ['netns', 'exec', ns.name, tool(family, 'restore'), '--noflush'], { input });
      }
    };
    const drift = async (ruleset: Ruleset) => {
      const found = await Promise.all(
        (['ipv4', 'ipv6'] as const).map(async (family) =>
          compareSave({ wanted: translateRuleset(ruleset, family), saved: await save(family) }),
        ),
      );
      return found.flat().map(({ kind, table, line }) => `${kind} in ${table}: ${line}`);
    };

    it('takes any ruleset in place of any other, and lists it as it was written', async () => {
      const anyPolicy = fc.oneof(anyClosedPolicy, anyForwardPolicy);
      await fc.assert(
        fc.asyncProperty(anyContext(anyPolicy), anyLanAllowances, async (given, lanAllowances) => {
          const { ruleset } = planRouter({
            ...given,
            config: { ...given.config, lanAllowances },
            facts: { ...given.facts, firewall: `iptables-${backend}`, extras: [], canRejectBeforeRouting: false },
          });
          await load(ruleset);
          assert.deepEqual(await drift(ruleset), []);
        }),
        { numRuns: 15 },
      );
    });
  });
}
