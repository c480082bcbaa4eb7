import type { TableName } from '../ruleset/iptables.ts';
import type { SavedTable } from '../ruleset/iptables-restore.ts';
import { renderBridgeFilter, renderBridgeNat } from './render-bridge-base.ts';
import { renderForwardNat, renderForwardRules } from './render-forward.ts';
import type { Allow, BridgeBase, Family, Forward, Resource, RoutedBridge } from './resource.ts';
import { chainPrefix, type HostJump, type HostRules, type HostTable } from './rules.ts';
import type { HostLink } from './snapshot.ts';
import { isDnated, isKnown, renderRule, type Words } from './words.ts';

const chain = (name: string) => `${chainPrefix}${name}`;

/** Turns resources into the rules of one family. `saved` says where Docker listens to its users' rules. */
export function renderHostRules({
  resources,
  family,
  saved,
  links,
  memory,
}: {
  readonly resources: readonly Resource[];
  readonly family: Family;
  readonly saved: ReadonlyMap<string, SavedTable>;
  readonly links: readonly HostLink[];
  /** What the nat table holds for us and no packet meets. */
  readonly memory?: Part | undefined;
}): HostRules {
  const bridges = resources.filter(({ kind }) => kind === 'routed-bridge') as readonly RoutedBridge[];
  const forwards = resources.filter(
    (one): one is Forward => one.kind === 'forward' && one.family === family && one.inside === undefined,
  );
  const allowed = resources.filter((one): one is Allow => one.kind === 'allow');
  const bases = resources.filter((one): one is BridgeBase => one.kind === 'bridge-base' && one.family === family);
  const userChain = forwardEntrance(saved);
  const isOnlyOurs = userChain === 'FORWARD' && saved.get('filter')?.chains.has('DOCKER-USER') === true;
  const locks: readonly Part[] = bridges.flatMap(lock);
  const accepts = [
    ...(forwards.length > 0
      ? [renderRule({ matches: [isDnated], target: chain('DNATED') }, { place: '', id: 'forwards' })]
      : []),
    ...allowed.flatMap((one) => renderAllow(one, family)),
  ];
  const filter = table('filter', [
    { chain: chain('FORWARD'), rules: bridges.flatMap((one) => acceptBridged(one, family)) },
    ...locks,
    { chain: chain('ACCEPT'), rules: accepts },
    { chain: chain('DNATED'), rules: renderForwardRules(forwards) },
    ...renderBridgeFilter(bases, isOnlyOurs ? 'DOCKER-USER' : undefined),
  ]);
  const nat = table('nat', [
    ...renderForwardNat({ forwards, family, links, bridges: bridgesOf(forwards) }),
    ...renderBridgeNat(bases),
    ...(memory === undefined ? [] : [memory]),
  ]);
  const raw = table('raw', [{ chain: chain('PREROUTING'), rules: passRaw(allowed, { family, saved }) }]);
  return {
    family,
    tables: [
      withJumps(filter, [
        { from: userChain, to: chain('FORWARD'), place: 'first' },
        { from: userChain, to: chain('ACCEPT'), place: userChain === 'FORWARD' ? 'first' : 'last' },
        { from: userChain, to: chain('BRIDGES'), place: userChain === 'FORWARD' ? 'first' : 'last' },
        { from: 'INPUT', to: chain('INPUT'), place: 'first' },
      ]),
      // A second lock, before the filter table, where no accept of anybody's can overrule it and Docker does nothing.
      withJumps(table('mangle', locks), [
        { from: 'FORWARD', to: chain('FORWARD'), place: 'first' },
        { from: 'INPUT', to: chain('INPUT'), place: 'first' },
      ]),
      withJumps(raw, [{ from: 'PREROUTING', to: chain('PREROUTING'), place: 'first' }]),
      withJumps(nat, [
        { from: 'PREROUTING', to: chain('PREROUTING'), place: 'first' },
        { from: 'OUTPUT', to: chain('OUTPUT'), place: 'first' },
        { from: 'POSTROUTING', to: chain('POSTROUTING'), place: 'first' },
      ]),
    ].filter(({ chains }) => chains.length > 0),
  };
}

/** Rules for a chain; several parts may be for one. */
export interface Part {
  readonly chain: string;
  readonly rules: readonly string[];
}

function table(name: TableName, parts: readonly Part[]): HostTable {
  const chains = new Map<string, string[]>();
  for (const { chain: to, rules } of parts) {
    if (rules.length > 0) chains.set(to, [...(chains.get(to) ?? []), ...rules]);
  }
  return { name, chains: [...chains].map(([to, rules]) => ({ name: to, rules })), jumps: [] };
}

function withJumps(bare: HostTable, jumps: readonly HostJump[]): HostTable {
  return { ...bare, jumps: jumps.filter(({ to }) => bare.chains.some(({ name }) => name === to)) };
}

/**
 * DOCKER-USER, if Docker passes packets through it: what stands in there survives when Docker sets its own jumps above
 * all others. It may be a leftover that nothing leads to.
 */
function forwardEntrance(saved: ReadonlyMap<string, SavedTable>): string {
  const chains = saved.get('filter')?.chains;
  const isReached = chains?.get('FORWARD')?.includes('-j DOCKER-USER') ?? false;
  return isReached && chains?.has('DOCKER-USER') ? 'DOCKER-USER' : 'FORWARD';
}

/** Nothing passes between the bridge and the rest of the machine, whoever else would accept it. */
function lock({ bridge, origin }: RoutedBridge): readonly Part[] {
  const drop = (words: Omit<Words, 'target'>) => renderRule({ ...words, target: 'DROP' }, origin);
  return [
    {
      chain: chain('FORWARD'),
      rules: [drop({ in: bridge, notOut: bridge }), drop({ notIn: bridge, out: bridge })],
    },
    { chain: chain('INPUT'), rules: [drop({ in: bridge })] },
  ];
}

/** With br_netfilter, Docker drops what clients of an internal network send through their router. */
function acceptBridged({ bridge, isInternal, subnets, origin }: RoutedBridge, family: Family): readonly string[] {
  if (!isInternal) return [];
  const own = subnets.filter((subnet) => subnet.family === family);
  const through = { in: bridge, out: bridge, target: 'ACCEPT' };
  return own.flatMap((subnet) => [
    renderRule({ ...through, source: subnet, notDestination: subnet }, origin),
    renderRule({ ...through, notSource: subnet, destination: subnet }, origin),
  ]);
}

/**
 * Docker 28 drops in the table raw what is addressed to a container and comes from beyond its bridge (`-d ADDRESS ! -i
 * BRIDGE -j DROP`), before any connection is known. Who may is decided later, by the same words. Of answers by TCP nothing
 * passes that begins a connection: else who is asked could reach any port of who asks that Docker publishes elsewhere.
 */
function passRaw(
  allowed: readonly Allow[],
  { family, saved }: { readonly family: Family; readonly saved: ReadonlyMap<string, SavedTable> },
): readonly string[] {
  const there = saved.get('raw')?.chains.get('PREROUTING') ?? [];
  if (!there.some((rule) => / ! -i \S+ .*-j DROP$/.test(rule))) return [];
  return allowed.flatMap((one) => renderAllow(one, family)).map((rule) => passAnswer(rule));
}

function passAnswer(rule: string): string {
  if (!rule.includes(` ${isKnown}`)) return rule;
  return rule.replace(` ${isKnown}`, '').replace(/ -p tcp(?: -m tcp --sport \d+)?/, (transport) => {
    return `${transport.includes('-m') ? transport : `${transport} -m tcp`} ! --tcp-flags FIN,SYN,RST,ACK SYN`;
  });
}

function renderAllow({ from, to, transport, origin }: Allow, family: Family): readonly string[] {
  const pairs = from.flatMap((source) =>
    to
      .filter((destination) => source.family === family && destination.family === family)
      .map((destination) => ({ source, destination })),
  );
  const on = (side: 'dport' | 'sport') => (transport === undefined ? {} : { transport: { ...transport, side } });
  return pairs.flatMap(({ source, destination }) => [
    renderRule({ source, destination, ...on('dport'), target: 'ACCEPT' }, origin),
    renderRule(
      { source: destination, destination: source, ...on('sport'), matches: [isKnown], target: 'ACCEPT' },
      origin,
    ),
  ]);
}

function bridgesOf(forwards: readonly Forward[]): readonly string[] {
  return [...new Set(forwards.map(({ to }) => to.bridge))].toSorted();
}
