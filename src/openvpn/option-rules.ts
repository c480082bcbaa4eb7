import { DROPPED_OPTIONS } from './dropped-options.ts';
import type { OptionRule } from './option-rule.ts';
import { PASSING_OPTIONS } from './passing-options.ts';
import { REFUSED_OPTIONS } from './refused-options.ts';

const TABLES: readonly Readonly<Record<string, OptionRule>>[] = [PASSING_OPTIONS, DROPPED_OPTIONS, REFUSED_OPTIONS];

const NAMES: readonly string[] = TABLES.flatMap((table) => Object.keys(table));

/** The rule for an option's name; undefined when no OpenVPN knows it. */
export function ruleOf(name: string): OptionRule | undefined {
  return TABLES.find((table) => Object.hasOwn(table, name))?.[name];
}

/** Every name that has a rule. */
export function knownOptions(): readonly string[] {
  return NAMES;
}

/** True for an option whose parameters may hold a secret, so that only its name may be shown. */
export function hidesParameters(name: string): boolean {
  return [
    'auth-token',
    'auth-token-user',
    'setenv',
    'setenv-safe',
    'http-proxy-user-pass',
    'http-proxy-option',
  ].includes(name);
}
