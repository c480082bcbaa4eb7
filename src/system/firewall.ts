import { existsSync } from 'node:fs';
import { assertNever } from '../errors.ts';
import type { Firewall } from '../plan/facts.ts';
import { arpTable, egressTable, filterTable, natTable } from '../plan/lockdown.ts';
import type { Plan } from '../plan/plan.ts';
import { compareTable } from '../ruleset/drift.ts';
import type { Chain, Ruleset } from '../ruleset/model.ts';
import { applyByIptables, checkByIptables, findIptablesDrift, type Iptables, removeFromIptables } from './iptables.ts';
import { applyRuleset, changeRuleset, checkRuleset, observeTables } from './nft.ts';

type Rules = Pick<Plan, 'firewall' | 'ruleset'>;

/** Loads the ruleset of a plan. @throws UnderbridgeError UB_EXEC */
export async function applyFirewall({ firewall, ruleset }: Rules): Promise<void> {
  return firewall === 'nft' ? applyRuleset(possibleRuleset(ruleset)) : applyByIptables(firewall, ruleset);
}

/** Turns the ruleset of a plan that is held into another one. @throws UnderbridgeError UB_EXEC */
export async function changeFirewall(from: Rules, to: Rules): Promise<void> {
  if (to.firewall !== 'nft') return applyByIptables(to.firewall, to.ruleset);
  return changeRuleset(possibleRuleset(from.ruleset), possibleRuleset(to.ruleset));
}

/**
 * A chain at egress needs its device (before Linux 6.16): while Docker has taken the uplink away, the rest has to be
 * loaded all the same.
 */
function possibleRuleset({ tables }: Ruleset): Ruleset {
  return { tables: tables.map((table) => ({ ...table, chains: table.chains.filter(isPossible) })) };
}

function isPossible({ hook }: Chain): boolean {
  return hook?.device === undefined || existsSync(`/sys/class/net/${hook.device}`);
}

/** The nf_tables tables that hold a firewall; of iptables-legacy the kernel tells no changes. */
export function watchedTables(firewall: Firewall): ReadonlySet<string> {
  switch (firewall) {
    case 'nft':
      return new Set([filterTable, natTable, egressTable, arpTable]);
    case 'iptables-nft':
      return new Set(['filter', 'raw', 'mangle', 'nat']);
    case 'iptables-legacy':
      return new Set();
    default:
      return assertNever(firewall);
  }
}

const backends: readonly Iptables[] = ['iptables-legacy', 'iptables-nft'];

/**
 * Takes away the rules that a run with another FIREWALL left in this namespace. To be called when those of this one are
 * confirmed. (Those of nft go with every load by iptables.) @returns the programs whose rules were there
 * @throws UnderbridgeError UB_EXEC
 */
export async function removeOtherFirewalls(firewall: Firewall): Promise<readonly Firewall[]> {
  const removed: Firewall[] = [];
  for (const backend of backends) {
    if (backend !== firewall && (await removeFromIptables(backend))) removed.push(backend);
  }
  return removed;
}

const mostShown = 200;

/** Whatever the kernel's tables hold otherwise than the plan says, one text each. */
export async function findFirewallDrift({ firewall, ruleset }: Rules): Promise<readonly string[]> {
  const lines =
    firewall === 'nft'
      ? // Without its device, a chain is gone or waits for it, as the kernel likes.
        (await observeTables({ tables: ruleset.tables.filter(({ chains }) => chains.every(isPossible)) }))
          .flatMap(compareTable)
          .map(({ kind, table, line }) => `${kind} in ${table}: ${line}`)
      : await findIptablesDrift(firewall, ruleset);
  // Somebody else's rule can be as long as he likes.
  return lines.map((line) => (line.length > mostShown ? `${line.slice(0, mostShown)}…` : line));
}

/** Lets the kernel check a ruleset without loading it; undefined when it takes it, else what the program says. */
export async function checkFirewall({ firewall, ruleset }: { readonly firewall: Firewall; readonly ruleset: Ruleset }) {
  return firewall === 'nft' ? checkRuleset(ruleset) : checkByIptables(firewall, ruleset);
}
