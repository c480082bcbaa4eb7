import { contains, type Ipv4, type Ipv4Cidr, parseIpv4, renderSubnet } from '../net/address.ts';
import { type Complaint, complainAboutAddress, problemOfScope, scopeOf } from './address-fault.ts';

/** An address, or what is wrong with it. */
export type AddressOrComplaint =
  | { readonly kind: 'address'; readonly address: Ipv4 }
  | { readonly kind: 'complaint'; readonly complaint: Complaint };

/**
 * Parses the address of one host outside the isolated network.
 *
 * @param isolated the isolated network; undefined when IP_ADDR is faulty itself, and then the subnet is not checked
 * @param unreachable why an address inside that network will not do, a clause that follows "lies in …, "
 * @param hint what to do about an address that is no such host
 */
export function parseOutsideAddress({
  text,
  isolated,
  unreachable,
  hint,
}: {
  readonly text: string;
  readonly isolated: Ipv4Cidr | undefined;
  readonly unreachable: string;
  readonly hint: string;
}): AddressOrComplaint {
  const address = parseIpv4(text);
  if (address === undefined) return { kind: 'complaint', complaint: complainAboutAddress(text) };
  const problem = problemOfScope(scopeOf(address)) ?? problemOfPlace({ address, isolated, unreachable });
  if (problem === undefined) return { kind: 'address', address };
  return { kind: 'complaint', complaint: { problem, hint } };
}

function problemOfPlace({
  address,
  isolated,
  unreachable,
}: {
  readonly address: Ipv4;
  readonly isolated: Ipv4Cidr | undefined;
  readonly unreachable: string;
}): string | undefined {
  if (isolated === undefined || !contains(isolated, address)) return undefined;
  return `lies in the isolated network ${renderSubnet(isolated)}, ${unreachable}`;
}
