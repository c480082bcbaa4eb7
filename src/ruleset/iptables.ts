import { assertNever, UnderbridgeError } from '../errors.ts';
import { type IpFamily, renderSocket } from '../net/address.ts';
import type { OneOrMore } from '../one-or-more.ts';
import type { Chain, ConntrackState, Hook, IcmpType, Match, PortSpan, Rule, Ruleset, Table, Verdict } from './model.ts';

/**
 * A ruleset for kernels without nf_tables, table by table as iptables names them. Every chain of ours has the prefix
 * `ub-`, since a name may have 28 characters; the kernel's own chains get a jump to it at their head and, where the hook is closed, a DROP policy.
 */
export interface IptablesTable {
  readonly name: TableName;
  readonly chains: readonly {
    readonly name: string;
    /** In the words of `iptables-save`, so that a read-back can be compared. */
    readonly rules: readonly string[];
  }[];
  readonly hooks: readonly { readonly builtIn: string; readonly chain: string; readonly policy: 'ACCEPT' | 'DROP' }[];
}

export type TableName = 'filter' | 'raw' | 'mangle' | 'nat';

/** The filter table comes first: each table is a transaction of its own, and this one closes. */
const tableOrder: readonly TableName[] = ['filter', 'raw', 'mangle', 'nat'];

const prefix = 'ub-';

/**
 * Translates a ruleset for one address family. IPv6 gets what concerns loopback and what is dropped whole: the rest
 * speaks of IPv4 addresses, and the closed hooks drop it.
 */
export function translateRuleset(ruleset: Ruleset, family: IpFamily): readonly IptablesTable[] {
  const tables = ruleset.tables.filter((table) => table.family === 'inet' || table.family === 'ip');
  const chains = tables.flatMap((table) => table.chains.map((chain) => ({ table, chain })));
  const homeOf = new Map<string, TableName>();
  for (const { chain } of chains) if (chain.hook !== undefined) homeOf.set(chain.name, placeOf(chain.hook).table);
  return tableOrder.map((name) => {
    const here = chains
      .filter(({ chain }) => (homeOf.get(chain.name) ?? 'filter') === name)
      .map(({ table, chain }) => ({ table, chain, rules: chain.rules.filter((rule) => concerns(rule, family)) }))
      // A hook that holds nothing costs time, and IPv6's NAT table is not in every kernel.
      .filter(({ chain, rules }) => rules.length > 0 || chain.hook?.policy === 'drop');
    return {
      name,
      chains: here.flatMap(translateChain),
      hooks: here.flatMap(({ chain: { name: chain, hook } }) =>
        hook === undefined
          ? []
          : [
              {
                builtIn: placeOf(hook).builtIn,
                chain: `${prefix}${chain}`,
                policy: hook.policy === 'drop' ? 'DROP' : 'ACCEPT',
              } as const,
            ],
      ),
    };
  });
}

function placeOf(hook: Hook): { readonly table: TableName; readonly builtIn: string } {
  const builtIn = hook.at.toUpperCase();
  if (hook.type === 'nat') return { table: 'nat', builtIn };
  if (hook.priority === 'raw') return { table: 'raw', builtIn };
  // Before routing and after it, only mangle filters; after routing that is before NAT, not after it.
  return { table: hook.at === 'prerouting' || hook.at === 'postrouting' ? 'mangle' : 'filter', builtIn };
}

function translateChain({ table, chain, rules }: { table: Table; chain: Chain; rules: readonly Rule[] }) {
  const closing = chain.hook?.policy === 'drop' ? ['-j DROP'] : [];
  return [
    { name: `${prefix}${chain.name}`, rules: [...rules.flatMap((rule) => translateRule(rule, table)), ...closing] },
    ...rules.flatMap(listExclusions),
  ];
}

const loopbackOnly = (match: Match) =>
  (match.kind === 'in' || match.kind === 'out') && match.names.every((name) => name === 'lo');

function concerns({ when }: Rule, family: IpFamily): boolean {
  const isOnlyIpv6 = when.some((match) => match.kind === 'family' && match.family === 'ipv6');
  if (family === 'ipv4') return !isOnlyIpv6;
  return isOnlyIpv6 || (when.length > 0 && when.every(loopbackOnly));
}

/** iptables can say "not this address", but not "none of these": a chain of its own lets each of them return. */
function listExclusions(rule: Rule) {
  return rule.when.filter(isListExclusion).map(({ addresses }) => ({
    name: exclusionName(rule),
    rules: [
      ...addresses.map((address) => `-d ${address}/32 -j RETURN`),
      ...translateVerdict(rule).map(({ target }) => target),
    ],
  }));
}

function isListExclusion(match: Match): match is Extract<Match, { kind: 'destination' }> {
  return match.kind === 'destination' && match.negate === true && match.addresses.length > 1;
}

const exclusionName = ({ id }: Rule) => `${prefix}${id}`;

/** The words of one rule, by their place in what `iptables-save` prints. */
interface Words {
  readonly source?: string;
  readonly destination?: string;
  readonly in?: string;
  readonly out?: string;
  readonly protocol?: string;
  /** `-m` matches in the order they are given, which is the order they are listed in. */
  readonly matches?: readonly string[];
}

/** A rule of nftables with sets is several rules here: all combinations of its matches and its targets. */
function translateRule(rule: Rule, table: Table): readonly string[] {
  let variants: readonly Words[] = [{}];
  for (const match of rule.when) variants = combine(variants, translateMatch(match));
  if (rule.clampMss !== undefined) {
    variants = combine(variants, [{ protocol: 'tcp', matches: ['-m tcp --tcp-flags SYN,RST SYN'] }]);
  }
  const targets = rule.when.some(isListExclusion)
    ? [{ target: `-j ${exclusionName(rule)}` }]
    : translateVerdict(rule, table);
  return variants.flatMap((words) =>
    targets.map(({ target, ...more }) => renderWords({ words: merge(words, more), comment: rule.id, target })),
  );
}

function combine(variants: readonly Words[], choices: readonly Words[]): readonly Words[] {
  return variants.flatMap((words) => choices.map((choice) => merge(words, choice)));
}

function merge(one: Words, other: Words): Words {
  return { ...one, ...other, matches: [...(one.matches ?? []), ...(other.matches ?? [])] };
}

function renderWords({ words, comment, target }: { words: Words; comment: string; target: string }): string {
  return [
    words.source,
    words.destination,
    words.in,
    words.out,
    words.protocol && `-p ${words.protocol}`,
    ...(words.matches ?? []),
    `-m comment --comment ${comment}`,
    target,
  ]
    .filter(Boolean)
    .join(' ');
}

/** The choices that one match stands for. */
function translateMatch(match: Match): readonly Words[] {
  switch (match.kind) {
    case 'in':
      return match.names.map((name) => ({ in: `-i ${name}` }));
    case 'not-in':
      return [{ in: `! -i ${match.names[0]}` }];
    case 'out':
      return match.names.map((name) => ({ out: `-o ${name}` }));
    case 'family':
      return [{}];
    case 'source':
      return [{ source: `${match.negate ? '! ' : ''}-s ${withPrefix(match.subnet)}` }];
    case 'destination-subnet':
      return [{ destination: `-d ${withPrefix(match.subnet)}` }];
    case 'destination':
      // A list is excluded by a chain of its own.
      if (match.negate && match.addresses.length > 1) return [{}];
      return match.addresses.map((address) => ({ destination: `${match.negate ? '! ' : ''}-d ${address}/32` }));
    case 'transport':
      return match.transports.flatMap((protocol) =>
        portMatches(protocol, match.port).map((matches) => ({ protocol, matches })),
      );
    case 'tcp-opening':
      return [{ protocol: 'tcp', matches: ['-m tcp --tcp-flags FIN,SYN,RST,ACK SYN'] }];
    case 'icmp':
      return match.types.map((type) => ({ protocol: 'icmp', matches: [`-m icmp --icmp-type ${icmpNumbers[type]}`] }));
    case 'source-any':
    case 'icmpv6':
      // Plans have them for IPv6 beyond loopback only, which is refused before without nft.
      throw new TypeError('IPv6 takes nft');
    case 'state':
      return [{ matches: [`-m conntrack --ctstate ${stateList(match.states)}`] }];
    case 'was-dnated':
      return [{ matches: ['-m conntrack --ctstate DNAT'] }];
    case 'opened':
      return [{ matches: [`-m conntrack --ctorig${match.side === 'source' ? 'src' : 'dst'} ${match.subnet}`] }];
    case 'socket-uid':
      return [{ matches: [`-m owner --uid-owner ${match.uid}`] }];
    case 'not-unicast-to-us':
      return [{ matches: ['-m pkttype ! --pkt-type unicast'] }];
    case 'later-fragment':
    case 'arp-asks-outside':
    case 'arp-without':
    case 'connections-over':
      // Left out, it would widen its rule.
      throw new UnderbridgeError({
        code: 'UB_INTERNAL',
        message: `iptables cannot say ${match.kind}`,
        hint: 'this is a bug in Underbridge, please report it',
      });
    default:
      return assertNever(match);
  }
}

function withPrefix(subnet: string): string {
  return subnet.includes('/') ? subnet : `${subnet}/32`;
}

/** The matches of each rule that it takes. */
function portMatches(
  protocol: string,
  port: Extract<Match, { kind: 'transport' }>['port'],
): readonly (readonly string[])[] {
  if (port === undefined) return [[]];
  const numbers = 'among' in port ? port.among.map((span) => renderSpan(span, ':')) : [`${port.number}`];
  return numbers.map((number) => [`-m ${protocol} --${port.side === 'source' ? 'sport' : 'dport'} ${number}`]);
}

function renderSpan({ first, last }: PortSpan, between: string): string {
  return first === last ? `${first}` : `${first}${between}${last}`;
}

const icmpNumbers: Readonly<Record<IcmpType, number>> = {
  'destination-unreachable': 3,
  'echo-request': 8,
  'time-exceeded': 11,
};

/** The order in which `iptables-save` lists states. */
const stateOrder: readonly ConntrackState[] = ['invalid', 'new', 'related', 'established'];

function stateList(states: OneOrMore<ConntrackState>): string {
  const listed = stateOrder.filter((state) => states.includes(state));
  return listed.map((state) => state.toUpperCase()).join(',');
}

/** The targets that one verdict stands for, each with what it needs to be matched. */
function translateVerdict(rule: Rule, table?: Table): readonly (Words & { readonly target: string })[] {
  const { verdict } = rule;
  if (rule.clampMss !== undefined) {
    const size = rule.clampMss === 'path-mtu' ? '--clamp-mss-to-pmtu' : `--set-mss ${rule.clampMss}`;
    return [{ target: `-j TCPMSS ${size}` }];
  }
  if (verdict === undefined) return [];
  switch (verdict.kind) {
    case 'accept':
      return [{ target: '-j ACCEPT' }];
    case 'drop':
      return [{ target: '-j DROP' }];
    case 'reject':
      return [{ target: '-j REJECT --reject-with icmp-admin-prohibited' }];
    case 'reject-reset':
      return [{ target: '-j REJECT --reject-with tcp-reset' }];
    case 'jump':
      return [{ target: `-j ${prefix}${verdict.chain}` }];
    case 'masquerade':
      return [
        {
          target: `-j MASQUERADE${verdict.ports === undefined ? '' : ` --to-ports ${renderSpan(verdict.ports, '-')}`}`,
        },
      ];
    case 'dnat':
      return spreadTargets(verdict);
    case 'dnat-by-map':
      return forwardsOf(table, verdict.map);
    default:
      return assertNever(verdict);
  }
}

/** One target after the other: the first takes every n-th, the next every (n-1)-th of the rest, and so on. */
function spreadTargets({ targets, port }: Extract<Verdict, { kind: 'dnat' }>) {
  return targets.map((address, index) => {
    const left = targets.length - index;
    return {
      matches: left === 1 ? [] : [`-m statistic --mode nth --every ${left} --packet 0`],
      target: `-j DNAT --to-destination ${port === undefined ? address : renderSocket(address, port)}`,
    };
  });
}

function forwardsOf(table: Table | undefined, name: string) {
  const entries = table?.maps.find((map) => map.name === name)?.entries ?? [];
  return entries.map(({ transport, outsidePort, target, targetPort }) => ({
    protocol: transport,
    matches: [`-m ${transport} --dport ${outsidePort}`],
    target: `-j DNAT --to-destination ${target}:${targetPort}`,
  }));
}
