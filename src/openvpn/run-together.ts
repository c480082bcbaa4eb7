import ipaddr from 'ipaddr.js';
import type { OptionLine } from './option-lexer.ts';
import { knownOptions, ruleOf } from './option-rules.ts';

/** Their values are free text, in which the name of an option is no accident. */
const FREE_TEXT = [
  'verify-x509-name',
  'static-challenge',
  'setenv',
  'setenv-safe',
  'pull-filter',
  'dhcp-option',
  'echo',
];

/**
 * The option that a lost line end glued to a number or an address of this one, `::1ping-restart`.
 *
 * OpenVPN may take such a line and lose the second option without a word.
 */
export function gluedInto(option: OptionLine): string | undefined {
  if (FREE_TEXT.includes(option.name)) return undefined;
  for (const word of option.parameters) {
    if (!/^[0-9a-f:].*[a-z0-9]$/i.test(word) || ipaddr.isValid(word)) continue;
    const found = knownOptions()
      .filter((name) => word.length > name.length && word.endsWith(name))
      .find((name) => isNumberOrAddress(word.slice(0, -name.length)));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The two options that one unknown name is made of, `nobindpersist-key`. */
export function joinedNames(name: string): readonly [string, string] | undefined {
  for (let cut = 2; cut <= name.length - 2; cut++) {
    const [left, right] = [name.slice(0, cut), name.slice(cut)];
    if (ruleOf(left) !== undefined && ruleOf(right) !== undefined) return [left, right];
  }
  return undefined;
}

function isNumberOrAddress(text: string): boolean {
  return /^\d+(?:\.\d+)?$/.test(text) || ipaddr.isValid(text) || ipaddr.isValidCIDR(text);
}
