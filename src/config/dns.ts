import { type Fault, faulty, ok, type Parsed } from '../errors.ts';
import type { Ipv4, Ipv4Cidr } from '../net/address.ts';
import { parseOutsideAddress } from './reachable-address.ts';
import type { DnsPolicy } from './router-config.ts';

/**
 * Parses DNS: `vpn`, or IPv4 addresses with commas or spaces between them. An address given twice counts once.
 *
 * @param isolated the isolated network; undefined when IP_ADDR is faulty itself, and then the subnet is not checked
 */
export function parseDns(text: string, isolated: Ipv4Cidr | undefined): Parsed<DnsPolicy> {
  const words = text.split(/[,;\s]+/).filter((word) => word !== '');
  if (words.length === 1 && words[0]?.toLowerCase() === 'vpn') return ok({ kind: 'pushed' });
  const servers = new Set<Ipv4>();
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
    return faulty({ name: 'DNS', value: text, problem: 'names no resolver', hint: 'give an IPv4 address, or vpn' });
  }
  return ok({ kind: 'servers', servers: [first, ...others] });
}
