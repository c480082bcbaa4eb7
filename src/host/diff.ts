import type { TableName } from '../ruleset/iptables.ts';
import type { SavedTable } from '../ruleset/iptables-restore.ts';
import { chainPrefix, type HostJump, type HostRules, type HostTable } from './rules.ts';

/** What turns the kernel's tables of one family into the wanted ones. */
export interface RuleChange {
  /** Input of `iptables-restore --noflush`; empty: nothing is to do. It names no chain but ours, and our jumps. */
  readonly restore: string;
  /** For people: one line for each rule, jump or chain that comes (`+`) or goes (`-`). */
  readonly lines: readonly string[];
  /** Translations that go or come: connections that were tracked with or without them are to be forgotten. */
  readonly translations: readonly Translation[];
}

export interface Translation {
  readonly change: 'gone' | 'new';
  readonly protocol: string;
  readonly port: number;
  /** Where it leads, without a port. */
  readonly target: string;
}

const tableNames: readonly TableName[] = ['mangle', 'filter', 'nat', 'raw'];
const isOurs = (chain: string) => chain.startsWith(chainPrefix);

/** Compares the wanted rules with what `iptables-save` says, and only that: nothing is remembered from before. */
export function compareRules({ tables }: HostRules, saved: ReadonlyMap<string, SavedTable>): RuleChange {
  const changes = tableNames.map((name) => {
    const wanted = tables.find((table) => table.name === name) ?? { name, chains: [], jumps: [] };
    return compareTable(wanted, saved.get(name)?.chains ?? new Map());
  });
  return {
    restore: changes.map(({ restore }) => restore).join(''),
    lines: changes.flatMap(({ lines }) => lines),
    translations: changes.flatMap(({ translations }) => translations),
  };
}

type Chains = SavedTable['chains'];

function compareTable({ name, chains, jumps }: HostTable, saved: Chains): RuleChange {
  const wanted = new Map(chains.map((chain) => [chain.name, chain.rules]));
  const changed = chains.filter((chain) => !isSame(saved.get(chain.name), chain.rules));
  const stale = [...saved.keys()].filter((chain) => isOurs(chain) && !wanted.has(chain));
  const foreign = [...new Set([...saved.keys(), ...jumps.map(({ from }) => from)])].filter((chain) => !isOurs(chain));
  const moves = foreign.flatMap((from) => compareJumps(from, saved.get(from) ?? [], jumps));
  const lines = [
    // First, so that no jump leads to a chain that is not there.
    ...changed.map((chain) => `:${chain.name} - [0:0]`),
    ...changed.flatMap((chain) => chain.rules.map((rule) => `-A ${chain.name} ${rule}`)),
    ...moves,
    ...stale.map((chain) => `-F ${chain}`),
    ...stale.map((chain) => `-X ${chain}`),
  ];
  const differences = [...changed.map((chain) => chain.name), ...stale].map((chain) =>
    subtract(chain, wanted.get(chain) ?? [], saved.get(chain) ?? []),
  );
  return {
    restore: lines.length === 0 ? '' : `*${name}\n${lines.join('\n')}\nCOMMIT\n`,
    lines: [
      ...differences.flatMap(({ gone, come }) => [
        ...gone.map((rule) => `- ${name} ${rule}`),
        ...come.map((rule) => `+ ${name} ${rule}`),
      ]),
      ...moves.map((line) => `${line.startsWith('-D') ? '-' : '+'} ${name} ${line.slice(3)}`),
    ],
    translations: differences.length === 0 ? [] : compareTranslations(saved, wanted),
  };
}

function subtract(chain: string, wanted: readonly string[], there: readonly string[]) {
  const [before, after] = [new Set(there), new Set(wanted)];
  return {
    gone: there.filter((rule) => !after.has(rule)).map((rule) => `${chain} ${rule}`),
    come: wanted.filter((rule) => !before.has(rule)).map((rule) => `${chain} ${rule}`),
  };
}

/** Puts our jumps of one foreign chain into their places; nothing if they stand there already. */
function compareJumps(from: string, there: readonly string[], all: readonly HostJump[]): readonly string[] {
  const jumps = all.filter((jump) => jump.from === from);
  const spell = ({ when, to }: HostJump) => `${when === undefined ? '' : `${when} `}-j ${to}`;
  const first = jumps.filter(({ place }) => place === 'first').map(spell);
  const last = jumps.filter(({ place }) => place === 'last').map(spell);
  const others = there.filter((rule) => !leadsToUs(rule));
  const tail = others.length - trailingReturns(others);
  const wanted = [...first, ...others.slice(0, tail), ...last, ...others.slice(tail)];
  if (isSame(there, wanted)) return [];
  return [
    ...there.filter(leadsToUs).map((rule) => `-D ${from} ${rule}`),
    ...first.map((rule, index) => `-I ${from} ${index + 1} ${rule}`),
    ...last.map((rule, index) => `-I ${from} ${first.length + tail + index + 1} ${rule}`),
  ];
}

/** Comments of others may say anything. */
const quoted = /"(?:[^"\\]|\\.)*"/g;

function leadsToUs(rule: string): boolean {
  return isOurs(/(?:^| )-[jg] (\S+)/.exec(rule.replace(quoted, '""'))?.[1] ?? '');
}

function trailingReturns(rules: readonly string[]): number {
  const last = rules.findLastIndex((rule) => rule !== '-j RETURN');
  return rules.length - 1 - last;
}

function isSame(there: readonly string[] | undefined, wanted: readonly string[]): boolean {
  return there?.length === wanted.length && wanted.every((rule, index) => rule === there[index]);
}

/** A rule that only says it otherwise, say for one more interface, leaves what was tracked by it as it is. */
function compareTranslations(saved: Chains, wanted: Chains): readonly Translation[] {
  const [before, after] = [saved, wanted].map(
    (chains) =>
      new Map(
        [...chains]
          .filter(([chain]) => isOurs(chain))
          .flatMap(([, rules]) => rules.flatMap(parseTranslation))
          .map((one) => [JSON.stringify(one), one]),
      ),
  );
  const beyond = (one: typeof before, other: typeof before, change: Translation['change']) =>
    [...(one ?? [])].flatMap(([key, translation]) => (other?.has(key) ? [] : [{ change, ...translation }]));
  return [...beyond(before, after, 'gone'), ...beyond(after, before, 'new')];
}

function parseTranslation(rule: string): readonly Omit<Translation, 'change'>[] {
  // Most rules are none, and the pattern below takes its time to find that out.
  if (!rule.includes('--to-destination')) return [];
  const found = /(?:^| )-p (\w+) .*--dport (\d+) .*--to-destination \[?([0-9a-f.:]+?)\]?:\d+$/.exec(rule);
  if (found === null) return [];
  const [, protocol = '', port = '', target = ''] = found;
  return [{ protocol, port: Number(port), target }];
}
