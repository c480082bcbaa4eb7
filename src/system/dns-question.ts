import { Resolver } from 'node:dns/promises';
import type { Ipv4 } from '../net/address.ts';

/**
 * Asks one server one question. Sent twice, because a lossy link is not a dead one; an answer to the first still counts
 * after the second.
 * @returns undefined for an answer, else the code of node:dns: what the answer says instead, or that there is none
 */
export async function questionCode({
  server,
  localAddress,
  waitMs,
  ask,
}: {
  /** `ADDRESS` or `ADDRESS:PORT`. */
  readonly server: string;
  /** Where the question is sent from; absent: the kernel's choice. */
  readonly localAddress?: Ipv4;
  /** For both times together. */
  readonly waitMs: number;
  readonly ask: (resolver: Resolver) => Promise<unknown>;
}): Promise<unknown> {
  // A new resolver each time: it would answer a second look-up from its cache. It takes whole milliseconds only.
  const resolver = new Resolver({ timeout: Math.ceil(waitMs / 2), tries: 2 });
  resolver.setServers([server]);
  if (localAddress !== undefined) resolver.setLocalAddress(localAddress);
  const deadline = setTimeout(() => resolver.cancel(), waitMs);
  try {
    await ask(resolver);
    return undefined;
  } catch (error) {
    return error instanceof Error && 'code' in error ? error.code : 'unknown';
  } finally {
    clearTimeout(deadline);
  }
}
