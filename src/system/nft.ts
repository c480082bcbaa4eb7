import { UnderbridgeError } from '../errors.ts';
import { renderNftChange } from '../ruleset/change.ts';
import type { Ruleset, Table } from '../ruleset/model.ts';
import { renderNft } from '../ruleset/nft.ts';
import { run } from './exec.ts';

/** Loads all tables of a ruleset in one transaction. @throws UnderbridgeError UB_EXEC; the kernel then keeps the old. */
export async function applyRuleset(ruleset: Ruleset): Promise<void> {
  await run({ file: 'nft', args: ['-f', '-'], input: renderNft(ruleset) });
}

/** Turns a ruleset that the kernel holds into another one, in one transaction. @throws UnderbridgeError UB_EXEC */
export async function changeRuleset(from: Ruleset, to: Ruleset): Promise<void> {
  const input = renderNftChange(from, to);
  if (input !== '') await run({ file: 'nft', args: ['-f', '-'], input });
}

/** Lets the kernel check a ruleset without loading it; undefined when it takes it, else what it says. */
export async function checkRuleset(ruleset: Ruleset): Promise<string | undefined> {
  try {
    await run({ file: 'nft', args: ['-c', '-f', '-'], input: renderNft(ruleset) });
    return undefined;
  } catch (error) {
    if (error instanceof UnderbridgeError) return error.message;
    throw error;
  }
}

/** The kernel's listing of each table of a ruleset; a table that is not there is an empty text. */
export async function observeTables(
  ruleset: Ruleset,
): Promise<readonly { readonly desired: Table; readonly listing: string }[]> {
  // One process for all, with tables of others: nft 1.0.6 finds only the last family when one input lists tables of two.
  const all = await run({ file: 'nft', args: ['-s', 'list', 'ruleset'] });
  const listings = new Map([...all.matchAll(/^table (\w+ \S+) \{\n.*?^\}$/gms)].map(([text, name]) => [name, text]));
  return ruleset.tables.map((desired) => ({
    desired,
    listing: listings.get(`${desired.family} ${desired.name}`) ?? '',
  }));
}
