import type { Chain, Hook, Match, Rule, Ruleset, Verdict } from '../../../src/ruleset/model.ts';

/** A rule with all that a packet has to match on the way to it, its own matches last. */
export interface RulePath {
  readonly rule: Rule;
  readonly matches: readonly Match[];
}

export function chainsOf(ruleset: Ruleset): readonly Chain[] {
  return ruleset.tables.flatMap(({ chains }) => chains);
}

export function rulesOf(ruleset: Ruleset): readonly Rule[] {
  return chainsOf(ruleset).flatMap(({ rules }) => rules);
}

/** The rule with this id, if the ruleset has it. */
export function ruleOf(ruleset: Ruleset, id: string): Rule | undefined {
  return rulesOf(ruleset).find((rule) => rule.id === id);
}

/** What a rule that counts whom it refuses does in the end. */
export function refusalOf(ruleset: Ruleset, id: string): Verdict | undefined {
  return ruleOf(ruleset, `refuse-${id}`)?.verdict;
}

/** Every rule that a packet at this hook can meet, by whatever jumps. */
export function pathsAt(ruleset: Ruleset, at: Hook['at']): readonly RulePath[] {
  return ruleset.tables.flatMap(({ chains }) =>
    chains.filter(({ hook }) => hook?.at === at).flatMap((chain) => follow({ chain, chains, matches: [] })),
  );
}

/** The paths whose end lets a packet pass. */
export function acceptsAt(ruleset: Ruleset, at: Hook['at']): readonly RulePath[] {
  return pathsAt(ruleset, at).filter(({ rule }) => rule.verdict?.kind === 'accept');
}

/** The names of interfaces that a path asks for in one direction. */
export function namesOn({ matches }: RulePath, direction: 'in' | 'out'): readonly string[] {
  return matches.flatMap((match) => (match.kind === direction ? match.names : []));
}

function follow({
  chain,
  chains,
  matches,
}: {
  readonly chain: Chain;
  readonly chains: readonly Chain[];
  readonly matches: readonly Match[];
}): readonly RulePath[] {
  return chain.rules.flatMap((rule) => {
    const path = { rule, matches: [...matches, ...rule.when] };
    const { verdict } = rule;
    if (verdict?.kind !== 'jump') return [path];
    const target = chains.find(({ name }) => name === verdict.chain);
    if (target === undefined) throw new Error(`${rule.id} jumps to ${verdict.chain}, which is not there`);
    return [path, ...follow({ chain: target, chains, matches: path.matches })];
  });
}
