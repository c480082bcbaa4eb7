import { type Fault, faulty, ok, type Parsed } from '../errors.ts';
import type { Ip, Ipv4Cidr } from '../net/address.ts';
import { looksLikeIpv6 } from './address-fault.ts';
import { parseTlsResolvers } from './dns-tls.ts';
import { type IsolatedIpv6, ipv6OffComplaint, parseOutsideIpv6 } from './ipv6.ts';
import { parseOutsideAddress } from './reachable-address.ts';
import type { DnsPolicy } from './router-config.ts';

/**
 * Parses DNS: `vpn`, or addresses with commas or spaces between them, plain or each as `tls://ADDRESS#NAME`. An address given twice counts once.
 *
 * @param isolated the isolated network; undefined when IP_ADDR is faulty itself, and then the subnet is not checked
 * @param ipv6 undefined when clients have no IPv6, and then only IPv4 addresses will do
 */
export function parseDns(text: string, isolated: Ipv4Cidr | undefined, ipv6?: IsolatedIpv6): Parsed<DnsPolicy> {
  const words = text.split(/[,;\s]+/).filter((word) => word !== '');
  if (words.length === 1 && words[0]?.toLowerCase() === 'vpn') return ok({ kind: 'pushed' });
  if (words.some((word) => /^tls:/i.test(word))) return parseTlsResolvers(words, isolated);
  const servers = new Set<Ip>();
  const faults: Fault[] = [];
  for (const word of words) {
    if (word.toLowerCase() === 'vpn') {
      faults.push({
        name: 'DNS',
        value: word,
        problem: 'stands beside addresses',
        hint: 'give either vpn alone or only addresses',
      });
      continue;
    }
    if (looksLikeIpv6(word)) {
      const address = ipv6 === undefined ? ipv6OffComplaint : parseOutsideIpv6(word, ipv6);
      if (typeof address === 'string') servers.add(address);
      else faults.push({ name: 'DNS', value: word, ...address });
      continue;
    }
    const parsed = parseOutsideAddress({
      text: word,
      isolated,
      unreachable: 'so it cannot be reached through the tunnel',
      hint: 'give the address of a resolver beyond the tunnel, or vpn',
    });
    if (parsed.kind === 'address') servers.add(parsed.address);
    else faults.push({ name: 'DNS', value: word, ...parsed.complaint });
  }
  if (faults.length > 0) return { kind: 'faults', faults };
  const [first, ...others] = servers;
  if (first === undefined) {
    return faulty({ name: 'DNS', value: text, problem: 'names no resolver', hint: 'give an address, or vpn' });
  }
  return ok({ kind: 'servers', servers: [first, ...others] });
}
