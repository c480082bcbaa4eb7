import { type IfName, type Ipv4, type Ipv6, parseIpv4, parseIpv6 } from '../net/address.ts';
import type { TunnelLink } from '../tunnel/policy.ts';
import { isHostAddress } from './host-address.ts';

/** OpenVPN's own default, and what almost every server means. */
const defaultMtuBytes = 1_500;

/** Each of them is asked by every probe, and a server may push thousands. */
const mostResolvers = 8;

/**
 * Reads the tunnel's address and MTU from the environment of an `up` event (openvpn(8), "Environmental Variables")
 * and the resolvers from the push reply; undefined when the server gave no IPv4 address.
 */
export function parseTunnelLink({
  name,
  env,
  pushed,
}: {
  readonly name: IfName;
  readonly env: ReadonlyMap<string, string>;
  /** Options of the push reply, one text each. */
  readonly pushed: readonly string[];
}): TunnelLink | undefined {
  const address = parseHost(env.get('ifconfig_local') ?? '');
  if (address === undefined) return undefined;
  const mtuBytes = Number(env.get('tun_mtu') ?? defaultMtuBytes);
  // The tunnel's own address would answer to itself, and prove a dead tunnel.
  const peer = [
    parseHost(env.get('route_vpn_gateway') ?? ''),
    parsePushedGateway(pushed),
    parseHost(env.get('ifconfig_remote') ?? ''),
  ].find((candidate) => candidate !== undefined && candidate !== address);
  return {
    name,
    address,
    // 68 is the least IPv4 allows (RFC 791), 65535 the most the kernel takes for tun.
    mtuBytes: Number.isInteger(mtuBytes) && mtuBytes >= 68 && mtuBytes <= 65_535 ? mtuBytes : defaultMtuBytes,
    ...(peer === undefined ? {} : { peer }),
    pushedDns: parsePushedDns(pushed),
    ...parseIpv6Part(env, pushed),
  };
}

/** The least MTU with which the kernel lets a device have IPv6 (RFC 8200, 5). */
const leastIpv6MtuBytes = 1_280;

function parseIpv6Part(env: ReadonlyMap<string, string>, pushed: readonly string[]): Pick<TunnelLink, 'ipv6'> {
  const address = parseHost6(env.get('ifconfig_ipv6_local') ?? '');
  const isNarrow = Number(env.get('tun_mtu') ?? defaultMtuBytes) < leastIpv6MtuBytes;
  return address === undefined || isNarrow ? {} : { ipv6: { address, pushedDns: parsePushedIpv6Dns(pushed) } };
}

/** `route-gateway a.b.c.d`; the environment lacks it while pushed routes are ignored. */
function parsePushedGateway(pushed: readonly string[]): Ipv4 | undefined {
  const option = pushed.findLast((candidate) => candidate.startsWith('route-gateway '));
  return parseHost(option?.trim().split(/\s+/)[1] ?? '');
}

/** `dhcp-option DNS a.b.c.d` (2.x) and `dns server N address a.b.c.d …` (2.6 on), the first eight. */
export function parsePushedDns(pushed: readonly string[]): readonly Ipv4[] {
  const hosts = pushedResolvers(pushed).flatMap((text) => parseHost(text.replace(/:\d+$/, '')) ?? []);
  return [...new Set(hosts)].slice(0, mostResolvers);
}

/** Those of IPv6: `dhcp-option DNS6 a::b`, and in brackets where a port follows. */
function parsePushedIpv6Dns(pushed: readonly string[]): readonly Ipv6[] {
  const hosts = pushedResolvers(pushed).flatMap((text) => parseHost6(text.replace(/^\[(.*)\](:\d+)?$/, '$1')) ?? []);
  return [...new Set(hosts)].slice(0, mostResolvers);
}

function pushedResolvers(pushed: readonly string[]): readonly string[] {
  return pushed.flatMap((option) => {
    const words = option.trim().split(/\s+/);
    if (words[0] === 'dhcp-option' && /^DNS6?$/.test(words[1] ?? '')) return words.slice(2, 3);
    if (words[0] === 'dns' && words[1] === 'server' && words[3] === 'address') return words.slice(4);
    return [];
  });
}

/** An address that a host can have: a server may push anything. */
function parseHost(text: string): Ipv4 | undefined {
  const address = parseIpv4(text);
  return address === undefined || !isHostAddress(address) ? undefined : address;
}

function parseHost6(text: string): Ipv6 | undefined {
  const address = parseIpv6(text);
  // A link-local one leads no further than the tunnel's other end.
  return address === undefined || !isHostAddress(address) || /^fe[89ab]/.test(address) ? undefined : address;
}
