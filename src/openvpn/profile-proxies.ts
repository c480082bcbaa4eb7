import type { Port } from '../net/address.ts';
import { readPair } from './material.ts';
import type { OptionLine } from './option-lexer.ts';
import { type BlockDraft, type Draft, type ProxyDraft, report } from './profile-draft.ts';
import type { ProfileProxy, ProfileRemote } from './profile-model.ts';
import { readHost, readPort } from './profile-remotes.ts';

const defaultSocksPort = 1080 as Port;
const methods = ['basic', 'ntlm', 'ntlm2'] as const;

/** Reads `http-proxy`, `socks-proxy`, `http-proxy-user-pass` and `http-proxy-option`, in the profile or in a block. */
export function readProxyOption(draft: Draft, option: OptionLine, block?: BlockDraft): void {
  const { proxy } = block ?? draft.remotes;
  switch (option.name) {
    case 'http-proxy':
      readHttpProxy(draft, option, proxy);
      return;
    case 'socks-proxy':
      readSocksProxy(draft, option, proxy);
      return;
    case 'http-proxy-option':
      proxy.rows.push({ name: option.name, parameters: option.parameters, line: option.line });
      return;
    case 'http-proxy-user-pass': {
      const credentials = readPair(draft, option);
      if (credentials !== undefined) proxy.credentials = credentials;
      return;
    }
    default:
      throw new TypeError(`no reader for ${option.name}`);
  }
}

function readHttpProxy(draft: Draft, option: OptionLine, proxy: ProxyDraft): void {
  const [, portText = '', third, fourth] = option.parameters;
  const host = readHost(draft, option);
  const port = readPort(draft, option, portText);
  if (host === undefined || port === undefined) return;
  // OpenVPN would ask for a login in the middle of connecting, and there the answer took it 2 s and more to hear. So it
  // is told at once, in the way that nearly every proxy takes.
  const isAuto = third === 'auto' || third === 'auto-nct';
  const isFile = third !== undefined && !isAuto && third !== 'none';
  const method = methods.find((known) => known === fourth);
  if (fourth !== undefined && fourth !== 'none' && method === undefined) {
    report(draft, option, 'names a way to log in that OpenVPN does not know', `write one of: ${methods.join(', ')}`);
    return;
  }
  const credentials = isFile ? readPair(draft, { ...option, parameters: [third] }) : undefined;
  if (credentials !== undefined) proxy.credentials = credentials;
  proxy.found = { kind: 'http', host, port, line: option.line, method: method ?? 'basic' };
}

function readSocksProxy(draft: Draft, option: OptionLine, proxy: ProxyDraft): void {
  const [, portText, file] = option.parameters;
  const host = readHost(draft, option);
  const port = portText === undefined ? defaultSocksPort : readPort(draft, option, portText);
  if (host === undefined || port === undefined) return;
  const credentials = file === undefined ? undefined : readPair(draft, { ...option, parameters: [file] });
  if (credentials !== undefined) proxy.credentials = credentials;
  proxy.found = { kind: 'socks', host, port, line: option.line };
}

/** The proxy that a draft has come to; undefined where none is named. */
export function finishProxy({ found, credentials, rows }: ProxyDraft): ProfileProxy | undefined {
  if (found === undefined) return undefined;
  const { line: _, ...place } = found;
  return {
    ...place,
    rows: found.kind === 'http' ? rows : [],
    ...(credentials === undefined ? {} : { credentials }),
  };
}

/** Reports a remote over UDP behind a proxy: only TCP goes through the one place that the firewall opens. */
export function checkProxy(draft: Draft, remote: ProfileRemote): void {
  if (remote.proxy === undefined || remote.transport === 'tcp') return;
  const kind = remote.proxy.kind === 'http' ? 'an HTTP proxy' : 'a SOCKS proxy, whose port for UDP nobody knows yet';
  draft.faults.push({
    name: `${draft.file}:${remote.line}`,
    value: `remote ${remote.host} ${remote.port}`,
    problem: `is a remote over UDP behind ${kind}`,
    hint: 'write proto tcp-client, or remove the proxy',
  });
}
