import { existsSync } from 'node:fs';
import { UnderbridgeError } from '../errors.ts';
import type { IpFamily } from '../net/address.ts';
import type { Firewall } from '../plan/facts.ts';
import { arpTable, egressTable, filterTable, natTable } from '../plan/lockdown.ts';
import { translateRuleset } from '../ruleset/iptables.ts';
import { compareSave, parseSave, renderRemoval, renderRestore, type SavedTable } from '../ruleset/iptables-restore.ts';
import type { Ruleset } from '../ruleset/model.ts';
import { run } from './exec.ts';

export type Iptables = Exclude<Firewall, 'nft'>;

/** IPv6 first, which is closed in every state; a kernel without it needs no rules for it. */
function families(): readonly IpFamily[] {
  return existsSync('/proc/net/if_inet6') ? ['ipv6', 'ipv4'] : ['ipv4'];
}

/**
 * Loads a ruleset; each table is one transaction. What the entrypoint
 * loaded by nft is taken away afterwards, so that there is no moment without a lock.
 * @throws UnderbridgeError UB_EXEC
 */
export async function applyByIptables(backend: Iptables, ruleset: Ruleset): Promise<void> {
  for (const family of families()) {
    const input = renderRestore({ wanted: translateRuleset(ruleset, family), saved: await save(backend, family) });
    await run({ file: tool(backend, family, 'restore'), args: ['--noflush', ...waiting(backend)], input });
  }
  // Declared first, so that the delete cannot fail for want of them. Without nf_tables or nft there are none.
  const core = [`inet ${filterTable}`, `ip ${natTable}`, `ip6 ${natTable}`];
  const removal = (tables: readonly string[]) =>
    tables.map((table) => `table ${table}\ndelete table ${table}\n`).join('');
  const all = [...core, `netdev ${egressTable}`, `arp ${arpTable}`];
  const problem = await refusal('nft', ['-f', '-'], removal(all));
  // A kernel that has not all families has none of the last two tables.
  if (problem !== undefined) await refusal('nft', ['-f', '-'], removal(core));
}

/** Takes away what is ours in a backend; true when there was something. @throws UnderbridgeError UB_EXEC */
export async function removeFromIptables(backend: Iptables): Promise<boolean> {
  let hasRemoved = false;
  for (const family of families()) {
    const input = renderRemoval(await save(backend, family));
    if (input === '') continue;
    await run({ file: tool(backend, family, 'restore'), args: ['--noflush', ...waiting(backend)], input });
    hasRemoved = true;
  }
  return hasRemoved;
}

/** What the kernel holds otherwise than the ruleset, one text each. */
export async function findIptablesDrift(backend: Iptables, ruleset: Ruleset): Promise<readonly string[]> {
  const found = await Promise.all(
    families().map(async (family) => {
      const wanted = translateRuleset(ruleset, family);
      return compareSave({ wanted, saved: await save(backend, family) }).map(
        ({ kind, table, line }) => `${kind} in ${family} ${table}: ${line}`,
      );
    }),
  );
  return found.flat();
}

/** Lets the kernel check a ruleset without loading it; undefined when it takes it, else what the program says. */
export async function checkByIptables(backend: Iptables, ruleset: Ruleset): Promise<string | undefined> {
  for (const family of families()) {
    const input = renderRestore({ wanted: translateRuleset(ruleset, family), saved: new Map() });
    const problem = await refusal(tool(backend, family, 'restore'), ['--test', '--noflush'], input);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

async function refusal(file: string, args: readonly string[], input: string): Promise<string | undefined> {
  try {
    await run({ file, args, input });
    return undefined;
  } catch (error) {
    if (error instanceof UnderbridgeError) return error.message;
    throw error;
  }
}

async function save(backend: Iptables, family: IpFamily): Promise<ReadonlyMap<string, SavedTable>> {
  return parseSave(await run({ file: tool(backend, family, 'save'), args: [] }));
}

function tool(backend: Iptables, family: IpFamily, verb: 'save' | 'restore'): string {
  return `${family === 'ipv6' ? backend.replace('ip', 'ip6') : backend}-${verb}`;
}

/** Only the legacy backend has a lock to wait for. */
function waiting(backend: Iptables): readonly string[] {
  return backend === 'iptables-legacy' ? ['--wait', '5'] : [];
}
