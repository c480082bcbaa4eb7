import { renderPortRange } from '../config/port-range.ts';
import { UnderbridgeError } from '../errors.ts';
import type { Route, RoutingRule } from '../plan/plan.ts';
import { run } from './exec.ts';

/** One interface as `ip -j addr show` prints it; only what we read. */
export interface ObservedLink {
  readonly ifindex: number;
  readonly ifname: string;
  readonly flags: readonly string[];
  readonly mtu: number;
  readonly link_type: string;
  readonly addr_info: readonly {
    readonly family: string;
    readonly local: string;
    readonly prefixlen: number;
    readonly scope: string;
  }[];
}

export interface ObservedRoute {
  readonly type?: string;
  readonly dst: string;
  readonly gateway?: string;
  readonly dev?: string;
  readonly table?: string;
  readonly metric?: number;
  /** IPv6 only, and there always. */
  readonly pref?: string;
}

export interface ObservedRule {
  readonly priority: number;
  readonly src: string;
  readonly srclen?: number;
  readonly not?: null;
  readonly iif?: string;
  readonly iif_detached?: null;
  readonly table?: string;
  readonly action?: string;
  readonly uid_start?: number;
  readonly uid_end?: number;
  /** Selectors that our rules never have: destination, mark, ports … */
  readonly [selector: string]: unknown;
}

export interface ObservedNetwork {
  readonly links: readonly ObservedLink[];
  readonly routes: readonly ObservedRoute[];
  readonly rules: readonly ObservedRule[];
}

/**
 * Runs changes in one `ip` process and reads back what the kernel holds afterwards. A change that fails does not stop
 * the others (`-force`): what counts is the read-back.
 */
export async function changeNetwork(changes: readonly string[]): Promise<ObservedNetwork> {
  // Addresses and routes are of both families, rules of IPv4.
  const questions = ['addr show', 'route show table all', 'rule show'];
  const [links, routes, rules] = await runBatch({ lines: [...changes, ...questions] });
  if (links === undefined || routes === undefined || rules === undefined) {
    throw new UnderbridgeError({
      code: 'UB_EXEC',
      message: 'ip did not show addresses, routes and rules',
      hint: 'the container needs the capability NET_ADMIN and a working iproute2',
    });
  }
  return { links: JSON.parse(links), routes: JSON.parse(routes), rules: JSON.parse(rules) };
}

/**
 * The same for the routing rules of IPv6, which take a process of their own. Without IPv6 in the kernel there is nothing
 * to change: undefined.
 */
export async function changeIpv6Rules(changes: readonly string[]): Promise<readonly ObservedRule[] | undefined> {
  const [rules] = await runBatch({ options: ['-6'], lines: [...changes, 'rule show'] });
  return rules === undefined ? undefined : JSON.parse(rules);
}

/** The answers in JSON, in the order of the questions. */
async function runBatch({
  options = [],
  lines,
}: {
  readonly options?: readonly string[];
  readonly lines: readonly string[];
}): Promise<readonly string[]> {
  const args = [...options, '-force', '-j', '-batch', '-'];
  const output = await run({ file: 'ip', args, input: `${lines.join('\n')}\n`, accept: [1, 2] });
  return output.split('\n').filter((line) => line.startsWith('['));
}

// Above every metric that Docker, a DHCP client or a VPN server uses, and what `unreachable default` commonly gets.
const lastMetric = 4_278_198_272;

/** `ip route` prints a host without its prefix length. */
function withoutHostPrefix(destination: string): string {
  return destination.replace(destination.includes(':') ? /\/128$/ : /\/32$/, '');
}

/** Arguments of `ip route` that stand for this route. */
export function renderRoute(route: Route): string {
  const { via } = route;
  if (via.kind === 'unreachable') return `unreachable ${route.destination} metric ${lastMetric} table ${route.table}`;
  if (via.kind === 'local') return `local ${route.destination} dev ${via.name} table ${route.table}`;
  const gateway = via.gateway === undefined ? 'scope link' : `via ${via.gateway} onlink`;
  return `${withoutHostPrefix(route.destination)} dev ${via.name} ${gateway} table ${route.table}`;
}

/** Arguments of `ip rule` that stand for this rule. */
export function renderRule(rule: RoutingRule): string {
  const from = {
    interface: 'iif',
    source: 'from',
    user: 'uidrange',
    device: 'from all oif',
    forwarded: 'not iif lo',
    any: 'from all',
  }[rule.from.kind];
  const name =
    rule.from.kind === 'interface' || rule.from.kind === 'device'
      ? ` ${rule.from.name}`
      : rule.from.kind === 'source'
        ? ` ${rule.from.address}/32`
        : rule.from.kind === 'user'
          ? ` ${rule.from.uid}-${rule.from.uid}`
          : '';
  const source =
    rule.from.kind === 'interface' && rule.from.source !== undefined
      ? `from ${rule.from.source} `
      : rule.from.kind === 'user'
        ? `from ${rule.from.source === undefined ? 'all' : `${rule.from.source}/32`} `
        : '';
  const to = rule.to.kind === 'table' ? `lookup ${rule.to.table}` : rule.to.kind;
  return `pref ${rule.preference} ${source}${from}${name}${renderFlow(rule.flow)} ${to}`;
}

function renderFlow(flow: RoutingRule['flow']): string {
  if (flow === undefined) return '';
  const { destination, transport, side, ports } = flow;
  return ` to ${destination} ipproto ${transport} ${side === 'source' ? 'sport' : 'dport'} ${renderPortRange(ports)}`;
}

/** The same text for an observed route as {@link renderRoute} gives for the planned one. */
export function renderObservedRoute(route: ObservedRoute): string {
  const table = route.table ?? 'main';
  // `ip` prints `default` for both families, and takes it for IPv4.
  const dst = route.dst === 'default' && route.pref !== undefined ? '::/0' : route.dst;
  if (route.type === 'unreachable') return `unreachable ${dst} metric ${route.metric ?? 0} table ${table}`;
  if (route.type === 'local') return `local ${dst} dev ${route.dev} table ${table}`;
  const gateway = route.gateway === undefined ? 'scope link' : `via ${route.gateway} onlink`;
  return `${dst} dev ${route.dev} ${gateway} table ${table}`;
}

/** The same text for an observed rule as {@link renderRule} gives for the planned one; a foreign selector shows. */
export function renderObservedRule(rule: ObservedRule): string {
  const { priority, src, srclen, not, iif, iif_detached: _, table, action, uid_start, uid_end, ...others } = rule;
  const {
    oif,
    oif_detached: __,
    dst,
    dstlen,
    ipproto,
    sport,
    dport,
    sport_start,
    sport_end,
    dport_start,
    dport_end,
    ...foreign
  } = others;
  // `ip` prints a host without its prefix length.
  const source = src === 'all' ? [] : [`from ${src}/${srclen ?? (src.includes(':') ? 128 : 32)}`];
  const origin = [...source, ...(iif === undefined ? [] : [`iif ${iif}`])].join(' ');
  const user = uid_start === undefined ? '' : ` uidrange ${uid_start}-${uid_end}`;
  const from = `${not === null ? 'not ' : ''}${origin === '' ? 'from all' : origin}${oif === undefined ? '' : ` oif ${oif}`}${user}`;
  const to = action ?? `lookup ${table}`;
  const ports = (name: string, single: unknown, first: unknown, last: unknown) =>
    single !== undefined ? ` ${name} ${single}` : first !== undefined ? ` ${name} ${first}-${last}` : '';
  const flow = [
    dst === undefined ? '' : ` to ${dst}/${dstlen ?? (`${dst}`.includes(':') ? 128 : 32)}`,
    ipproto === undefined ? '' : ` ipproto ${ipproto}`,
    ports('sport', sport, sport_start, sport_end),
    ports('dport', dport, dport_start, dport_end),
  ].join('');
  const selectors = Object.entries(foreign).map(([name, value]) => ` ${name} ${value}`);
  return `pref ${priority} ${from}${flow} ${to}${selectors.join('')}`;
}
