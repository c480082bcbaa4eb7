import ipaddr from 'ipaddr.js';
import { type Port, parsePort } from '../net/address.ts';
import { isHostAddress } from './host-address.ts';
import type { OptionLine } from './option-lexer.ts';
import { type BlockDraft, type Draft, ignore, type Protocol, report } from './profile-draft.ts';
import type { ProfileRemote } from './profile-model.ts';
import { finishProxy } from './profile-proxies.ts';

/** Every name among them is looked up before each round, and each pair is compared. */
export const mostRemotes = 256;

/** Reads `remote`, `proto`, `port`, `rport` and `proto-force`, in the profile or in a block. */
export function readRemoteOption(draft: Draft, option: OptionLine, block?: BlockDraft): void {
  const place = block ?? draft.remotes;
  const [first = '', portText, protoText] = option.parameters;
  if (option.name === 'proto' || option.name === 'proto-force') {
    const protocol = readProtocol(draft, option, first);
    if (protocol === undefined) return;
    if (option.name === 'proto-force') draft.remotes.forced = protocol.transport;
    else place.defaults = { ...place.defaults, protocol };
    return;
  }
  if (option.name === 'port' || option.name === 'rport') {
    const port = readPort(draft, option, first);
    if (port !== undefined) place.defaults = { ...place.defaults, port };
    return;
  }
  const host = readHost(draft, option);
  if (host === undefined) return;
  const port = portText === undefined ? undefined : readPort(draft, option, portText);
  const protocol = protoText === undefined ? undefined : readProtocol(draft, option, protoText);
  if ((portText !== undefined && port === undefined) || (protoText !== undefined && protocol === undefined)) return;
  const remote = {
    option,
    host,
    ...(port === undefined ? {} : { port }),
    ...(protocol === undefined ? {} : { protocol }),
  };
  if (block === undefined) draft.remotes.listed.push(remote);
  else if (block.remote !== undefined) {
    report(draft, option, 'is the second remote of its <connection> block', 'give each remote a block of its own');
  } else {
    // OpenVPN lets `proto` and `port` lines of the block that follow the remote win.
    block.remote = remote;
    block.defaults = { port: port ?? block.defaults.port, protocol: protocol ?? block.defaults.protocol };
  }
}

/** The host that an option names first; reports what no server can be reached by. */
export function readHost(draft: Draft, option: OptionLine): string | undefined {
  const host = (option.parameters[0] ?? '').replace(/^\[(.*)\]$/, '$1');
  if (!isHost(host)) {
    report(draft, option, 'names no host', `write a host name or an address after ${option.name}`);
    return undefined;
  }
  if (ipaddr.isValid(host) && !isHostAddress(host)) {
    report(draft, option, 'has an address that no server can have', 'write the address or the name of the server');
    return undefined;
  }
  return host;
}

/** The remotes in the order of the profile, each once. */
export function finishRemotes(draft: Draft): readonly ProfileRemote[] {
  const { remotes } = draft;
  const surplus = remotes.blocks[mostRemotes] ?? remotes.listed[mostRemotes]?.option;
  if (surplus !== undefined) {
    const problem = `is one server too many: ${mostRemotes} are the most`;
    draft.faults.push({ name: `${draft.file}:${surplus.line}`, problem, hint: 'keep the servers you want' });
    return [];
  }
  const finished: ProfileRemote[] = [];
  for (const remote of remotes.blocks.length > 0 ? remotes.blocks : listedRemotes(draft)) {
    if (remotes.forced !== undefined && remote.transport !== remotes.forced) {
      ignoreRemote(draft, remote, 'proto-force names the other transport');
      continue;
    }
    const twin = finished.find((other) => isSame(other, remote));
    if (twin !== undefined) ignoreRemote(draft, remote, `it is the remote of line ${twin.line}`);
    else finished.push(remote.transport === 'tcp' ? withoutFragment(draft, remote) : remote);
  }
  if (remotes.blocks.length > 0) {
    for (const { option } of remotes.listed) ignore(draft, option, 'the profile has <connection> blocks, which win');
    for (const { name, line } of remotes.inherited.slice(remotes.inheritedByBlocks)) {
      draft.ignored.push({ line, option: name, reason: 'it follows the <connection> blocks, which do not know of it' });
    }
  }
  if (finished.length === 0 && !draft.seen.has('remote') && !draft.seen.has('connection')) {
    draft.faults.push({ name: draft.file, problem: 'names no server', hint: 'add a line `remote HOST PORT`' });
  } else if (finished.length === 0 && draft.faults.length === 0) {
    const hint = 'remove proto-force, or name a remote of that transport';
    draft.faults.push({ name: draft.file, problem: 'has no remote of the transport that proto-force names', hint });
  }
  return finished;
}

function listedRemotes(draft: Draft): readonly ProfileRemote[] {
  const { defaults, inherited, listed } = draft.remotes;
  const proxy = finishProxy(draft.remotes.proxy);
  // Lines outside of blocks hold for every remote, whatever their order: OpenVPN makes its list at the end.
  return listed.map(({ option, host, port, protocol }) => ({
    host,
    port: port ?? defaults.port,
    ...(protocol ?? defaults.protocol),
    line: option.line,
    options: inherited,
    ...(proxy === undefined ? {} : { proxy }),
  }));
}

/** OpenVPN takes a TCP remote with `fragment` for an options error, even where it stands beside a UDP remote. */
function withoutFragment(draft: Draft, remote: ProfileRemote): ProfileRemote {
  const fragment = remote.options.find((option) => option.name === 'fragment');
  if (fragment === undefined) return remote;
  const reason = `TCP needs no fragments, so the remote of line ${remote.line} goes without`;
  draft.ignored.push({ line: fragment.line, option: 'fragment', reason });
  return { ...remote, options: remote.options.filter((option) => option.name !== 'fragment') };
}

function ignoreRemote(draft: Draft, remote: ProfileRemote, reason: string): void {
  draft.ignored.push({ line: remote.line, option: 'remote', reason });
}

function isSame(one: ProfileRemote, other: ProfileRemote): boolean {
  return (
    one.host === other.host &&
    one.port === other.port &&
    one.transport === other.transport &&
    one.family === other.family &&
    one.options.length === other.options.length &&
    one.options.every((option, index) => option === other.options[index])
  );
}

/** The port that an option has; reports what is none. */
export function readPort(draft: Draft, option: OptionLine, text: string): Port | undefined {
  const port = parsePort(text);
  if (port === undefined) report(draft, option, 'has no port from 1 to 65535', 'write the port as a number');
  return port;
}

function readProtocol(draft: Draft, option: OptionLine, text: string): Protocol | undefined {
  const [, name, digit] = /^(udp(?=[46]?$)|tcp(?=[46]?(?:-client)?$))([46]?)/.exec(text) ?? [];
  const family = digit === '' ? {} : ({ family: digit === '6' ? 'ipv6' : 'ipv4' } as const);
  if (name !== undefined) return { transport: name === 'udp' ? 'udp' : 'tcp', ...family };
  if (/^tcp[46]?-server$/.test(text)) {
    report(draft, option, 'makes OpenVPN wait for a connection', 'write tcp-client');
  } else {
    report(draft, option, 'names no transport that OpenVPN knows', 'write udp or tcp');
  }
  return undefined;
}

function isHost(text: string): boolean {
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return true;
  // 45 is the longest IPv6 address (INET6_ADDRSTRLEN less the NUL). One with a zone is of this machine's own links.
  if (/^[0-9a-f:.]{2,45}$/i.test(text) && ipaddr.IPv6.isValid(text)) return true;
  // All numbers is an address gone wrong, and getaddrinfo would make one of it (inet_aton).
  if (/^(?:0x[0-9a-f]*|[\d.])+$/i.test(text) || text.length > 253) return false;
  return /^(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*\.?$/i.test(text);
}
