import { Resolver } from 'node:dns/promises';
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { familyOf, type Ip, type IpFamily, parseIp } from '../net/address.ts';
import { startAs } from './as-user.ts';

/** All addresses of a name, IPv4 first, or why there are none. */
export type Resolution =
  | { readonly kind: 'addresses'; readonly addresses: readonly Ip[] }
  | { readonly kind: 'problem'; readonly text: string };

const answerMs = 2_000;
const tries = 2;
const deadlineMs = 8_000;

/** An answer of one family waits so long for the other: some resolvers never say anything of AAAA. */
const patienceMs = 500;

/**
 * Looks a host up in /etc/hosts, then by the servers of /etc/resolv.conf. Not getaddrinfo: that blocks a thread for up
 * to 10 s when no server answers, and the process cannot end before the thread does.
 *
 * @param families what is asked for; a literal address is taken whatever it is of
 */
export async function resolveHost(host: string, families: readonly IpFamily[]): Promise<Resolution> {
  const literal = parseIp(host);
  if (literal !== undefined) return { kind: 'addresses', addresses: [literal] };
  const listed = existsSync('/etc/hosts') ? findInHosts(readFileSync('/etc/hosts', 'utf8'), host) : [];
  const usable = listed.filter((address) => families.includes(familyOf(address)));
  if (usable.length > 0) return { kind: 'addresses', addresses: usable };
  const resolver = new Resolver({ timeout: answerMs, tries });
  // Each server gets its tries, and a long list of dead ones would hold up the next profile.
  const deadline = setTimeout(() => resolver.cancel(), deadlineMs);
  const found: Ip[] = [];
  const problems: string[] = [];
  const ask = async (family: IpFamily) => {
    try {
      const answers = await (family === 'ipv4' ? resolver.resolve4(host) : resolver.resolve6(host));
      found.push(...answers.flatMap((address) => parseIp(address) ?? []));
    } catch (error) {
      if (!(error instanceof Error && 'code' in error)) throw error;
      problems.push(`${error.code}`);
    }
  };
  await allOrSoonAfterOne(families.map(ask), () => found.length > 0);
  clearTimeout(deadline);
  resolver.cancel();
  if (found.length === 0) return { kind: 'problem', text: `${host} cannot be resolved (${problems[0]})` };
  return { kind: 'addresses', addresses: found.toSorted((one, other) => rankOf(one) - rankOf(other)) };
}

/**
 * The same by a process of that user, so that the firewall tells its questions from those of others: a run of this very
 * program with the command `look-up`.
 */
export async function resolveHostAs(uid: number, host: string, families: readonly IpFamily[]): Promise<Resolution> {
  const command = [process.execPath, process.argv[1] ?? '', 'look-up', host, ...families];
  let answer = '';
  for await (const line of startAs(uid, { command }).iterable()) answer += line;
  return answer.startsWith('{') ? JSON.parse(answer) : { kind: 'problem', text: `${host} could not be looked up` };
}

const rankOf = (address: Ip) => (familyOf(address) === 'ipv4' ? 0 : 1);

/** Waits for all, but not much longer than for the first that made `isEnough` true. */
async function allOrSoonAfterOne(asking: readonly Promise<void>[], isEnough: () => boolean): Promise<void> {
  const all = Promise.all(asking);
  const soon = asking.map(async (one) => {
    await one;
    await (isEnough() ? sleep(patienceMs, undefined, { ref: false }) : all);
  });
  await Promise.race([all, ...soon]);
}

function findInHosts(text: string, host: string): readonly Ip[] {
  return text.split('\n').flatMap((line) => {
    const [address = '', ...names] = line.replace(/#.*/, '').trim().split(/\s+/);
    const isListed = names.some((name) => name.toLowerCase() === host.toLowerCase());
    return isListed ? (parseIp(address) ?? []) : [];
  });
}
