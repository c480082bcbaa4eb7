import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { planRouter } from '../../../src/plan/router.ts';
import { anyClosedPolicy, anyContext, anyForwardPolicy } from './any-context.ts';
import { chainsOf, rulesOf } from './rule-paths.ts';
import { context } from './scenarios.ts';

const anyPlan = anyContext(fc.oneof(anyClosedPolicy, anyForwardPolicy)).map(planRouter);

describe('counting of refused clients', () => {
  it('has no part in the verdict: a rule that counts has none, because a full set breaks a rule off', () => {
    fc.assert(
      fc.property(anyPlan, ({ ruleset }) => {
        const counting = rulesOf(ruleset).filter(({ count }) => count !== undefined);
        assert.ok(counting.length >= 4);
        for (const { verdict, clampMss } of counting) assert.deepEqual([verdict, clampMss], [undefined, undefined]);
      }),
    );
  });

  it('is followed in its chain by a refusal of everything that was refused before', () => {
    fc.assert(
      fc.property(anyPlan, ({ ruleset }) => {
        for (const { name, rules } of chainsOf(ruleset)) {
          if (!rules.some(({ count }) => count !== undefined)) continue;
          const [count, refuse, ...more] = rules;
          assert.ok(count?.count !== undefined && refuse?.verdict !== undefined && more.length === 0, name);
          assert.match(refuse.verdict.kind, /^(drop|reject|reject-reset)$/);
          // A reset needs TCP, and only openings of TCP come here.
          const jump = rulesOf(ruleset).find(({ verdict }) => verdict?.kind === 'jump' && verdict.chain === name);
          const isTcp = jump?.when.some(({ kind }) => kind === 'tcp-opening') ?? false;
          assert.deepEqual(refuse.when, isTcp ? [{ kind: 'transport', transports: ['tcp'] }] : []);
        }
      }),
    );
  });

  it('blames no client for what others send, nor for a forged source', () => {
    const counted = rulesOf(planRouter(context()).ruleset).flatMap(({ id }) => /^count-\d+-(.*)$/.exec(id)?.[1] ?? []);
    assert.deepEqual(counted, [
      'early-lan-frames',
      'in-lan-reset',
      'in-lan-refuse',
      'forward-invalid',
      'forward-refuse',
      'outbound-foreign-dns',
      'outbound-foreign-dot',
    ]);
  });

  it('is left out where iptables loads the rules', () => {
    const { ruleset } = planRouter(context({ seen: { firewall: 'iptables-legacy' } }));
    assert.ok(rulesOf(ruleset).every(({ count, id }) => count === undefined && !id.startsWith('refuse-f')));
  });
});
