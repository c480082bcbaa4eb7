import { existsSync, readFileSync } from 'node:fs';
import { UnderbridgeError } from '../errors.ts';
import { findBackend } from '../host/backend.ts';
import type { RuleChange } from '../host/diff.ts';
import type { Family } from '../host/resource.ts';
import type { Backend } from '../host/snapshot.ts';
import { parseSave, type SavedTable } from '../ruleset/iptables-restore.ts';
import { run } from './exec.ts';

type Saved = ReadonlyMap<string, SavedTable>;

/** Rules of both programs of iptables, by family; a family that the kernel does not have is absent. */
export interface ObservedRules {
  readonly backend: Backend;
  readonly saved: Readonly<Record<Backend, Readonly<Partial<Record<Family, Saved>>>>>;
}

/**
 * Reads the rules of the machine: one process for each family and program that has any, never one for each rule.
 * @param wanted the user's choice; absent: where Docker's chains are
 * @throws UnderbridgeError UB_CONFIG when Docker's chains are in both, UB_EXEC
 */
export async function observeRules(wanted: Backend | undefined): Promise<ObservedRules> {
  const hasIpv6 = existsSync('/proc/net/if_inet6');
  const read = async (backend: Backend): Promise<Partial<Record<Family, Saved>>> => {
    const [ipv4, ipv6] = await Promise.all([save(backend, 'ipv4'), hasIpv6 ? save(backend, 'ipv6') : undefined]);
    return { ipv4, ...(ipv6 === undefined ? {} : { ipv6 }) };
  };
  const [nft, legacy] = await Promise.all([read('nft'), read('legacy')]);
  const nothing: Saved = new Map();
  const backend = wanted ?? findBackend({ nft: nft.ipv4 ?? nothing, legacy: legacy.ipv4 ?? nothing });
  if (backend !== 'ambiguous') return { backend, saved: { nft, legacy } };
  throw new UnderbridgeError({
    code: 'UB_CONFIG',
    message: "Docker's chains are in both iptables-nft and iptables-legacy",
    hint: 'set `firewall: nft` or `firewall: legacy` in the host file to what Docker uses now, or restart the machine',
  });
}

/**
 * Makes a change; each table is one transaction and one process. One that fails, say since this kernel does not have it,
 * keeps none of the others. @throws UnderbridgeError UB_EXEC, the first of them
 */
export async function applyRules(backend: Backend, family: Family, { restore }: RuleChange): Promise<void> {
  const failures: UnderbridgeError[] = [];
  for (const input of restore.split(/^(?=\*)/m).filter((table) => table !== '')) {
    try {
      await run({ file: tool(backend, family, 'restore'), args: ['--wait', '5', '--noflush'], input });
    } catch (error) {
      if (!(error instanceof UnderbridgeError)) throw error;
      failures.push(error);
    }
  }
  const [first] = failures;
  if (first !== undefined) throw first;
}

function tool(backend: Backend, family: Family, verb: 'save' | 'restore'): string {
  return `${family === 'ipv6' ? 'ip6tables' : 'iptables'}-${backend}-${verb}`;
}

async function save(backend: Backend, family: Family): Promise<Saved> {
  if (backend === 'legacy' && !hasLegacyTables(family)) return new Map();
  return parseSave(await run({ file: tool(backend, family, 'save'), args: [] }));
}

/** Asking iptables-legacy itself would load its modules where nobody uses them. */
function hasLegacyTables(family: Family): boolean {
  const file = family === 'ipv6' ? '/proc/net/ip6_tables_names' : '/proc/net/ip_tables_names';
  try {
    return readFileSync(file, 'utf8').trim() !== '';
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false;
    throw error;
  }
}
