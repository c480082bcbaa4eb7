import { type Fault, ok, type Parsed } from '../errors.ts';
import type { Ipv4Cidr } from '../net/address.ts';
import type { Complaint } from './address-fault.ts';
import { isDomain } from './dns-tls.ts';
import { canaryName, routerName } from './own-resolver.ts';
import { parseOutsideAddress } from './reachable-address.ts';
import type { DnsPolicy, LocalZone, ProbeTarget } from './router-config.ts';

/**
 * Parses DNS_LOCAL: `DOMAIN=ADDRESS` entries with commas or spaces between them. Each lets the resolver ask that address
 * past the tunnel.
 *
 * @param isolated the isolated network; undefined when IP_ADDR is faulty itself, and then the subnet is not checked
 */
export function parseLocalZones(text: string, isolated: Ipv4Cidr | undefined): Parsed<readonly LocalZone[]> {
  const name = 'DNS_LOCAL';
  const hint = 'write DOMAIN=ADDRESS, for example lan.example=192.168.1.1';
  const faults: Fault[] = [];
  const zones: LocalZone[] = [];
  for (const word of text.split(/[,;\s]+/).filter((each) => each !== '')) {
    const [domain = '', address = '', ...more] = word.split('=');
    const parsed = parseOutsideAddress({
      text: address,
      isolated,
      unreachable: 'where nothing is asked past the tunnel',
      hint,
    });
    const plain = domain.toLowerCase().replace(/\.$/, '');
    const complaint =
      more.length > 0 || !isDomain(domain) ? { problem: 'is not DOMAIN=ADDRESS', hint } : ownNames[plain];
    if (complaint !== undefined) faults.push({ name, value: word, ...complaint });
    else if (parsed.kind === 'complaint') faults.push({ name, value: word, ...parsed.complaint });
    else zones.push({ domain: plain, address: parsed.address });
  }
  if (faults.length === 0 && zones.length === 0) faults.push({ name, value: text, problem: 'names no domain', hint });
  return faults.length > 0 ? { kind: 'faults', faults } : ok(zones);
}

/** Names that mean something to the router's own resolver. */
const ownNames: Readonly<Record<string, Complaint>> = {
  [routerName]: { problem: "has the router's own name, which it answers itself", hint: 'give another domain' },
  [canaryName]: {
    problem: 'has the name by which the router sees whether names resolve through the tunnel',
    hint: 'give another domain',
  },
};

/** A resolver of DNS that may be asked past the tunnel as well would be shown every name there; a probe proves nothing. */
export function localZoneFaults(
  { dns, probe }: { readonly dns: DnsPolicy; readonly probe: ProbeTarget | undefined },
  zones: readonly LocalZone[],
): readonly Fault[] {
  const resolvers: readonly string[] =
    dns.kind === 'pushed' ? [] : dns.servers.map((server) => (typeof server === 'string' ? server : server.address));
  const proving = probe?.kind === 'tcp' ? probe.address : undefined;
  return zones
    .filter(({ address }) => resolvers.includes(address) || address === proving)
    .map(({ domain, address }) => ({
      name: 'DNS_LOCAL',
      value: `${domain}=${address}`,
      problem: 'has an address that DNS or HEALTH_PROBE has too, which is to be beyond the tunnel',
      hint: 'give another address to one of them',
    }));
}
