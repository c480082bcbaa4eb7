import type { Service, Stack } from './stack.ts';

/** The containers behind the router. */
export const clients = ['client1', 'client2'] as const satisfies readonly Service[];

/** How a client's tries to connect ended. */
export interface Ending {
  readonly how: 'refused' | 'answered' | 'silence';
  /** Unix time, ms. */
  readonly at: number;
  /** What the last try took. */
  readonly tookMs: number;
  /** The caller's address as the web site saw it; empty without an answer. */
  readonly exitAddress: string;
}

/** How often a client tried, by kind. */
export type Tries = ReadonlyMap<string, number>;

/** Connects to the web site again and again until a try ends `how`. */
export async function tryUntil(
  stack: Stack,
  {
    service,
    how,
    seconds,
  }: { readonly service: Service; readonly how: 'refused' | 'answered'; readonly seconds: number },
): Promise<Ending> {
  const { stdout } = await stack.exec(service, 'until', how, String(seconds));
  const [ended, at, tookMs, exitAddress = ''] = stdout.split(' ');
  if (ended !== 'refused' && ended !== 'answered' && ended !== 'silence') {
    throw new Error(`${service} could not try to connect: ${JSON.stringify(stdout)}`);
  }
  return { how: ended, at: Number(at), tookMs: Number(tookMs), exitAddress };
}

/** Tries for `seconds` to get out in every way; counts by kind, and whether any was `answered`. */
export async function knock(
  stack: Stack,
  { service, seconds }: { readonly service: Service; readonly seconds: number },
): Promise<Tries> {
  const { stdout } = await stack.exec(service, 'knock', String(seconds));
  const counts = new Map([...stdout.matchAll(/(\w+) (\d+)/g)].map(([, kind = '', count]) => [kind, Number(count)]));
  if (!counts.has('answered')) throw new Error(`${service} could not knock: ${JSON.stringify(stdout)}`);
  return counts;
}

/** Packets that left the clients' interfaces so far. */
export async function sentByClients(stack: Stack): Promise<number> {
  const sent = await Promise.all(clients.map(async (service) => Number((await stack.exec(service, 'sent')).stdout)));
  return sent.reduce((total, packets) => total + packets, 0);
}

/** Adds up tries of more than one client. */
export function sum(...counts: readonly Tries[]): Tries {
  const total = new Map<string, number>();
  for (const [kind, count] of counts.flatMap((map) => [...map])) total.set(kind, (total.get(kind) ?? 0) + count);
  return total;
}

/** `600 udp, 6 tcp, 3 icmp, 6 dns`. */
export function describeTries(tries: Tries): string {
  return ['udp', 'tcp', 'icmp', 'dns'].map((kind) => `${tries.get(kind) ?? 0} ${kind}`).join(', ');
}
