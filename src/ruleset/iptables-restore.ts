import type { IptablesTable, TableName } from './iptables.ts';

/** What `iptables-save` says of one table. */
export interface SavedTable {
  readonly policies: ReadonlyMap<string, string>;
  /** Rules of each chain, in order; a chain without rules has an empty list. */
  readonly chains: ReadonlyMap<string, readonly string[]>;
}

const ours = (chain: string) => chain.startsWith('ub-');

/** Reads the text of `iptables-save`, without counters. */
export function parseSave(text: string): ReadonlyMap<string, SavedTable> {
  const tables = new Map<string, { policies: Map<string, string>; chains: Map<string, string[]> }>();
  let table = { policies: new Map<string, string>(), chains: new Map<string, string[]>() };
  for (const line of text.split('\n')) {
    const [word = '', second = ''] = line.split(' ');
    if (line.startsWith('*')) {
      table = { policies: new Map(), chains: new Map() };
      tables.set(line.slice(1), table);
    } else if (line.startsWith(':')) {
      table.policies.set(word.slice(1), second);
      table.chains.set(word.slice(1), []);
    } else if (word === '-A') {
      table.chains.get(second)?.push(line.slice(`-A ${second} `.length));
    }
  }
  return tables;
}

/**
 * The input of `iptables-restore --noflush` that turns what is there into what is wanted. Only chains of ours are
 * declared, and so flushed; of the kernel's own chains it sets the policy and puts our jump first. Foreign rules and
 * chains are not named.
 */
export function renderRestore({
  wanted,
  saved,
}: {
  readonly wanted: readonly IptablesTable[];
  readonly saved: ReadonlyMap<string, SavedTable>;
}): string {
  return wanted.map((table) => renderTable(table, saved.get(table.name))).join('');
}

/**
 * The input of `iptables-restore --noflush` that takes away all that is ours: jumps, chains, and the closed policy of the
 * kernel's chains that they hung on. Empty when there is nothing.
 */
export function renderRemoval(saved: ReadonlyMap<string, SavedTable>): string {
  return [...saved].map(([name, table]) => renderTableRemoval(name, table)).join('');
}

function renderTableRemoval(name: string, table: SavedTable): string {
  const chains = [...table.chains.keys()];
  const own = chains.filter(ours);
  const hooks = chains.filter((chain) => !ours(chain) && jumpsToOurs(chain, table).length > 0);
  const lines = [
    ...hooks.filter((chain) => table.policies.get(chain) === 'DROP').map((chain) => `:${chain} ACCEPT [0:0]`),
    ...hooks.flatMap((chain) => jumpsToOurs(chain, table).map((rule) => `-D ${chain} ${rule}`)),
    ...own.map((chain) => `-F ${chain}`),
    ...own.map((chain) => `-X ${chain}`),
  ];
  return lines.length === 0 ? '' : `*${name}\n${lines.join('\n')}\nCOMMIT\n`;
}

function renderTable(table: IptablesTable, saved: SavedTable | undefined): string {
  const stale = staleChains(table, saved);
  const lines = [
    ...table.hooks.filter(({ policy }) => policy === 'DROP').map(({ builtIn }) => `:${builtIn} DROP [0:0]`),
    ...table.chains.map(({ name }) => `:${name} - [0:0]`),
    ...staleJumps(table, saved).map(({ chain, rule }) => `-D ${chain} ${rule}`),
    ...table.chains.flatMap(({ name, rules }) => rules.map((rule) => `-A ${name} ${rule}`)),
    ...table.hooks
      .filter((hook) => !isWellPlaced(hook, saved))
      .map(({ builtIn, chain }) => `-I ${builtIn} 1 -j ${chain}`),
    ...stale.map((name) => `-F ${name}`),
    ...stale.map((name) => `-X ${name}`),
  ];
  return lines.length === 0 ? '' : `*${table.name}\n${lines.join('\n')}\nCOMMIT\n`;
}

function staleChains({ chains }: IptablesTable, saved: SavedTable | undefined): readonly string[] {
  const wanted = new Set(chains.map(({ name }) => name));
  return [...(saved?.chains.keys() ?? [])].filter((name) => ours(name) && !wanted.has(name));
}

/** Jumps to our chains out of foreign ones, where they do not stand as they should: once, and first. */
function staleJumps({ hooks }: IptablesTable, saved: SavedTable | undefined) {
  const foreign = [...(saved?.chains.keys() ?? [])].filter((chain) => !ours(chain));
  return foreign
    .filter((chain) => !hooks.some((hook) => hook.builtIn === chain && isWellPlaced(hook, saved)))
    .flatMap((chain) => jumpsToOurs(chain, saved).map((rule) => ({ chain, rule })));
}

function isWellPlaced({ builtIn, chain }: IptablesTable['hooks'][number], saved: SavedTable | undefined): boolean {
  return saved?.chains.get(builtIn)?.[0] === `-j ${chain}` && jumpsToOurs(builtIn, saved).length === 1;
}

function jumpsToOurs(chain: string, saved: SavedTable | undefined): readonly string[] {
  return (saved?.chains.get(chain) ?? []).filter((rule) => ours(/(?:^| )-[jg] (\S+)$/.exec(rule)?.[1] ?? ''));
}

/** A rule, jump, policy or chain that is wanted and missing, or there and not wanted; one line each. */
export function compareSave({
  wanted,
  saved,
}: {
  readonly wanted: readonly IptablesTable[];
  readonly saved: ReadonlyMap<string, SavedTable>;
}): readonly { readonly kind: 'missing' | 'unexpected'; readonly table: TableName; readonly line: string }[] {
  return wanted.flatMap((table) => {
    const { name } = table;
    const seen = saved.get(name);
    const missing = (line: string) => ({ kind: 'missing', table: name, line }) as const;
    const unexpected = (line: string) => ({ kind: 'unexpected', table: name, line }) as const;
    return [
      ...table.hooks
        .filter(({ builtIn, policy }) => policy === 'DROP' && seen?.policies.get(builtIn) !== policy)
        .map(({ builtIn, policy }) => missing(`${builtIn} policy ${policy}`)),
      ...table.hooks
        .filter((hook) => !isWellPlaced(hook, seen))
        .map(({ builtIn, chain }) => missing(`${builtIn} -j ${chain}`)),
      ...staleJumps(table, seen).map(({ chain, rule }) => unexpected(`${chain} ${rule}`)),
      ...staleChains(table, seen).map((chain) => unexpected(chain)),
      ...table.chains.flatMap(({ name: chain, rules }) => {
        const there = seen?.chains.get(chain);
        if (there === undefined) return [missing(chain)];
        if (there.length === rules.length && there.every((rule, index) => rule === rules[index])) return [];
        const gone = rules.filter((rule) => !there.includes(rule)).map((rule) => missing(`${chain} ${rule}`));
        const added = there.filter((rule) => !rules.includes(rule)).map((rule) => unexpected(`${chain} ${rule}`));
        const all = [...gone, ...added];
        return all.length > 0 ? all : [unexpected(`${chain}: rules in another order or number`)];
      }),
    ];
  });
}
