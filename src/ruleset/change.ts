import type { Chain, DnatMap, Ruleset, Table } from './model.ts';
import { renderElement, renderKey, renderReplacement, renderRule } from './nft.ts';

/**
 * Renders what turns one ruleset into another as one nft transaction: of a map only the elements that differ, of a chain
 * all its rules. A table that has other maps, sets or chains is made anew. Empty when nothing differs.
 */
export function renderNftChange(from: Ruleset, to: Ruleset): string {
  const before = new Map(from.tables.map((table) => [nameOf(table), table]));
  return to.tables
    .map((table) => {
      const old = before.get(nameOf(table));
      return old !== undefined && shapeOf(old) === shapeOf(table) ? renderInside(old, table) : renderReplacement(table);
    })
    .join('');
}

function renderInside(from: Table, to: Table): string {
  const name = nameOf(to);
  const maps = to.maps.map((map, index) => renderElements(name, from.maps[index]?.entries ?? [], map));
  const chains = to.chains.map((chain, index) => renderRules(name, from.chains[index]?.rules ?? [], chain));
  return [...maps, ...chains].join('');
}

/** Elements that go come first: one key may have another target. */
function renderElements(table: string, entries: DnatMap['entries'], { name, entries: wanted }: DnatMap): string {
  const [before, after] = [new Set(entries.map(renderElement)), new Set(wanted.map(renderElement))];
  const gone = entries.filter((entry) => !after.has(renderElement(entry))).map(renderKey);
  const come = [...after].filter((element) => !before.has(element));
  const command = (verb: 'add' | 'delete', elements: readonly string[]) =>
    elements.length === 0 ? '' : `${verb} element ${table} ${name} { ${elements.join(', ')} }\n`;
  return command('delete', gone) + command('add', come);
}

function renderRules(table: string, rules: Chain['rules'], { name, rules: wanted }: Chain): string {
  const lines = wanted.map(renderRule);
  if (rules.length === lines.length && rules.every((rule, index) => renderRule(rule) === lines[index])) return '';
  return [`flush chain ${table} ${name}\n`, ...lines.map((line) => `add rule ${table} ${name} ${line}\n`)].join('');
}

function nameOf({ family, name }: Table): string {
  return `${family} ${name}`;
}

/** All of a table but rules and elements. */
function shapeOf({ maps, sets = [], chains }: Table): string {
  return JSON.stringify([maps.map(({ name }) => name), sets, chains.map(({ name, hook }) => [name, hook])]);
}
