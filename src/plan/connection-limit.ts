import type { Chain, PacketSet, Rule } from '../ruleset/model.ts';
import type { Context } from './context.ts';

/** As large as the largest isolated network that Docker makes. */
const size = { key: 'source', mostElements: 65_535 } as const;
const ipv4Set: PacketSet = { name: 'connections', family: 'ipv4', ...size };
const ipv6Set: PacketSet = { name: 'ipv6_connections', family: 'ipv6', ...size };
const chain = 'excess';

function limitOf({ config, facts }: Pick<Context, 'config' | 'facts'>): number | undefined {
  return facts.extras.includes('connection-limit') ? config.connectionLimit : undefined;
}

function setsOf({ config }: Pick<Context, 'config'>): readonly PacketSet[] {
  return config.ipv6 === undefined ? [ipv4Set] : [ipv4Set, ipv6Set];
}

/** Counts a new connection of a client, and sends it away when there are too many. Known flows do not come here. */
export function planLimit(context: Context, place: Pick<Rule, 'id' | 'when'>): readonly Rule[] {
  const most = limitOf(context);
  if (most === undefined) return [];
  return setsOf(context).map((set) => ({
    id: set.family === 'ipv4' ? place.id : `${place.id}-ipv6`,
    why: 'One client cannot fill the table of connections, which all of them share.',
    when: [...place.when, { kind: 'state', states: ['new'] }, { kind: 'connections-over', most, set }],
    verdict: { kind: 'jump', chain },
  }));
}

/** What the rules of {@link planLimit} need beside them in their table. */
export function planExcess(context: Context): {
  readonly sets: readonly PacketSet[];
  readonly chains: readonly Chain[];
} {
  if (limitOf(context) === undefined) return { sets: [], chains: [] };
  const rules: readonly Rule[] = [
    {
      id: 'excess-tcp',
      why: 'A client with too many connections learns it at once.',
      when: [{ kind: 'tcp-opening' }],
      verdict: { kind: 'reject-reset' },
    },
    { id: 'excess-rest', why: 'The same for what is not TCP.', when: [], verdict: { kind: 'reject' } },
  ];
  return { sets: setsOf(context), chains: [{ name: chain, rules }] };
}
