// Gives the machine what the tests use: packages, and OpenVPN 2.7 in a tree of its own; and takes away what tests that were
// killed left running.
import { removeAbandonedNamespaces } from './kernel/lab/namespace.ts';
import { ensureNewOpenvpn } from './lab/openvpn.ts';
import { ensurePackages } from './lab/packages.ts';

// A bash of Node's that thinks itself the first shell reads ~/.bashrc each time.
process.env.SHLVL = '1';
await ensurePackages([
  'ca-certificates',
  'chromium',
  'conntrack',
  'curl',
  'dnsmasq-base',
  'miniupnpd',
  'miniupnpd-nftables',
  'dnsutils',
  'iproute2',
  'iptables',
  'iputils-ping',
  'libsofthsm2',
  'microsocks',
  'mmdebstrap',
  'nftables',
  'oathtool',
  'openssl',
  'openvpn',
  'procps',
  'prometheus',
  'strace',
  'tcpdump',
  'tinyproxy-bin',
  'unbound',
]);
await ensureNewOpenvpn();
await removeAbandonedNamespaces();
