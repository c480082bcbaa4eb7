import { faulty, ok, type Parsed } from '../errors.ts';
import { broadcastOf, type Ipv4Cidr, networkOf, parseIpv4, parseIpv4Cidr } from '../net/address.ts';
import {
  type Complaint,
  complainAboutAddress,
  ipv6Complaint,
  looksLikeIpv6,
  problemOfScope,
  scopeOf,
} from './address-fault.ts';

/** A wider subnet than this is a typing error: it would swallow a whole class A network. */
const widestPrefixBits = 8;
/** A /31 or /32 has no room for a gateway, a client and Docker's own address. */
const narrowestPrefixBits = 30;

const form = 'write the gateway address with the prefix length of the isolated network, for example 172.22.0.1/24';

/** Parses IP_ADDR: the address that the router claims, with the prefix length of the isolated network. */
export function parseGateway(text: string): Parsed<Ipv4Cidr> {
  const name = 'IP_ADDR';
  const cidr = parseIpv4Cidr(text);
  if (cidr === undefined) return faulty({ name, value: text, ...complainAboutSyntax(text) });
  const complaint = complainAboutGateway(cidr);
  return complaint === undefined ? ok(cidr) : faulty({ name, value: text, ...complaint });
}

function complainAboutSyntax(text: string): Complaint {
  if (looksLikeIpv6(text)) return ipv6Complaint;
  const [addressText = '', prefixText, ...rest] = text.split('/');
  const address = parseIpv4(addressText);
  if (address === undefined) return complainAboutAddress(addressText);
  if (prefixText === undefined || prefixText === '') {
    return { problem: 'has no prefix length', hint: `add the size of the isolated network, for example ${address}/24` };
  }
  if (rest.length > 0) return { problem: 'has more than one slash', hint: form };
  return parseIpv4(prefixText) === undefined
    ? {
        problem: `has a prefix length that is not a number from ${widestPrefixBits} to ${narrowestPrefixBits}`,
        hint: form,
      }
    : { problem: 'has a netmask where the prefix length belongs', hint: form };
}

function complainAboutGateway(cidr: Ipv4Cidr): Complaint | undefined {
  if (cidr.prefixBits < widestPrefixBits || cidr.prefixBits > narrowestPrefixBits) {
    return {
      problem: `has a prefix length outside ${widestPrefixBits} to ${narrowestPrefixBits}`,
      hint: 'give the prefix length of the isolated network as `docker network inspect` shows it',
    };
  }
  const scopeProblem = problemOfScope(scopeOf(cidr.address));
  if (scopeProblem !== undefined) {
    return { problem: scopeProblem, hint: 'give the address that the isolated network reserves for its gateway' };
  }
  const hint = 'give an address between the first and the last of the subnet';
  if (cidr.address === networkOf(cidr)) return { problem: 'is the address of the subnet itself', hint };
  if (cidr.address === broadcastOf(cidr)) return { problem: 'is the broadcast address of the subnet', hint };
  return undefined;
}
