import { Resolver } from 'node:dns/promises';
import { dockerResolver, observeDockerResolver } from './container-names.ts';

/** Names of containers by address, as Docker's own resolver tells them. */
export interface Names {
  readonly known: ReadonlyMap<string, string>;
  /** Asks for what is not known, or was long ago, and tells of each answer that is new. */
  readonly lookUp: (addresses: readonly string[]) => void;
}

const answerMs = 1_000;
/** An address may get another container. */
const keptMs = 60_000;
const mostAtOnce = 16;
const mostKnown = 1024;
const mostChars = 100;

/** Without Docker's resolver nobody is asked: others would learn the clients' addresses. */
export function openNames(onChange: () => void): Names {
  const isDocker = observeDockerResolver() !== 'none';
  const known = new Map<string, string>();
  const askedAtMs = new Map<string, number>();
  let asking = 0;

  const ask = async (address: string) => {
    const resolver = new Resolver({ timeout: answerMs, tries: 1 });
    resolver.setServers([dockerResolver]);
    const name = await resolver.resolvePtr(`${address.split('.').reverse().join('.')}.in-addr.arpa`).then(
      ([first]) => first,
      () => undefined,
    );
    if (name === undefined || known.get(address) === withoutNetwork(name)) return;
    known.set(address, withoutNetwork(name));
    onChange();
  };

  return {
    known,
    lookUp: (addresses) => {
      if (!isDocker) return;
      const nowMs = performance.now();
      for (const address of addresses) {
        if (asking >= mostAtOnce || nowMs - (askedAtMs.get(address) ?? -keptMs) < keptMs) continue;
        if (askedAtMs.size >= mostKnown && !askedAtMs.has(address)) continue;
        askedAtMs.set(address, nowMs);
        asking += 1;
        void ask(address).finally(() => {
          asking -= 1;
        });
      }
    },
  };
}

/** Docker says `container.network`. */
function withoutNetwork(name: string): string {
  const dot = name.lastIndexOf('.');
  return (dot > 0 ? name.slice(0, dot) : name).slice(0, mostChars);
}
