import type { SavedTable } from '../ruleset/iptables-restore.ts';
import { chainPrefix } from './rules.ts';
import type { Backend } from './snapshot.ts';

type Saved = ReadonlyMap<string, SavedTable>;

/**
 * Whose chains Docker uses. Both programs of iptables work in one kernel, and packets meet the rules of both; but ours
 * have to stand in Docker's own chains. `ambiguous`: Docker's chains are in both, say after a change of the machine's
 * alternative without a restart of the machine.
 */
export function findBackend(saved: Readonly<Record<Backend, Saved>>): Backend | 'ambiguous' {
  const [nft, legacy] = [hasDocker(saved.nft), hasDocker(saved.legacy)];
  if (nft && legacy) return 'ambiguous';
  if (nft || legacy) return nft ? 'nft' : 'legacy';
  // With `--iptables=false` there are none: then where everybody else's rules are.
  return hasRules(saved.legacy) && !hasRules(saved.nft) ? 'legacy' : 'nft';
}

function hasDocker(saved: Saved): boolean {
  return [...saved.values()].some(({ chains }) => chains.has('DOCKER-USER') || (chains.get('DOCKER')?.length ?? 0) > 0);
}

function hasRules(saved: Saved): boolean {
  return [...saved.values()].some(({ chains }) =>
    [...chains].some(([name, rules]) => !name.startsWith(chainPrefix) && rules.length > 0),
  );
}
