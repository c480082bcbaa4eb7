import { families } from '../host/address.ts';
import type { Translation } from '../host/diff.ts';
import type { Family } from '../host/resource.ts';
import { run, runLines } from './exec.ts';

/**
 * Forgets connections that were tracked by a translation that has gone; and, for UDP, those to this machine that began
 * before a translation came, which would go on without it as long as somebody sends. One process lists them, and there is
 * one more for each translation that has some, which few have of a thousand.
 * @param ownAddresses of this machine, without prefix lengths
 * @throws UnderbridgeError UB_EXEC
 */
export async function forgetConnections(
  translations: readonly Translation[],
  ownAddresses: readonly string[],
): Promise<void> {
  for (const family of families) {
    const isOfFamily = (address: string) => address.includes(':') === (family === 'ipv6');
    const wanted = new Map(
      translations
        .filter(({ target }) => isOfFamily(target))
        .flatMap(({ change, protocol, port, target }) => {
          const from = change === 'gone' ? [target] : protocol === 'udp' ? ownAddresses.filter(isOfFamily) : [];
          return from.map((source) => [`${protocol} ${port} ${source}`, source] as const);
        }),
    );
    const found = wanted.size === 0 ? [] : await findConnections(family, wanted);
    for (const key of found) {
      const [protocol, port, source] = key.split(' ');
      const words = `-D -f ${family} -p ${protocol} --orig-port-dst ${port} --reply-src ${source}`;
      // 1: they have ended by themselves. Nothing depends on it.
      await run({ file: 'conntrack', args: words.split(' '), accept: [1] });
    }
  }
}

/** Those keys, `PROTOCOL PORT REPLY-SOURCE`, that some connection has. */
async function findConnections(family: Family, wanted: ReadonlyMap<string, string>): Promise<readonly string[]> {
  const [only, ...others] = new Set(wanted.values());
  // Tables of a busy machine have hundreds of thousands; mostly it is about one container.
  const filter = only !== undefined && others.length === 0 ? ['--reply-src', only] : [];
  const found = new Set<string>();
  for await (const line of runLines({ file: 'conntrack', args: ['-L', '-f', family, ...filter] })) {
    const [protocol = ''] = line.split(' ', 1);
    const port = /dport=(\d+)/.exec(line)?.[1];
    const source = line.slice(line.lastIndexOf('src=') + 'src='.length).split(' ', 1)[0];
    const key = `${protocol} ${port} ${source}`;
    if (wanted.has(key)) found.add(key);
  }
  return [...found];
}
