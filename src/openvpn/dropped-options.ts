import type { OptionRule } from './option-rule.ts';

const drop = (reason: string): OptionRule => ({ kind: 'drop', reason });

const DEVICE = drop('the router makes the tunnel device itself');
const PROCESS = drop('the router runs OpenVPN as a user of its own, in the foreground');
const SCRIPTS = drop('no script runs here');
const LOGGING = drop('the router logs, see LOG_LEVEL');
const RETRY = drop('the router decides when to connect again, and to which remote');
const KEEPALIVE = drop('the router pings, and follows the times that the server pushes');
const ROUTES = drop('the router routes everything of its clients into the tunnel');
const DNS = drop('the router decides about DNS, see DNS');
const LOCAL_END = drop('the router leaves the choice of the local address and port to the kernel');
const PASSWORDS = drop('the router answers every prompt for a password');
const IPV6 = drop('the router carries no IPv6 in the tunnel');
const WINDOWS = drop('it is for Windows only');
const REMOVED = drop('OpenVPN 2.6 or 2.7 no longer knows it, and works without it');
const NO_EFFECT = drop('it has no effect on a client of OpenVPN 2.6 or 2.7');
const PROXY = drop('the router decides how long a proxy is waited for');

/**
 * What is the router's own business, or means nothing on this system. Profiles of real providers are full of it.
 *
 * Dropping such an option never weakens how the server is verified, and never takes a key away.
 */
export const DROPPED_OPTIONS: Readonly<Record<string, OptionRule>> = {
  txqueuelen: DEVICE,
  lladdr: DEVICE,
  'persist-tun': DEVICE,
  'disable-dco': DEVICE,
  'allow-compression': drop('the router lets compressed packets in only where the profile turns compression on'),
  'windows-driver': WINDOWS,

  daemon: PROCESS,
  inetd: PROCESS,
  user: PROCESS,
  group: PROCESS,
  setcon: PROCESS,
  nice: PROCESS,
  mlock: PROCESS,
  'persist-key': PROCESS,
  'persist-local-ip': PROCESS,
  'persist-remote-ip': PROCESS,
  'tls-exit': PROCESS,
  'remap-usr1': PROCESS,
  'explicit-exit-notify': drop('it would hold every stop up for more than a second'),

  'script-security': SCRIPTS,
  'up-delay': SCRIPTS,
  'up-restart': SCRIPTS,
  'down-pre': SCRIPTS,
  'setenv-safe': SCRIPTS,
  'keying-material-exporter': SCRIPTS,
  'x509-track': SCRIPTS,
  'foreign-option': SCRIPTS,

  verb: LOGGING,
  mute: LOGGING,
  syslog: LOGGING,
  'status-version': LOGGING,
  'suppress-timestamps': LOGGING,
  'machine-readable-output': LOGGING,
  'errors-to-stderr': LOGGING,
  echo: LOGGING,
  parameter: LOGGING,
  'msg-channel': LOGGING,

  'resolv-retry': RETRY,
  'connect-retry': RETRY,
  'connect-retry-max': RETRY,
  'connect-timeout': RETRY,
  'server-poll-timeout': RETRY,
  'remote-random-hostname': RETRY,
  preresolve: RETRY,
  'ip-remote-hint': RETRY,
  'auth-retry': RETRY,
  'tls-timeout': RETRY,
  float: drop('the router opens one endpoint, so the server cannot move'),
  'single-session': NO_EFFECT,

  ping: KEEPALIVE,
  'ping-restart': KEEPALIVE,
  'ping-exit': KEEPALIVE,
  'ping-timer-rem': KEEPALIVE,
  keepalive: KEEPALIVE,
  inactive: KEEPALIVE,
  'session-timeout': KEEPALIVE,

  route: ROUTES,
  'route-ipv6': IPV6,
  'route-ipv6-gateway': IPV6,
  'route-gateway': ROUTES,
  'route-metric': ROUTES,
  'route-delay': ROUTES,
  'route-noexec': ROUTES,
  'route-nopull': ROUTES,
  'route-table': ROUTES,
  'max-routes': ROUTES,
  'allow-pull-fqdn': ROUTES,
  'allow-recursive-routing': ROUTES,
  'redirect-gateway': ROUTES,
  'redirect-private': ROUTES,
  'block-ipv6': ROUTES,
  'client-nat': ROUTES,
  'ifconfig-noexec': ROUTES,
  'ifconfig-nowarn': ROUTES,
  'ifconfig-ipv6': IPV6,
  'tun-ipv6': IPV6,

  'dhcp-option': DNS,
  dns: DNS,

  bind: LOCAL_END,
  nobind: LOCAL_END,
  local: LOCAL_END,
  lport: LOCAL_END,
  multihome: LOCAL_END,
  mark: LOCAL_END,
  'bind-dev': LOCAL_END,

  'auth-nocache': PASSWORDS,
  'auth-token': drop('the server issues the token of a session'),
  'auth-token-user': drop('the server issues the token of a session'),

  'block-outside-dns': WINDOWS,
  'register-dns': WINDOWS,
  'rdns-internal': WINDOWS,
  'route-method': WINDOWS,
  'ip-win32': WINDOWS,
  'win-sys': WINDOWS,
  'tap-sleep': WINDOWS,
  'dhcp-renew': WINDOWS,
  'dhcp-release': WINDOWS,
  'dhcp-pre-release': WINDOWS,
  'dhcp-internal': WINDOWS,
  'pause-exit': WINDOWS,
  service: WINDOWS,
  'allow-nonadmin': WINDOWS,

  'ncp-disable': REMOVED,
  keysize: REMOVED,
  'key-method': REMOVED,
  'no-iv': REMOVED,
  'no-replay': REMOVED,
  'compat-names': REMOVED,
  'no-name-remapping': REMOVED,
  'mtu-dynamic': REMOVED,
  'use-prediction-resistance': REMOVED,

  'fast-io': NO_EFFECT,
  'comp-noadapt': NO_EFFECT,
  prng: NO_EFFECT,
  dh: NO_EFFECT,
  'tcp-nodelay': NO_EFFECT,
  'tcp-queue-limit': NO_EFFECT,
  'bcast-buffers': NO_EFFECT,
  gremlin: NO_EFFECT,
  'mtu-test': NO_EFFECT,
  'allow-deprecated-insecure-static-crypto': NO_EFFECT,
  'push-continuation': NO_EFFECT,
  'peer-id': NO_EFFECT,
  'key-derivation': NO_EFFECT,
  'protocol-flags': NO_EFFECT,

  'http-proxy-retry': PROXY,
  'http-proxy-timeout': PROXY,
  'socks-proxy-retry': PROXY,
};
