import type { Ipv4 } from '../net/address.ts';

/** What is wrong with a piece of text and what to do about it, before anybody knows which setting it came from. */
export interface Complaint {
  /** One clause, no full stop; never quotes the text itself, which may hold terminal escapes. */
  readonly problem: string;
  /** One imperative clause, no full stop. */
  readonly hint: string;
}

/** What kind of address this is, as far as a setting cares. */
export type AddressScope = 'unspecified' | 'loopback' | 'link-local' | 'multicast' | 'reserved' | 'unicast';

/**
 * Says which block an address belongs to (RFC 6890).
 * `unspecified` is 0.0.0.0/8, `reserved` is 240.0.0.0/4 with the limited broadcast address.
 */
export function scopeOf(address: Ipv4): AddressScope {
  const [first = 0, second = 0] = address.split('.').map(Number);
  if (first === 0) return 'unspecified';
  if (first === 127) return 'loopback';
  if (first === 169 && second === 254) return 'link-local';
  if (first >= 240) return 'reserved';
  return first >= 224 ? 'multicast' : 'unicast';
}

const scopeProblems = {
  unspecified: 'is not the address of a host',
  loopback: 'is a loopback address',
  'link-local': 'is a link-local address, which no router forwards',
  multicast: 'is a multicast address',
  reserved: 'is a reserved or broadcast address',
} as const satisfies Record<Exclude<AddressScope, 'unicast'>, string>;

/** Says why an address cannot belong to one host that a router reaches; undefined when it can. */
export function problemOfScope(scope: AddressScope): string | undefined {
  return scope === 'unicast' ? undefined : scopeProblems[scope];
}

/** True for text that was meant as an IPv6 address, with or without brackets, a prefix or a port after it. */
export function looksLikeIpv6(text: string): boolean {
  return /^\[?[0-9a-f]*:[0-9a-f]*:[0-9a-f:.]*(%[\w.-]+)?\]?(\/\d+|:\d+)?$/i.test(text);
}

/** True for text that was meant as the name of a host. */
export function looksLikeHostName(text: string): boolean {
  return /^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$/i.test(text) && /[a-z]/i.test(text);
}

/** What every setting says about an IPv6 address. */
export const ipv6Complaint: Complaint = {
  problem: 'is an IPv6 address, and only IPv4 is supported',
  hint: 'give an IPv4 address',
};

/** Says why text that `parseIpv4` refused is not an IPv4 address. */
export function complainAboutAddress(text: string): Complaint {
  const hint = 'write an IPv4 address, four numbers from 0 to 255 with dots between them';
  if (text === '') return { problem: 'has no address', hint };
  if (looksLikeIpv6(text)) return ipv6Complaint;
  if (/^[\d.]+\/[\d.]*$/.test(text)) {
    return { problem: 'has a prefix length after the address', hint: 'leave out the slash and what follows' };
  }
  if (/^[\d.]+:\d*$/.test(text)) {
    return { problem: 'has a port after the address', hint: 'leave out the colon and what follows' };
  }
  if (/^\d+(\.\d+){3}$/.test(text)) {
    // inet_aton reads 010 as octal 8, other parsers as 10: an address that two programs read differently is refused.
    return /(^|\.)0\d/.test(text)
      ? { problem: 'has a number with a leading zero', hint: 'leave out the leading zeros' }
      : { problem: 'has a number above 255', hint };
  }
  if (looksLikeHostName(text)) return { problem: 'is a host name', hint: 'give the IPv4 address of that host' };
  return { problem: 'is not an IPv4 address', hint };
}
