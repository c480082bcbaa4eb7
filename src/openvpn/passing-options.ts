import type { OptionRule } from './option-rule.ts';

type PassRule = Extract<OptionRule, { kind: 'pass' }>;

const FLAG: PassRule = { kind: 'pass', scope: 'profile', least: 0, most: 0 };
const ONE: PassRule = { kind: 'pass', scope: 'profile', least: 1, most: 1 };
const UP_TO_ONE: PassRule = { kind: 'pass', scope: 'profile', least: 0, most: 1 };
const ONE_OR_TWO: PassRule = { kind: 'pass', scope: 'profile', least: 1, most: 2 };
const REMOTE_ONE: PassRule = { kind: 'pass', scope: 'remote', least: 1, most: 1 };
const REMOTE_ONE_OR_TWO: PassRule = { kind: 'pass', scope: 'remote', least: 1, most: 2 };

const TEXT: OptionRule = { kind: 'material', scope: 'profile', encoding: 'text', after: 'nothing' };
const BINARY: OptionRule = { kind: 'material', scope: 'profile', encoding: 'base64', after: 'nothing' };
const REMOTE_TEXT: OptionRule = { kind: 'material', scope: 'remote', encoding: 'text', after: 'nothing' };
const REMOTE_DIRECTED: OptionRule = { kind: 'material', scope: 'remote', encoding: 'text', after: 'direction' };

const READ_FLAG: OptionRule = { kind: 'read', scope: 'profile', least: 0, most: 0 };
const READ_ONE: OptionRule = { kind: 'read', scope: 'profile', least: 1, most: 1 };
const READ_UP_TO_ONE: OptionRule = { kind: 'read', scope: 'profile', least: 0, most: 1 };
const READ_REMOTE_ONE: OptionRule = { kind: 'read', scope: 'remote', least: 1, most: 1 };

/**
 * What a client needs to reach its server and to agree with it on a tunnel.
 *
 * Every entry is accepted by 2.6.14 and by 2.7.6 and can neither run a program nor name a file outside the profile.
 */
export const PASSING_OPTIONS: Readonly<Record<string, OptionRule>> = {
  // Being a client.
  client: FLAG,
  pull: FLAG,
  'tls-client': FLAG,
  'push-peer-info': FLAG,
  'static-challenge': { kind: 'pass', scope: 'profile', least: 2, most: 3 },
  'compat-mode': ONE,
  'disable-occ': FLAG,

  // Keys and certificates.
  ca: TEXT,
  cert: TEXT,
  key: TEXT,
  'extra-certs': TEXT,
  pkcs12: BINARY,
  'crl-verify': TEXT,
  'tls-auth': REMOTE_DIRECTED,
  'tls-crypt': REMOTE_TEXT,
  'tls-crypt-v2': REMOTE_TEXT,
  'key-direction': { ...REMOTE_ONE, values: ['0', '1'] },
  'peer-fingerprint': { kind: 'pass', scope: 'profile', least: 1, most: 1, block: true },
  'verify-hash': { kind: 'pass', scope: 'profile', least: 1, most: 2, block: true },

  // Who the server must be. ns-cert-type passes instead of becoming remote-cert-tls: that one also demands key usage
  // extensions, which certificates of the time often lack, and both versions still take the old name.
  'ns-cert-type': { ...ONE, values: ['server', 'client'] },
  'remote-cert-tls': { ...ONE, values: ['server', 'client'] },
  'remote-cert-eku': ONE,
  'remote-cert-ku': { kind: 'pass', scope: 'profile', least: 0, most: 15 },
  'verify-x509-name': ONE_OR_TWO,
  // Names the field of the certificate that verify-x509-name looks at.
  'x509-username-field': { kind: 'pass', scope: 'profile', least: 1, most: 15 },

  // Control channel.
  'tls-cipher': ONE,
  'tls-ciphersuites': ONE,
  'tls-groups': ONE,
  'ecdh-curve': ONE,
  'tls-cert-profile': ONE,
  'tls-version-min': ONE_OR_TWO,
  'tls-version-max': ONE,
  'reneg-sec': ONE_OR_TWO,
  'reneg-bytes': ONE,
  'reneg-pkts': ONE,
  'hand-window': ONE,
  'tran-window': ONE,

  // Data channel.
  auth: ONE,
  cipher: ONE,
  'data-ciphers': ONE,
  'data-ciphers-fallback': ONE,
  'replay-window': { kind: 'pass', scope: 'profile', least: 0, most: 2 },
  'mute-replay-warnings': FLAG,
  compress: { ...UP_TO_ONE, values: ['stub', 'stub-v2', 'lzo', 'lz4', 'lz4-v2', 'migrate'] },
  'comp-lzo': { ...UP_TO_ONE, values: ['yes', 'no', 'adaptive'] },

  // Addresses and packets.
  topology: { ...ONE, values: ['net30', 'p2p', 'subnet'] },
  ifconfig: { kind: 'pass', scope: 'profile', least: 2, most: 2 },
  'tun-mtu': REMOTE_ONE_OR_TWO,
  'tun-mtu-extra': REMOTE_ONE,
  'tun-mtu-max': REMOTE_ONE,
  'link-mtu': REMOTE_ONE,
  'udp-mtu': REMOTE_ONE,
  'max-packet-size': REMOTE_ONE,
  fragment: REMOTE_ONE_OR_TWO,
  mssfix: { kind: 'pass', scope: 'remote', least: 0, most: 2 },
  'mtu-disc': REMOTE_ONE,
  sndbuf: ONE,
  rcvbuf: ONE,
  'socket-flags': { kind: 'pass', scope: 'profile', least: 1, most: 15 },
  shaper: ONE,
  passtos: FLAG,

  // Read here.
  remote: { kind: 'read', scope: 'remote', least: 1, most: 3 },
  proto: READ_REMOTE_ONE,
  port: READ_REMOTE_ONE,
  rport: READ_REMOTE_ONE,
  'http-proxy': { kind: 'read', scope: 'remote', least: 2, most: 4 },
  'http-proxy-user-pass': READ_REMOTE_ONE,
  'http-proxy-option': { kind: 'read', scope: 'remote', least: 1, most: 3 },
  'socks-proxy': { kind: 'read', scope: 'remote', least: 1, most: 3 },
  'proto-force': READ_ONE,
  connection: READ_FLAG,
  'remote-random': READ_FLAG,
  dev: READ_ONE,
  'dev-type': READ_ONE,
  'dev-node': READ_ONE,
  mode: READ_ONE,
  'auth-user-pass': READ_UP_TO_ONE,
  askpass: READ_UP_TO_ONE,
  'ignore-unknown-option': { kind: 'read', scope: 'profile', least: 1, most: 15 },
  setenv: { kind: 'read', scope: 'profile', least: 1, most: 15 },
  'pull-filter': { kind: 'read', scope: 'profile', least: 2, most: 2 },
  'ncp-ciphers': READ_ONE,
  'dns-updown': READ_ONE,
};
