import { type Fault, ok, type Parsed } from '../errors.ts';
import type { Ipv4, Ipv4Cidr } from '../net/address.ts';
import { parseGateway } from './gateway.ts';

/**
 * With MODE=sidecar the clients are the processes of the router's own network namespace, so that loopback stands for the
 * isolated network; IP_ADDR takes no such address.
 */
export const ownNetwork: Ipv4Cidr = { address: '127.0.0.1' as Ipv4, prefixBits: 8 };

/** True for what {@link clientsNetworkOf} gives with MODE=sidecar. */
export function isOwnNetwork(cidr: Ipv4Cidr | undefined): boolean {
  return cidr === ownNetwork;
}

/** The network of the clients, with the router's address in it. */
export function clientsNetworkOf(env: Readonly<Record<string, string | undefined>>): Parsed<Ipv4Cidr> {
  const isSidecar = env.MODE?.trim().toLowerCase() === 'sidecar';
  return isSidecar ? ok(ownNetwork) : parseGateway(env.IP_ADDR?.trim() ?? '');
}

const noNetwork = 'is set, and MODE=sidecar has no isolated network to take an address of';

/** What has no meaning without an isolated network. */
const unfit = {
  IP_ADDR: noNetwork,
  IP6_ADDR: noNetwork,
  IPV6: 'is not for MODE=sidecar, which drops IPv6',
  STANDBY: 'is not for MODE=sidecar: a connection of a local process stays with the address of its tunnel',
  PORT_FWD_HAIRPIN: 'is not for MODE=sidecar: local processes reach each other by loopback',
  CONNECTION_LIMIT: 'is not for MODE=sidecar: it tells clients apart by address, and local processes share one',
  MSS: 'is not for MODE=sidecar: local processes know the size of the tunnel, which MTU sets',
} as const;

/** A fault for each setting that does not fit MODE=sidecar; `off` does no harm. */
export function unfitFaults(
  given: Readonly<Partial<Record<keyof typeof unfit, string>>>,
): readonly (Fault & { readonly name: keyof typeof unfit })[] {
  return (Object.keys(unfit) as (keyof typeof unfit)[]).flatMap((name) => {
    const value = given[name];
    if (value === undefined || value.toLowerCase() === 'off') return [];
    return [{ name, value, problem: unfit[name], hint: 'leave it out, or MODE=sidecar' }];
  });
}
