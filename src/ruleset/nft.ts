import { assertNever } from '../errors.ts';
import { familyOf, type Ip, type IpFamily, isIpv4, renderSocket, toNumber } from '../net/address.ts';
import type { OneOrMore } from '../one-or-more.ts';
import type {
  Chain,
  ConntrackState,
  DnatEntry,
  DnatMap,
  Hook,
  IcmpType,
  Icmpv6Type,
  Match,
  PacketSet,
  PortSpan,
  Rule,
  Ruleset,
  Table,
  Verdict,
} from './model.ts';

/**
 * Renders a ruleset as one nft transaction: each table is added (so that the delete cannot fail), deleted and made
 * anew, which the kernel swaps in as a whole. The text is what `nft -s list table` prints, so that a read-back can be
 * compared with it.
 */
export function renderNft(ruleset: Ruleset): string {
  return ruleset.tables.map(renderReplacement).join('\n');
}

/** Renders the making of one table anew. */
export function renderReplacement(table: Table): string {
  const head = `table ${table.family} ${table.name}`;
  return `${head}\ndelete ${head}\n${renderTable(table)}`;
}

/** Renders one table as nft lists it. */
export function renderTable(table: Table): string {
  const parts = [
    ...(table.sets ?? []).map(renderSet),
    ...table.maps.map((map) => renderMap(map, table)),
    ...table.chains.map(renderChain),
  ];
  return `table ${table.family} ${table.name} {\n${parts.join('\n')}}\n`;
}

function renderSet({ name, family, key, mostElements }: PacketSet): string {
  // What nft 1.1.3 writes of a set of plain `type ipv4_addr`, nft 1.0.6 ends at with a segmentation fault.
  const type = key === 'source' ? `typeof ${family === 'ipv4' ? 'ip' : 'ip6'} saddr` : `type ${family}_addr . mark`;
  return `\tset ${name} {\n\t\t${type}\n\t\tsize ${mostElements}\n\t\tflags dynamic\n\t}\n`;
}

function renderMap(map: DnatMap, { family }: Table): string {
  const elements =
    map.entries.length === 0 ? '' : `\t\telements = { ${map.entries.map(renderElement).join(',\n\t\t\t     ')} }\n`;
  return `\tmap ${map.name} {\n\t\ttype inet_proto . inet_service : ${family === 'ip6' ? 'ipv6' : 'ipv4'}_addr . inet_service\n${elements}\t}\n`;
}

/** One element of a map as nft lists it. */
export function renderElement(entry: DnatEntry): string {
  return `${renderKey(entry)} : ${entry.target} . ${entry.targetPort}`;
}

/** What an element is found by. */
export function renderKey({ transport, outsidePort }: DnatEntry): string {
  return `${transport} . ${outsidePort}`;
}

function renderChain(chain: Chain): string {
  const lines = chain.rules.map((rule) => `\t\t${renderRule(rule)}\n`);
  const hook = chain.hook === undefined ? '' : `\t\t${renderHook(chain.hook)}\n`;
  return `\tchain ${chain.name} {\n${hook}${lines.join('')}\t}\n`;
}

function renderHook({ type, at, device, priority, policy }: Hook): string {
  const place = device === undefined ? at : `${at} device ${quoted(device)}`;
  return `type ${type} hook ${place} priority ${renderPriority(priority)}; policy ${policy};`;
}

function renderPriority(priority: Hook['priority']): string {
  // 300 is behind conntrack's helper and in front of its confirm (INT_MAX): the last place that sees the final packet.
  if (priority === 'last') return '300';
  // Further than 10 from a name, which versions of nft would write it by.
  return priority === 'before-docker' ? '-120' : priority;
}

/** One rule as nft lists it. */
export function renderRule(rule: Rule): string {
  const words = rule.when.map(renderMatch);
  if (rule.clampMss !== undefined) {
    const size = rule.clampMss === 'path-mtu' ? 'rt mtu' : `${rule.clampMss}`;
    words.push(`tcp flags & (syn | rst) == syn tcp option maxseg size set ${size}`);
  }
  if (rule.count !== undefined) {
    const mark = `0x${rule.count.mark.toString(16).padStart(8, '0')}`;
    words.push(`meta mark set ${mark} update @${rule.count.set} { ip saddr . meta mark counter }`);
  }
  if (rule.verdict !== undefined) words.push(renderVerdict(rule.verdict));
  words.push(`comment "${rule.id}"`);
  return words.join(' ');
}

function renderMatch(match: Match): string {
  switch (match.kind) {
    case 'in':
      return `iifname ${renderAny([...match.names].sort().map(quoted))}`;
    case 'not-in':
      return `iifname != ${renderAny([...match.names].sort().map(quoted))}`;
    case 'out':
      return `oifname ${renderAny([...match.names].sort().map(quoted))}`;
    case 'family':
      return `meta nfproto ${match.family}`;
    case 'source':
      return `${ipOf(match.subnet)} saddr ${match.negate ? '!= ' : ''}${match.subnet}`;
    case 'source-any':
      return `${ipOf(match.addresses[0])} saddr ${match.negate ? '!= ' : ''}${renderAny(match.addresses)}`;
    case 'destination-subnet':
      return `${ipOf(match.subnet)} daddr ${match.subnet}`;
    case 'destination':
      return `${ipOf(match.addresses[0])} daddr ${match.negate ? '!= ' : ''}${renderAny(sortedAddresses(match.addresses))}`;
    case 'transport':
      return renderTransport(match);
    case 'tcp-opening':
      return 'tcp flags & (fin | syn | rst | ack) == syn';
    case 'icmp':
      return `icmp type ${renderAny(byNumber(match.types, icmpNumbers))}`;
    case 'icmpv6':
      return `icmpv6 type ${renderAny(byNumber(match.types, icmpv6Numbers))}`;
    case 'state':
      return `ct state ${byNumber(match.states, stateBits).join(',')}`;
    case 'was-dnated':
      return 'ct status dnat';
    case 'opened':
      return `ct original ${ipOf(match.subnet)} ${match.side === 'source' ? 'saddr' : 'daddr'} ${match.subnet}`;
    case 'socket-uid':
      return `meta skuid ${match.uid}`;
    case 'not-unicast-to-us':
      return 'meta pkttype != host';
    case 'later-fragment':
      return match.family === 'ipv4' ? 'ip frag-off & 8191 != 0' : 'ip6 nexthdr ipv6-frag';
    case 'arp-asks-outside':
      return `arp operation request arp daddr ip != ${match.subnet}`;
    case 'arp-without':
      return `arp saddr ip != ${match.subnet} arp daddr ip != ${match.subnet}`;
    case 'connections-over':
      return `add @${match.set.name} { ${nftFamilies[match.set.family]} saddr ct count over ${match.most} }`;
    default:
      return assertNever(match);
  }
}

function renderTransport({ transports, port }: Extract<Match, { kind: 'transport' }>): string {
  const protocols = `meta l4proto ${renderAny([...transports].sort())}`;
  if (port === undefined) return protocols;
  const side = port.side === 'source' ? 'sport' : 'dport';
  const number = 'among' in port ? renderAny(port.among.map(renderSpan)) : port.number;
  return transports.length === 1 ? `${transports[0]} ${side} ${number}` : `${protocols} th ${side} ${number}`;
}

function renderVerdict(verdict: Verdict): string {
  switch (verdict.kind) {
    case 'accept':
      return 'accept';
    // Whatever is refused is counted: the counters are the first thing to look at.
    case 'drop':
      return 'counter drop';
    case 'reject':
      return 'counter reject with icmpx admin-prohibited';
    case 'reject-reset':
      return 'counter reject with tcp reset';
    case 'jump':
      return `jump ${verdict.chain}`;
    case 'masquerade':
      return verdict.ports === undefined ? 'masquerade' : `masquerade to :${renderSpan(verdict.ports)}`;
    case 'dnat': {
      const [first, ...others] = verdict.targets;
      if (verdict.port !== undefined) return `dnat to ${renderSocket(first, verdict.port)}`;
      if (others.length === 0) return `dnat to ${first}`;
      const choices = verdict.targets.map((target, index) => `${index} : ${target}`).join(', ');
      return `dnat to numgen inc mod ${verdict.targets.length} map { ${choices} }`;
    }
    case 'dnat-by-map':
      return `dnat ${nftFamilies[verdict.family]} to meta l4proto . th dport map @${verdict.map}`;
    default:
      return assertNever(verdict);
  }
}

const icmpNumbers: Readonly<Record<IcmpType, number>> = {
  'destination-unreachable': 3,
  'echo-request': 8,
  'time-exceeded': 11,
};

const icmpv6Numbers: Readonly<Record<Icmpv6Type, number>> = {
  'destination-unreachable': 1,
  'packet-too-big': 2,
  'time-exceeded': 3,
  'parameter-problem': 4,
  'echo-request': 128,
  'nd-router-solicit': 133,
  'nd-router-advert': 134,
  'nd-neighbor-solicit': 135,
  'nd-neighbor-advert': 136,
  'mld2-listener-report': 143,
};

const nftFamilies: Readonly<Record<IpFamily, 'ip' | 'ip6'>> = { ipv4: 'ip', ipv6: 'ip6' };

/** The family's name in an expression; it also keeps packets of the other one out. */
function ipOf(address: string): 'ip' | 'ip6' {
  return nftFamilies[familyOf(address)];
}

const stateBits: Readonly<Record<ConntrackState, number>> = { invalid: 1, established: 2, related: 4, new: 8 };

// nft lists the elements of a set in the order of their values, whatever order they were given in.
function byNumber<T extends string>(values: OneOrMore<T>, numbers: Readonly<Record<T, number>>): readonly T[] {
  return [...values].sort((one, other) => numbers[one] - numbers[other]);
}

/** A read-back compares sets in any order; this one is for whoever reads the rules. */
function sortedAddresses(addresses: readonly Ip[]): readonly string[] {
  return [...addresses].sort((one, other) => (isIpv4(one) && isIpv4(other) ? toNumber(one) - toNumber(other) : 0));
}

function renderSpan({ first, last }: PortSpan): string {
  return first === last ? `${first}` : `${first}-${last}`;
}

function renderAny(values: readonly string[]): string {
  return values.length === 1 ? `${values[0]}` : `{ ${values.join(', ')} }`;
}

function quoted(text: string): string {
  return `"${text}"`;
}
