import { readFileSync } from 'node:fs';

/** Tracked connections of this network namespace, and the most; undefined where the kernel does not say. */
export function observeConnections(): { readonly open: number; readonly limit: number } | undefined {
  const read = (name: string) => Number(readFileSync(`/proc/sys/net/netfilter/nf_conntrack_${name}`, 'utf8'));
  try {
    return { open: read('count'), limit: read('max') };
  } catch (error) {
    if (error instanceof Error && 'code' in error) return undefined;
    throw error;
  }
}
