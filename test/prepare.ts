// Gives the machine what the tests use: packages, and the bundle that is tested.
import { ensurePackages } from './lab/packages.ts';

await ensurePackages([
  'ca-certificates',
  'conntrack',
  'curl',
  'dnsmasq-base',
  'dnsutils',
  'iproute2',
  'iptables',
  'iputils-ping',
  'mmdebstrap',
  'nftables',
  'openssl',
  'openvpn',
  'procps',
  'strace',
  'tcpdump',
]);
