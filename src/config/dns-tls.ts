import type { Fault, Parsed } from '../errors.ts';
import { type Ipv4Cidr, type Port, parsePort } from '../net/address.ts';
import { type Complaint, looksLikeHostName } from './address-fault.ts';
import { parseOutsideAddress } from './reachable-address.ts';
import type { DnsPolicy, TlsResolver } from './router-config.ts';

/** What DNS over TLS uses (RFC 7858). */
const tlsPort = 853 as Port;

const form = 'write tls://ADDRESS#NAME, with the name in the certificate, for example tls://1.1.1.1#cloudflare-dns.com';

/** Parses DNS where it holds `tls://`: nothing but such entries, because plain ones beside them would be asked as well. */
export function parseTlsResolvers(words: readonly string[], isolated: Ipv4Cidr | undefined): Parsed<DnsPolicy> {
  const faults: Fault[] = [];
  const servers: TlsResolver[] = [];
  for (const word of words) {
    const parsed = parseTlsResolver(word, isolated);
    if ('problem' in parsed) faults.push({ name: 'DNS', value: word, ...parsed });
    else servers.push(parsed);
  }
  const [first, ...others] = servers;
  if (faults.length > 0 || first === undefined) return { kind: 'faults', faults };
  return { kind: 'ok', value: { kind: 'tls', servers: [first, ...others] } };
}

function parseTlsResolver(word: string, isolated: Ipv4Cidr | undefined): TlsResolver | Complaint {
  const [, host = '', portText, name = ''] = /^tls:\/\/(\[[^\]]*\]|[^#:]*)(?::([^#]*))?#?(.*)$/i.exec(word) ?? [];
  if (!/^tls:/i.test(word)) return { problem: 'would be asked without TLS beside tls://', hint: form };
  // What is put into the resolver's settings as it stands.
  if (!looksLikeHostName(name) || !isDomain(name))
    return { problem: 'has no name after #, so that any server would be believed', hint: form };
  const port = portText === undefined ? tlsPort : parsePort(portText);
  if (port === undefined) return { problem: 'has a port that is not a number from 1 to 65535', hint: form };
  const parsed = parseOutsideAddress({
    text: host,
    isolated,
    unreachable: 'so it cannot be reached through the tunnel',
    hint: form,
  });
  return parsed.kind === 'address' ? { address: parsed.address, port, name: name.toLowerCase() } : parsed.complaint;
}

/** True for a domain name of letters, digits, hyphens and underscores, with or without a dot at its end. */
export function isDomain(text: string): boolean {
  return (
    text.length < 254 &&
    /^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.?$/i.test(text)
  );
}
