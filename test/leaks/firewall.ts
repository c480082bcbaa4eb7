import { execa } from 'execa';
import type { Namespace } from '../kernel/lab/namespace.ts';

/** What loads a router's rules, as FIREWALL names it. */
export const backends = ['nft', 'iptables-nft', 'iptables-legacy'] as const;
export type Backend = (typeof backends)[number];

const tables = ['inet underbridge', 'ip underbridge_nat'] as const;
/** Not every kernel has them, nor every setting. */
const extraTables = ['netdev underbridge_egress', 'arp underbridge_arp', 'ip6 underbridge_nat'] as const;
const chain = /^(:|-A )ub-/;

/** Loads a router's rules so many times again, in the form in which it does so itself (src/ruleset). */
export async function reloadRules(router: Namespace, backend: Backend, times: number): Promise<void> {
  const loads = backend === 'nft' ? [await nftReload(router)] : await iptablesReloads(router, backend);
  for (let round = 0; round < times; round += 1) for (const { argv, input } of loads) await execa(...argv, { input });
}

/** Away and anew in one transaction. */
async function nftReload(router: Namespace) {
  const listings = await Promise.all(
    [...tables, 'ip6 underbridge_nat'].map(async (table) => {
      const { exitCode, output: listing } = await router.attempt('nft', '-s', 'list', 'table', ...table.split(' '));
      // Only where IPv6 is carried.
      if (exitCode !== 0 && table.startsWith('ip6')) return '';
      if (exitCode !== 0) throw new Error(listing);
      return `table ${table}\ndelete table ${table}\n${listing}\n`;
    }),
  );
  return { argv: router.argv('nft', '-f', '-'), input: listings.join('') };
}

/** A chain that is declared is emptied, and filled in the same transaction; what is not ours is not named. */
async function iptablesReloads(router: Namespace, backend: Exclude<Backend, 'nft'>) {
  return Promise.all(
    families(backend).map(async (family) => ({
      argv: router.argv(`${family}-restore`, '--noflush'),
      input: await savedLines(router, family, (line) => /^(\*|COMMIT|:\w+ DROP )/.test(line) || chain.test(line)),
    })),
  );
}

/** Takes a router's rules away. Docker's own stay: by them a container's names are resolved. */
export async function flushRules(router: Namespace, backend: Backend): Promise<void> {
  if (backend === 'nft') {
    for (const table of tables) await router.run('nft', 'delete', 'table', ...table.split(' '));
    for (const table of extraTables) await router.attempt('nft', 'delete', 'table', ...table.split(' '));
    return;
  }
  for (const family of families(backend)) {
    const kept = await savedLines(router, family, (line) => !/^#/.test(line) && !line.includes('ub-'));
    await execa(...router.argv(`${family}-restore`), { input: kept.replaceAll(/^(:\w+) DROP /gm, '$1 ACCEPT ') });
  }
}

export async function holdsRules(router: Namespace, backend: Backend): Promise<boolean> {
  if (backend === 'nft') return (await router.run('nft', 'list', 'tables')).split('\n').includes(`table ${tables[0]}`);
  const saved = await Promise.all(families(backend).map((family) => router.run(`${family}-save`)));
  return saved.every((text) => text.split('\n').some((line) => chain.test(line)));
}

function families(backend: Exclude<Backend, 'nft'>): readonly string[] {
  return [backend, backend.replace('ip', 'ip6')];
}

async function savedLines(router: Namespace, family: string, keep: (line: string) => boolean): Promise<string> {
  const lines = (await router.run(`${family}-save`)).split('\n');
  if (!lines.some((line) => chain.test(line))) throw new Error(`${family} holds no chain of the router's`);
  return `${lines.filter((line) => line !== '' && keep(line)).join('\n')}\n`;
}
