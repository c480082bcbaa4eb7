import { faulty, ok, type Parsed } from '../errors.ts';
import type { Ipv4, Ipv4Cidr } from '../net/address.ts';
import { parseOutsideAddress } from './reachable-address.ts';
import type { Failback } from './router-config.ts';

/** Below this a segment cannot be useful: every IPv4 host takes 576 bytes less 40 of headers (RFC 9293, 3.7.1). */
const leastMssBytes = 536;
/** Ethernet's 1500 bytes less the IPv4 and TCP headers. */
const mostMssBytes = 1460;

/** Parses MSS, in bytes. */
export function parseMss(text: string): Parsed<number> {
  const bytes = /^[1-9]\d{0,4}$/.test(text) ? Number(text) : Number.NaN;
  if (bytes >= leastMssBytes && bytes <= mostMssBytes) return ok(bytes);
  return faulty({
    name: 'MSS',
    value: text,
    problem: `is not a number of bytes from ${leastMssBytes} to ${mostMssBytes}`,
    hint: 'leave it unset to follow the path MTU, or try 1300',
  });
}

/** Every IPv4 host takes packets of this size (RFC 791), and every one of IPv6 these (RFC 8200, 5). */
const leastMtuBytes = 576;
const leastIpv6MtuBytes = 1_280;
/** Ethernet's. */
const mostMtuBytes = 1_500;

/** Parses MTU, in bytes. @param family what the tunnel is to carry besides IPv4 */
export function parseMtu(text: string, family: 'ipv4' | 'ipv6'): Parsed<number> {
  const least = family === 'ipv4' ? leastMtuBytes : leastIpv6MtuBytes;
  const bytes = /^[1-9]\d{0,4}$/.test(text) ? Number(text) : Number.NaN;
  if (bytes >= least && bytes <= mostMtuBytes) return ok(bytes);
  return faulty({
    name: 'MTU',
    value: text,
    problem: `is not a number of bytes from ${least} to ${mostMtuBytes}${family === 'ipv4' ? '' : ', as IPv6 needs it'}`,
    hint: 'leave it unset to take what the server says, or try 1300',
  });
}

/** Above that the kernel's table of connections, 262,144 on most machines, is what limits. */
const mostConnections = 1_000_000;

/** Parses CONNECTION_LIMIT; 0 is none. */
export function parseConnectionLimit(text: string): Parsed<number> {
  const connections = /^(0|[1-9]\d{0,6})$/.test(text) ? Number(text) : Number.NaN;
  if (connections <= mostConnections) return ok(connections);
  return faulty({
    name: 'CONNECTION_LIMIT',
    value: text,
    problem: `is not a number from 0 to ${mostConnections}`,
    hint: 'leave it unset for 4096, or write 0 for no limit',
  });
}

/** Parses TZ into the canonical name of a zone in the IANA database. */
export function parseTimeZone(text: string): Parsed<string> {
  const zone = canonicalZone(text);
  if (zone !== undefined) return ok(zone);
  return faulty({
    name: 'TZ',
    value: text,
    problem: 'is not a time zone',
    hint: 'give a name from the IANA database, such as UTC or Europe/Warsaw',
  });
}

function canonicalZone(text: string): string | undefined {
  // Intl takes +02:00, but the C library that OpenVPN logs with does not, and in POSIX the sign means the opposite.
  if (/^[+-]/.test(text)) return undefined;
  // Asking Intl for the default would cost every start 10 ms.
  if (text === 'UTC') return text;
  try {
    return new Intl.DateTimeFormat('en', { timeZone: text }).resolvedOptions().timeZone;
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

/** Parses CONFIG: files or folders in `/config` or absolute paths, in failover order, with commas between them. */
export function parseProfileNames(text: string): Parsed<readonly string[]> {
  const names = text
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  const faults = names.flatMap((name) => {
    const problem = problemOfProfileName(name);
    const hint = 'name a file or a folder in /config, or give an absolute path';
    return problem === undefined ? [] : [{ name: 'CONFIG', value: name, problem, hint }];
  });
  return faults.length > 0 ? { kind: 'faults', faults } : ok(names);
}

function problemOfProfileName(name: string): string | undefined {
  if (/[\x00-\x1f\x7f]/.test(name)) return 'holds a control character';
  return name.split('/').includes('..') ? 'climbs to a parent directory' : undefined;
}

/** Parses the path of a file with a secret. The fault leaves the value out: it may be the secret itself. */
export function parseSecretPath(text: string, name: string): Parsed<string> {
  if (!text.startsWith('/')) {
    return faulty({ name, problem: 'is not an absolute path', hint: 'give the path of the file, from the root down' });
  }
  if (/[\x00-\x1f\x7f]/.test(text)) {
    return faulty({ name, problem: 'holds a control character', hint: 'give the path of the file and nothing else' });
  }
  return ok(text);
}

/** Parses FAILBACK: `idle`, `off`, or minutes from 1 to a week's. */
export function parseFailback(text: string): Parsed<Failback> {
  const word = text.toLowerCase();
  if (word === 'idle' || word === 'off') return ok({ kind: word });
  const minutes = /^[1-9]\d{0,4}$/.test(text) ? Number(text) : Number.NaN;
  if (minutes <= mostFailbackMinutes) return ok({ kind: 'after', ms: minutes * 60_000 });
  return faulty({
    name: 'FAILBACK',
    value: text,
    problem: `is neither idle, nor off, nor a number of minutes from 1 to ${mostFailbackMinutes}`,
    hint: 'leave it unset to go back while no client uses the tunnel',
  });
}

const mostFailbackMinutes = 7 * 24 * 60;

/** Parses one of a few words, whatever its case. */
export function parseChoice<T extends string>({
  text,
  name,
  choices,
}: {
  readonly text: string;
  readonly name: string;
  readonly choices: readonly T[];
}): Parsed<T> {
  const choice = choices.find((candidate) => candidate === text.toLowerCase());
  if (choice !== undefined) return ok(choice);
  return faulty({ name, value: text, problem: 'is not one of its values', hint: `choose from ${choices.join(', ')}` });
}

/**
 * Parses UPLINK_GATEWAY: the next hop towards the VPN server.
 *
 * @param isolated the isolated network; undefined when IP_ADDR is faulty itself, and then the subnet is not checked
 */
export function parseUplinkGateway(text: string, isolated: Ipv4Cidr | undefined): Parsed<Ipv4> {
  const parsed = parseOutsideAddress({
    text,
    isolated,
    unreachable: 'which has no way out',
    hint: 'give the next hop on the network that leads to the VPN server',
  });
  if (parsed.kind === 'address') return ok(parsed.address);
  return faulty({ name: 'UPLINK_GATEWAY', value: text, ...parsed.complaint });
}
