import { withLines } from './corpus.ts';

/** A line or block that a hostile author puts into a profile that works otherwise. */
export interface Malice {
  readonly lines: readonly string[];
  readonly outcome: /** A fault at that line, from 1, with that problem. */
    | { readonly kind: 'refused'; readonly line: number; readonly problem: string }
    /** The profile works, and OpenVPN gets to see nothing of it. */
    | { readonly kind: 'left-out' };
}

/** The last line of `withLines()` that is not hostile. */
const linesBefore = 6;

const refused = (problem: string, ...lines: readonly string[]): Malice => refusedAt(1, problem, ...lines);
const refusedAt = (line: number, problem: string, ...lines: readonly string[]): Malice => ({
  lines,
  outcome: { kind: 'refused', line: linesBefore + line, problem },
});
const leftOut = (...lines: readonly string[]): Malice => ({ lines, outcome: { kind: 'left-out' } });

const runs = 'would run a program';
const loads = 'would load code into OpenVPN';
const token = 'would load the driver of a security token';
const writes = 'would write to a file';
const reads = 'would read a file outside of the profile';
const controls = 'would set up a way to control OpenVPN that is not the router';
const moves = 'would move OpenVPN to another directory';
const serves = 'makes OpenVPN a server';
const outside = 'names a file outside of the folder of the profile';
const clear = 'would let packets travel without encryption';
const unknown = 'is no option of OpenVPN 2.6 or 2.7';
const noOption = 'is no option of OpenVPN';
const neverClosed = 'opens an inline block that is never closed';
const breaksOut = 'has a body that holds in this line </, which could end the block early';
const tooLong = 'has a body that holds in this line more than 254 bytes, which OpenVPN would cut';

/**
 * What hostile profiles try. `trap` is a folder outside of the profile's with `run`, a program, `evil.so`, a library, and
 * `secret`, a file: none of them may ever be touched.
 */
export function malice(trap: string): readonly Malice[] {
  const program = `${trap}/run`;
  return [
    // Running programs.
    ...[
      ...['up', 'down', 'ipchange', 'route-up', 'route-pre-down', 'tls-verify', 'tls-crypt-v2-verify'],
      ...['client-connect', 'client-disconnect', 'client-crresponse', 'learn-address', 'iproute', 'dns-updown'],
    ].map((name) => refused(runs, `${name} ${program}`)),
    refused(runs, `auth-user-pass-verify ${program} via-env`),
    refused(runs, `auth-user-pass-verify ${program} via-file`),
    refused(runs, `dev-node unix:${program}`),
    refusedAt(2, runs, 'script-security 3', `up "/bin/sh -c ${program}"`),
    refusedAt(3, runs, 'script-security 2 system', 'down-pre', `down '${program} a b'`),

    // Loading code.
    refused(loads, `plugin ${trap}/evil.so`),
    refused(loads, `plugin ${trap}/evil.so a b c`),
    refused(loads, `providers ${trap}/evil.so default`),
    refused(loads, `engine ${trap}/evil.so`),
    refused(loads, 'engine dynamic'),
    refused(token, `pkcs11-providers ${trap}/evil.so`),
    refused(token, `pkcs11-id ${trap}/evil.so`),

    // Reading and writing files.
    ...['log', 'log-append', 'status', 'writepid', 'memstats', 'replay-persist', 'tls-export-cert', 'tmp-dir'].map(
      (name) => refused(writes, `${name} ${trap}/written`),
    ),
    refused(writes, `ifconfig-pool-persist ${trap}/written 1`),
    refused(reads, `config ${trap}/secret`),
    refused(reads, `client-config-dir ${trap}`),
    refused(reads, `auth-gen-token-secret ${trap}/secret`),
    refused('would read a directory outside of the profile', `capath ${trap}`),
    refused('would read a directory', `crl-verify ${trap} dir`),
    refused(moves, `cd ${trap}`),
    refused(moves, `chroot ${trap}`),
    ...['ca', 'cert', 'key', 'extra-certs', 'pkcs12', 'crl-verify', 'tls-auth', 'tls-crypt', 'tls-crypt-v2'].map(
      (name) => refused(outside, `${name} ${trap}/secret`),
    ),
    refused(outside, `askpass ${trap}/secret`),
    leftOut(`auth-user-pass ${trap}/secret`),
    leftOut(`dh ${trap}/secret`),
    leftOut(`x509-track +${trap}/secret`),
    leftOut(`keying-material-exporter ${trap}/secret 16`),

    // Another hand on the wheel, another role.
    refused(controls, 'management 0.0.0.0 7505'),
    refused(controls, `management ${trap}/written unix`),
    refused(controls, 'management 127.0.0.1 7505 stdin'),
    ...['client', 'hold', 'query-passwords', 'query-remote', 'query-proxy', 'up-down', 'signal', 'external-key'].map(
      (name) => refused(controls, `management-${name}`),
    ),
    refused(controls, 'management-client-user root'),
    refused(controls, 'management-external-cert x'),
    refused(serves, 'server 10.0.0.0 255.0.0.0'),
    refused(serves, 'mode server'),
    refused(serves, `port-share 127.0.0.1 22 ${trap}`),
    refused('asks for Ethernet frames, which cannot be routed', 'dev tap0'),
    refused('is a command and not part of a connection', `genkey secret ${trap}/written`),
    refused('is a command and not part of a connection', 'mktun'),
    refused('has an address that no server can have', `http-proxy 127.0.0.1 80 ${trap}/secret basic`),
    refused('has an address that no server can have', `socks-proxy 127.0.0.1 1080 ${trap}/secret`),
    refused('is a static key without TLS, which OpenVPN is giving up', `secret ${trap}/secret`),

    // Weakening the locks.
    ...[
      ...['redirect-gateway def1 bypass-dhcp', 'redirect-gateway local', 'redirect-private def1', 'route-nopull'],
      ...['route 0.0.0.0 0.0.0.0 net_gateway', 'route 198.51.100.0 255.255.255.0 vpn_gateway 1', 'route-noexec'],
      ...['route-gateway 198.51.100.1', 'route-ipv6 ::/0', 'ifconfig-ipv6 fd00::2/64 fd00::1', 'allow-pull-fqdn'],
      ...['client-nat snat 10.0.0.0 255.0.0.0 10.1.0.0', 'block-ipv6', 'allow-recursive-routing', 'route-table 254'],
      ...['dhcp-option DNS 198.51.100.1', 'dhcp-option DOMAIN "$(id)"', 'dns server 1 address 198.51.100.1'],
      ...['dns-updown force', 'user root', 'group root', 'setcon root', 'nice -20', 'mlock', 'daemon', 'inetd wait'],
      ...['syslog', 'persist-tun', 'persist-key', 'persist-local-ip', 'remap-usr1 SIGHUP', 'tls-exit', 'up-restart'],
      ...['script-security 3', 'script-security 2 execve', 'down-pre', 'up-delay 9', 'verb 11', 'ping-exit 1'],
      ...['mark 254', 'bind-dev eth1', 'local 172.22.0.1', 'lport 53', 'multihome', 'float', 'auth-retry none'],
      ...['allow-compression yes', 'disable-dco', 'inactive 1', 'connect-retry-max unlimited', 'dev lo', 'dev eth0'],
      ...['lladdr 02:00:00:00:00:01', 'txqueuelen 1', 'dev-node /dev/null', 'auth-token x', 'gremlin 1', 'preresolve'],
      ...['msg-channel 0', 'echo forget-passwords', 'pull-filter accept ""', 'explicit-exit-notify 9'],
    ].map((line) => leftOut(line)),
    ...['cipher none', 'data-ciphers none', 'data-ciphers AES-256-GCM:none', 'data-ciphers ?none:AES-256-GCM'].map(
      (line) => refused(clear, line),
    ),
    ...['ncp-ciphers NONE', 'data-ciphers-fallback none', 'cipher [null-cipher]', 'setenv opt cipher "none"'].map(
      (line) => refused(clear, line),
    ),
    leftOut('auth none'),

    // The environment.
    ...[
      'LD_PRELOAD',
      'LD_LIBRARY_PATH',
      'PATH',
      'OPENSSL_CONF',
      'OPENSSL_MODULES',
      'TMPDIR',
      'HOME',
      'script_type',
    ].map((name) => leftOut(`setenv ${name} ${trap}/evil.so`)),
    leftOut(`setenv-safe LD_PRELOAD ${trap}/evil.so`),
    leftOut(`setenv "UV LD_PRELOAD" ${trap}/evil.so`),
    refused(runs, `setenv opt up ${program}`),
    refused(loads, `setenv opt setenv opt plugin ${trap}/evil.so`),
    leftOut(`setenv opt --plugin ${trap}/evil.so`),
    refused('holds a control character', 'setenv UV_X "a\tb"'),

    // Disguise.
    ...[
      ...[`--up ${program}`, `"up" ${program}`, `'up' ${program}`, ` \t\v\fup\t${program}`, `up ${program}\r`],
      ...[`up\r${program}`, `up "${program}"#`, `"--up" '${program}'`],
    ].map((line) => refused(runs, line)),
    ...[`----up ${program}`, `\\"up ${program}`, `u"p ${program}`, `\u00a0up ${program}`, `\ufeffup ${program}`].map(
      (line) => refused(noOption, line),
    ),
    refused(unknown, `UP ${program}`),
    refused('has a backslash before a character that needs none', `\\up ${program}`),
    refused('ends with a backslash', 'auth SHA256\\', `up ${program}`),
    refused('opens a quote that is not closed on the same line', 'setenv UV_X "', `up ${program}`, '"'),
    refused('has too many parameters', `auth SHA256\rup ${program}`),
    refused('has too many parameters', `auth SHA256\u0085\rup\r${program}`),
    refused('has a value that OpenVPN does not know', `comp-lzo \u2028up`),
    refused('holds a control character', 'auth "SHA256\u0001"'),
    refused('is longer than the 254 bytes that OpenVPN reads', `tls-cipher ${'A'.repeat(245)}`),
    refused('has too many parameters', `tls-cipher '${' '.repeat(243)}'up ${program}`),
    leftOut(`#${' '.repeat(254)}up ${program}`),
    leftOut(`; \\\\\\`, '# "', `#`),

    // Blocks.
    refused(runs, '<up>', program, '</up>'),
    refused(loads, '<plugin>', `${trap}/evil.so`, '</plugin>'),
    refusedAt(3, runs, '<connection>', 'remote 203.0.113.10', `up ${program}`, '</connection>'),
    refusedAt(3, runs, '<connection>', 'remote 203.0.113.10', `--down ${program}\r`, '</connection>'),
    refusedAt(3, runs, '<connection>', 'remote 203.0.113.10', `"tls-verify" ${program}`, '</connection>'),
    refusedAt(3, loads, '<connection>', 'remote 203.0.113.10', `plugin ${trap}/evil.so`, '</connection>'),
    refusedAt(3, outside, '<connection>', 'remote 203.0.113.10', `tls-crypt ${trap}/secret`, '</connection>'),
    refusedAt(2, neverClosed, '<connection>', '<connection>', `up ${program}`, '</connection>'),
    refusedAt(
      3,
      'cannot stand in a <connection> block',
      '<connection>',
      'remote 203.0.113.10',
      '<auth>',
      'x',
      '</auth>',
      '</connection>',
    ),
    refusedAt(2, breaksOut, '<extra-certs>', `a </extra-certs>`, `up ${program}`, '</extra-certs>'),
    refusedAt(2, breaksOut, '<ca>', `${'#'.repeat(255)}</ca>`, `plugin ${trap}/evil.so`, '</ca>'),
    refusedAt(2, tooLong, '<ca>', '-'.repeat(255), '</ca>'),
    refusedAt(3, runs, '<ca>', '</ca> ', `up ${program}`),
    refusedAt(4, runs, '<ca>', 'x', '\v\f</ca>x', `up ${program}`),
    refusedAt(4, runs, '<tls-auth>', 'x', '\r</tls-auth>', `up ${program}`),
    refusedAt(4, runs, '--<ca>', 'x', '</ca>', `up ${program}`),
    refusedAt(4, runs, '"<ca>"', 'x', '</ca>', `up ${program}`),
    refused(neverClosed, '<extra-certs>', 'x', '</ca>', `up ${program}`),
    refused('is no name of an inline block', '<ca\\ > ', `up ${program}`),
    refused('ends a block that was never opened', '</ca>', `up ${program}`),
    refused('is empty', '<ca>', '</ca>'),

    // What no version of ours knows, and what a profile says may be skipped.
    refused(unknown, `later-option ${program}`),
    leftOut('ignore-unknown-option later-option', `later-option ${program}`),
    leftOut(
      'setenv FORWARD_COMPATIBLE 1',
      `later-option ${program}`,
      '<later-block>',
      `up ${program}`,
      '</later-block>',
    ),
    refusedAt(2, runs, 'ignore-unknown-option up', `up ${program}`),
    refusedAt(2, runs, 'setenv FORWARD_COMPATIBLE 1', `up ${program}`),
    refusedAt(2, loads, 'ignore-unknown-option plugin --plugin', `plugin ${trap}/evil.so`),

    // Remotes that lead back, or anywhere.
    ...['127.0.0.1', '0.0.0.0', '::1', '::ffff:127.0.0.1', '224.0.0.1', '255.255.255.255'].map((host) =>
      refused('has an address that no server can have', `remote ${host} 53`),
    ),
    ...['$(id)', '`id`', '2130706433', '0x7f.1', '127.1', '/run/x.sock', "'a b'", '-1'].map((host) =>
      refused('names no host', `remote ${host} 53`),
    ),
    refused('makes OpenVPN wait for a connection', 'proto tcp-server'),
  ];
}

/** The text of a profile with that in it. */
export function maliciousText({ lines }: Malice): string {
  return withLines(...lines);
}
