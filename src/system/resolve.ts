import { Resolver } from 'node:dns/promises';
import { existsSync, readFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { type Ipv4, parseIpv4 } from '../net/address.ts';

/** All IPv4 addresses of a name, or why there are none. */
export type Resolution =
  | { readonly kind: 'addresses'; readonly addresses: readonly Ipv4[] }
  | { readonly kind: 'problem'; readonly text: string };

const answerMs = 2_000;
const tries = 2;
const deadlineMs = 8_000;

/**
 * Looks a host up in /etc/hosts, then by the servers of /etc/resolv.conf. Not getaddrinfo: that blocks a thread for up
 * to 10 s when no server answers, and the process cannot end before the thread does.
 */
export async function resolveHost(host: string): Promise<Resolution> {
  const literal = parseIpv4(host);
  if (literal !== undefined) return { kind: 'addresses', addresses: [literal] };
  if (isIPv6(host)) return { kind: 'problem', text: `${host} is an IPv6 address, which is not supported yet` };
  const listed = existsSync('/etc/hosts') ? findInHosts(readFileSync('/etc/hosts', 'utf8'), host) : [];
  if (listed.length > 0) return { kind: 'addresses', addresses: listed };
  const resolver = new Resolver({ timeout: answerMs, tries });
  // Each server gets its tries, and a long list of dead ones would hold up the next profile.
  const deadline = setTimeout(() => resolver.cancel(), deadlineMs);
  try {
    const answers = await resolver.resolve4(host);
    return { kind: 'addresses', addresses: answers.flatMap((address) => parseIpv4(address) ?? []) };
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error;
    return { kind: 'problem', text: `${host} cannot be resolved (${error.code})` };
  } finally {
    clearTimeout(deadline);
  }
}

function findInHosts(text: string, host: string): readonly Ipv4[] {
  return text.split('\n').flatMap((line) => {
    const [address = '', ...names] = line.replace(/#.*/, '').trim().split(/\s+/);
    const isListed = names.some((name) => name.toLowerCase() === host.toLowerCase());
    return isListed ? (parseIpv4(address) ?? []) : [];
  });
}
