import ipaddr from 'ipaddr.js';
import { type Fault, faulty, ok, type Parsed, UnderbridgeError } from '../errors.ts';
import type { Port } from '../net/address.ts';
import { readTotp } from './material.ts';
import { findBodyFlaw } from './option-body.ts';
import { lexOptions } from './option-lexer.ts';
import { readOption } from './option-reader.ts';
import { MAX_ROW_BYTES, renderOptionRow } from './option-row.ts';
import { checkMaterial, checkProfile, checkRemotes } from './profile-checks.ts';
import { type Draft, isControlKey } from './profile-draft.ts';
import type { FileRead, Profile, ProfileOption, ProfileProxy, ProfileRemote } from './profile-model.ts';
import { checkProxy } from './profile-proxies.ts';
import { finishRemotes } from './profile-remotes.ts';
import { decodeText } from './profile-text.ts';

export type { FileRead, IgnoredOption, Profile, ProfileOption, ProfileRemote } from './profile-model.ts';

/** A profile is text of a few kilobytes; the largest ones carry some certificates and a list of servers. */
const MAX_PROFILE_BYTES = 1024 * 1024;
/** A binary file makes a fault of every line: the first ones tell it all. */
const MAX_FAULTS = 50;

/**
 * Understands a `.ovpn` profile, or says everything that is wrong with it.
 *
 * `readFile` gets each path as the profile has it, relative or absolute, and decides what lies inside the folder.
 * Faults name `FILE:LINE` and never hold a key, a password or an inline body.
 */
export function parseProfile(input: {
  name: string;
  bytes: Uint8Array;
  readFile: (path: string) => FileRead;
}): Parsed<Profile> {
  const { name, bytes } = input;
  if (bytes.length > MAX_PROFILE_BYTES) {
    const hint = 'give the profile that the provider made, with its certificates and keys only';
    return faulty({ name, problem: 'is larger than 1 MiB', hint });
  }
  const text = decodeText(bytes);
  if (text === undefined) {
    return faulty({ name, problem: 'is not UTF-8 text', hint: 'save the profile as UTF-8 without NUL characters' });
  }

  const lexed = lexOptions({ file: name, text });
  const draft: Draft = {
    file: name,
    readFile: input.readFile,
    showUnknown: !lexed.strayEnd,
    faults: [...lexed.faults],
    ignored: [],
    options: [],
    seen: new Set(),
    skippable: new Set(),
    skipUnknown: false,
    filtersPass: true,
    remoteOrder: 'listed',
    remotes: {
      defaults: { port: 1194 as Port, protocol: { transport: 'udp' } },
      inherited: [],
      listed: [],
      blocks: [],
      proxy: { rows: [] },
    },
  };
  for (const line of lexed.lines) readOption(draft, line);
  if (draft.seen.has('auth-user-pass')) readTotp(draft);

  const remotes = finishRemotes(draft);
  checkProfile(draft);
  checkMaterial(draft);
  for (const remote of remotes) {
    checkRemotes(draft, remote);
    checkProxy(draft, remote);
  }
  const [first, ...rest] = remotes;
  if (draft.faults.length > 0 || first === undefined) return faulty(...ordered(draft));
  return ok({
    name,
    remotes: [first, ...rest],
    remoteOrder: draft.remoteOrder,
    options: [...draft.options, ...cipherOffer(draft)],
    needsCredentials: draft.seen.has('auth-user-pass'),
    ...(draft.credentials === undefined ? {} : { credentials: draft.credentials }),
    ...(draft.totp === undefined ? {} : { totp: draft.totp }),
    ...(draft.keyPassphrase === undefined ? {} : { keyPassphrase: draft.keyPassphrase }),
    ignored: draft.ignored,
  });
}

/**
 * The text that OpenVPN reads, on its standard input: it holds the private key and must not touch a disk.
 *
 * It has exactly one `remote`. The literal `address` is of the server, or of the proxy that leads to it; behind a proxy
 * the server may have a name, which OpenVPN hands to the proxy as it is.
 *
 * @throws UnderbridgeError UB_INTERNAL when `address` is no literal IPv4 or IPv6 address, or when OpenVPN could read a
 * row or a body as something else; `parseProfile` makes no such profile.
 */
export function renderProfile(input: { profile: Profile; remote: ProfileRemote; address: string }): string {
  const { profile, remote, address } = input;
  const own = remote.options.some((option) => isControlKey(option.name));
  const options = [...profile.options.filter((option) => !own || !isControlKey(option.name)), ...remote.options];
  const { proxy } = remote;
  const server = [proxy === undefined ? address : remote.host, `${remote.port}`, protocolOf(remote, address)];
  const rows = [...(proxy === undefined ? [] : proxyRows(proxy, address)), { name: 'remote', parameters: server }];
  return [...options.map(renderOption), ...rows.map(renderRow)].join('');
}

/** User name and password of a proxy are asked for over the management connection. */
function proxyRows(
  { kind, port, method, credentials, rows }: ProfileProxy,
  address: string,
): readonly Pick<ProfileOption, 'name' | 'parameters'>[] {
  if (kind === 'socks') {
    const login = credentials === undefined ? [] : ['stdin'];
    return [{ name: 'socks-proxy', parameters: [address, `${port}`, ...login] }];
  }
  const login = credentials === undefined ? [] : ['stdin', method ?? 'basic'];
  return [{ name: 'http-proxy', parameters: [address, `${port}`, ...login] }, ...rows];
}

/** Where OpenVPN's packets go: to the server, or to the proxy that leads there. */
export function firstHop({
  proxy,
  host,
  port,
  transport,
  family,
}: ProfileRemote): Pick<ProfileRemote, 'host' | 'port' | 'transport' | 'family'> {
  if (proxy !== undefined) return { host: proxy.host, port: proxy.port, transport: 'tcp' };
  return { host, port, transport, ...(family === undefined ? {} : { family }) };
}

/**
 * The arguments of the `openvpn` command, all of them.
 *
 * `--config stdin` comes first, so that what follows wins over the profile. OpenVPN is to be started once per attempt:
 * it makes one try, reports and waits in hold. It cannot be told to reload (SIGHUP would read stdin again). It needs a
 * directory for temporary files that it may write (TMPDIR, else /tmp), or it refuses to start.
 */
export function renderArguments(input: {
  profile: Profile;
  managementSocket: string;
  tunName: string;
}): readonly string[] {
  const { profile, managementSocket, tunName } = input;
  return [
    ['--config', 'stdin'],

    // As a client of our socket it is there 6 ms after start, and it ends when we do.
    ['--management', managementSocket, 'unix'],
    ['--management-client'],
    ['--management-hold'],
    ['--management-query-passwords'],
    ['--management-up-down'],
    ...(profile.needsCredentials ? [['--auth-user-pass']] : []),
    // The default `none` makes a refused password a plain exit, status 0, in which the reason is lost.
    ['--auth-retry', 'interact'],

    ['--dev', tunName],
    ['--dev-type', 'tun'],
    ['--persist-tun'],
    ['--disable-dco'],
    // One system call less for each packet: 330 → 285 ticks of CPU for 200 MiB (2.6.14). Over TCP it is left out by OpenVPN
    // itself. It is called experimental, hence `setenv opt`, which lets a version without it start.
    ['--setenv', 'opt', 'fast-io'],
    ['--route-noexec'],
    ['--ifconfig-noexec'],
    // A client may reach the server's own address through the tunnel, and OpenVPN would drop such packets for a loop
    // (2.6.14, `drop_if_recursive_routing`). The router's firewall and routing keep OpenVPN's own packets out of it.
    ['--allow-recursive-routing'],
    ['--script-security', '0'],
    // 2.7 runs a script of its own for DNS; 2.6 does not know the option, hence `setenv opt`.
    ['--setenv', 'opt', 'dns-updown', 'disable'],
    ['--nobind'],

    // Lost handshake packets are sent again after 1, 2, 4, 8 s. A server that stays silent is given up after 15 s.
    ['--tls-timeout', '1'],
    ['--connect-timeout', '15'],
    // No backoff of its own. After a failed connection a second release from hold makes it exit; after refused
    // credentials it would try again at once, as often as it is released: the router must not.
    ['--connect-retry', '1', '1'],
    ['--connect-retry-max', '1'],

    // Until the server pushes its own pair, which then holds: only the server knows how often it pings, and a shorter
    // patience than that would cut an idle tunnel. That the tunnel carries traffic is probed by the router.
    ['--ping', '5'],
    ['--ping-restart', '60'],

    ['--allow-compression', compresses(profile) ? 'asym' : 'no'],
    ...ACCEPTED_PUSHES.map((prefix) => ['--pull-filter', 'accept', prefix]),
    ['--pull-filter', 'ignore', ''],

    // At verb 3 the log has the push reply, from which the router reads DNS.
    ['--verb', '3'],
    ['--suppress-timestamps'],
  ].flat();
}

/**
 * Offers a profile's `cipher` to the server, as OpenVPN 2.5 did.
 *
 * Since 2.6 `cipher` alone means nothing: a server that knows no negotiation, or only CBC, could not be reached with
 * the profile that its provider made for it. Ciphers that OpenSSL 3 lacks (BF-CBC) would be an options error.
 */
function cipherOffer(draft: Draft): readonly ProfileOption[] {
  const cipher = draft.options.findLast((option) => option.name === 'cipher');
  const [name = ''] = cipher?.parameters ?? [];
  const offered = ['data-ciphers', 'ncp-ciphers', 'data-ciphers-fallback'].some((option) => draft.seen.has(option));
  if (cipher === undefined || offered || !/^AES-(?:128|192|256)-CBC$/i.test(name)) return [];
  const { line } = cipher;
  return [
    { name: 'data-ciphers', parameters: [`AES-256-GCM:AES-128-GCM:?CHACHA20-POLY1305:${name}`], line },
    { name: 'data-ciphers-fallback', parameters: [name], line },
  ];
}

/** The faults by line, those of the whole file last, cut to a length that a log can bear. */
function ordered(draft: Draft): readonly Fault[] {
  const lineOf = (fault: Fault): number =>
    fault.name.startsWith(`${draft.file}:`) ? Number(fault.name.slice(draft.file.length + 1)) : Number.MAX_SAFE_INTEGER;
  const faults = draft.faults.toSorted((one, other) => lineOf(one) - lineOf(other));
  const more = faults.length - MAX_FAULTS;
  if (more <= 0) return faults;
  const rest = { name: draft.file, problem: `has ${more} more faults`, hint: 'repair the ones above first' };
  return [...faults.slice(0, MAX_FAULTS), rest];
}

/**
 * What a server may set, by prefix; the blank at the end keeps `ping` from meaning `ping-exit`.
 *
 * Not in it: routes and redirects (`--route-noexec` would skip them anyway), `dns` (the log has it), `ping-exit`,
 * `inactive` and `session-timeout` (would end the process), `explicit-exit-notify` (1.3 s at each stop), `setenv`,
 * `echo`, `client-nat`, and whatever a later version adds.
 */
const ACCEPTED_PUSHES: readonly string[] = [
  // Without it a reply in several messages never ends.
  'push-continuation ',
  'ifconfig ',
  'ifconfig-ipv6 ',
  'route-gateway ',
  'topology ',
  'tun-mtu ',
  'peer-id ',
  'cipher ',
  'key-derivation ',
  'protocol-flags ',
  'auth-token',
  'ping ',
  'ping-restart ',
  // Framing: without it the data channel is garbage. Real compression then meets --allow-compression.
  'comp-lzo',
  'compress',
  'sndbuf ',
  'rcvbuf ',
  'socket-flags TCP_NODELAY',
  'dhcp-option DNS ',
  'dhcp-option DNS6 ',
];

/** True when the profile itself turns compression on; a stub is framing only. */
function compresses(profile: Profile): boolean {
  const last = profile.options.findLast((option) => option.name === 'comp-lzo' || option.name === 'compress');
  const algorithm = last?.parameters[0];
  if (last?.name === 'comp-lzo') return algorithm !== 'no';
  return algorithm !== undefined && !algorithm.startsWith('stub');
}

function renderOption(option: ProfileOption): string {
  // The name is of an option of the profile, and so is no secret.
  if (!/^[a-z0-9-]+$/.test(option.name)) throw bug(`not the name of an option: ${JSON.stringify(option.name)}`);
  if (option.inline === undefined) return renderRow(option);
  const flaw = findBodyFlaw(option.inline);
  if (flaw !== undefined) throw bug(`body of ${option.name} not fit to render: ${flaw.kind} in its line ${flaw.line}`);
  return `<${option.name}>\n${option.inline}</${option.name}>\n`;
}

function renderRow(option: Pick<ProfileOption, 'name' | 'parameters'>): string {
  const row = renderOptionRow(option);
  if (Buffer.byteLength(row) > MAX_ROW_BYTES || /[\u0000-\u001f\u007f]/.test(row)) {
    throw bug(`row of ${option.name} not fit to render`);
  }
  return `${row}\n`;
}

/** The family is said as well, so that OpenVPN never asks a resolver. */
function protocolOf(remote: ProfileRemote, address: string): string {
  const family = ipaddr.IPv4.isValidFourPartDecimal(address) ? 4 : 6;
  if (family === 6 && !(/^[0-9a-f:.]+$/i.test(address) && ipaddr.IPv6.isValid(address))) {
    throw bug(`not a literal address: ${JSON.stringify(address)}`);
  }
  return remote.transport === 'udp' ? `udp${family}` : `tcp${family}-client`;
}

function bug(message: string): UnderbridgeError {
  return new UnderbridgeError({
    code: 'UB_INTERNAL',
    message,
    hint: 'this is a bug in Underbridge, please report it',
  });
}
