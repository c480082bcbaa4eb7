import ipaddr from 'ipaddr.js';

/** False for a literal address that no host can have: 0.0.0.0/8, loopback, multicast or reserved (RFC 6890, RFC 4291). */
export function isHostAddress(address: string): boolean {
  const parsed = ipaddr.process(address);
  if (parsed.kind() === 'ipv6') return !['unspecified', 'loopback', 'multicast'].includes(parsed.range());
  const first = Number(parsed.toString().split('.')[0]);
  return first !== 0 && first !== 127 && first < 224;
}
