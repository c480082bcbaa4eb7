import type { Part } from './render.ts';
import type { BridgeBase } from './resource.ts';
import { chainPrefix } from './rules.ts';
import { isKnown, renderRule, type Words } from './words.ts';

const chain = (name: string) => `${chainPrefix}${name}`;
const ofBridges = { place: '', id: 'bridges' };

/**
 * What Docker's own chains would hold for these bridges, in the same order: the user's rules, isolation between bridges,
 * answers, what containers send; and at the end nothing that is not published.
 * @param userChain a chain of the user's that nothing leads to but this
 */
export function renderBridgeFilter(bases: readonly BridgeBase[], userChain: string | undefined): readonly Part[] {
  if (bases.length === 0) return [];
  const open = bases.filter(({ isInternal }) => !isInternal);
  return [
    {
      chain: chain('BRIDGES'),
      rules: [
        ...(userChain === undefined ? [] : [renderRule({ target: userChain }, ofBridges)]),
        ...open.map(({ bridge, origin }) =>
          renderRule({ in: bridge, notOut: bridge, target: chain('BETWEEN') }, origin),
        ),
        ...bases.flatMap(renderBase),
      ],
    },
    {
      chain: chain('BETWEEN'),
      rules:
        open.length === 0 ? [] : bases.map(({ bridge, origin }) => renderRule({ out: bridge, target: 'DROP' }, origin)),
    },
  ];
}

function renderBase({ bridge, isInternal, interContainer, origin }: BridgeBase): readonly string[] {
  const rule = (words: Words) => renderRule(words, origin);
  return [
    ...(isInternal ? [] : [rule({ out: bridge, matches: [isKnown], target: 'ACCEPT' })]),
    rule({ in: bridge, notOut: bridge, target: isInternal ? 'DROP' : 'ACCEPT' }),
    rule({ in: bridge, out: bridge, target: interContainer ? 'ACCEPT' : 'DROP' }),
    rule({ notIn: bridge, out: bridge, target: 'DROP' }),
  ];
}

/** Containers go out with this machine's address. */
export function renderBridgeNat(bases: readonly BridgeBase[]): readonly Part[] {
  const rules = bases
    .filter(({ isInternal, masquerade }) => masquerade && !isInternal)
    .flatMap(({ bridge, subnets, origin }) =>
      subnets.map((source) => renderRule({ source, notOut: bridge, target: 'MASQUERADE' }, origin)),
    );
  return [{ chain: chain('POSTROUTING'), rules }];
}
