import { type LogEvent, parseLog } from './log.ts';
import {
  type AuthTokenEvent,
  type PasswordNeedEvent,
  parsePassword,
  type VerificationFailedEvent,
} from './password.ts';
import { parseState, type StateEvent } from './state.ts';

/** What OpenVPN says unasked (doc/management-notes.txt, "REAL-TIME MESSAGE FORMAT"). */
export type ManagementEvent =
  | InfoEvent
  | HoldEvent
  | StateEvent
  | PasswordNeedEvent
  | VerificationFailedEvent
  | AuthTokenEvent
  | BytecountEvent
  | LogEvent
  | FatalEvent
  | UpdownEvent
  | NotifyEvent
  | InfomsgEvent
  | EchoEvent
  | RemoteEvent
  | ProxyEvent
  | NeedOkEvent
  | NeedStrEvent
  | PkSignEvent
  | RsaSignEvent
  | NeedCertificateEvent
  | UnknownEvent;

/** The banner, first on every connection. */
export interface InfoEvent {
  readonly kind: 'info';
  readonly text: string;
  /** The version of the management interface: 5 with OpenVPN 2.6, 6 with 2.7. */
  readonly managementVersion?: number;
}

/** OpenVPN waits for one `holdRelease()`. Comes again on each connection until it is released. */
export interface HoldEvent {
  readonly kind: 'hold';
  /** Seconds that OpenVPN itself would have waited. Hold switches its own backoff off, so the client has to wait. */
  readonly waitS: number;
}

/** Bytes that went over the wire since the start. */
export interface BytecountEvent {
  readonly kind: 'bytecount';
  readonly bytesIn: number;
  readonly bytesOut: number;
}

/** OpenVPN dies of this; the end of the connection follows. */
export interface FatalEvent {
  readonly kind: 'fatal';
  readonly message: string;
}

/** The tun device came or went; `env` is what an up or down script would get. */
export interface UpdownEvent {
  readonly kind: 'updown';
  readonly phase: 'UP' | 'DOWN';
  readonly env: ReadonlyMap<string, string>;
}

/** `>NOTIFY:severity,type,text`, such as `info,server-pushed-connection-reset,`. */
export interface NotifyEvent {
  readonly kind: 'notify';
  readonly severity: string;
  readonly type: string;
  readonly text: string;
}

/** Text of the server about a pending authentication: `CR_TEXT:…`, `WEB_AUTH:…`. */
export interface InfomsgEvent {
  readonly kind: 'infomsg';
  readonly text: string;
}

/** A parameter of `--echo`. */
export interface EchoEvent {
  readonly kind: 'echo';
  readonly timeS: number;
  readonly text: string;
}

/** OpenVPN waits for `remoteAccept()`, `remoteSkip()` or `remoteMod()`; with `--management-query-remote` only. */
export interface RemoteEvent {
  readonly kind: 'remote';
  readonly host: string;
  /** As the profile has it: a number or a service name. */
  readonly port: string;
  readonly protocol: string;
}

/** OpenVPN waits for `useProxy()`; with `--management-query-proxy` only. */
export interface ProxyEvent {
  readonly kind: 'proxy';
  readonly index: number;
  readonly protocol: string;
  readonly host: string;
}

/** OpenVPN waits for `needOk()` with this name: a smart card is to be inserted. */
export interface NeedOkEvent {
  readonly kind: 'need-ok';
  readonly name: string;
  readonly text: string;
}

/** OpenVPN waits for `needStr()` with this name. */
export interface NeedStrEvent {
  readonly kind: 'need-str';
  readonly name: string;
  readonly text: string;
}

/** OpenVPN waits for `sendSignature()`; with `--management-external-key` only. */
export interface PkSignEvent {
  readonly kind: 'pk-sign';
  readonly data: string;
  readonly algorithm?: string;
}

/** {@link PkSignEvent} as a client gets it that announced no version. */
export interface RsaSignEvent {
  readonly kind: 'rsa-sign';
  readonly data: string;
}

/** OpenVPN waits for `sendCertificate()`; with `--management-external-cert` only. */
export interface NeedCertificateEvent {
  readonly kind: 'need-certificate';
  readonly hint: string;
}

/** A line that this package does not know, or that belongs to no command. */
export interface UnknownEvent {
  readonly kind: 'unknown';
  readonly line: string;
}

/** Parses one line that starts with `>`. UPDOWN lines are not whole events: see `createUpdownCollector`. */
export function parseNotification(line: string): ManagementEvent {
  const colon = line.indexOf(':');
  const name = colon === -1 ? line.slice(1) : line.slice(1, colon);
  const text = colon === -1 ? '' : line.slice(colon + 1);
  return parseNamed(name, text) ?? { kind: 'unknown', line };
}

function parseNamed(name: string, text: string): ManagementEvent | undefined {
  switch (name) {
    case 'INFO':
      return parseInfo(text);
    case 'HOLD':
      return parseHold(text);
    case 'STATE':
      return parseState(text);
    case 'PASSWORD':
      return parsePassword(text);
    case 'BYTECOUNT':
      return parseBytecount(text);
    case 'LOG':
      return parseLog(text);
    case 'FATAL':
      return { kind: 'fatal', message: text };
    case 'NOTIFY':
      return parseNotify(text);
    case 'INFOMSG':
      return { kind: 'infomsg', text };
    case 'ECHO':
      return parseEcho(text);
    case 'REMOTE':
      return parseRemote(text);
    case 'PROXY':
      return parseProxy(text);
    case 'NEED-OK':
      return parseNeed('need-ok', text);
    case 'NEED-STR':
      return parseNeed('need-str', text);
    case 'PK_SIGN':
      return parsePkSign(text);
    case 'RSA_SIGN':
      return { kind: 'rsa-sign', data: text };
    case 'NEED-CERTIFICATE':
      return { kind: 'need-certificate', hint: text };
    default:
      return undefined;
  }
}

function parseInfo(text: string): InfoEvent {
  const version = /^OpenVPN Management Interface Version (\d{1,4})\b/.exec(text)?.[1];
  return { kind: 'info', text, ...(version === undefined ? {} : { managementVersion: Number(version) }) };
}

function parseHold(text: string): HoldEvent | undefined {
  const match = /^Waiting for hold release(?::(\d{1,9}))?$/.exec(text);
  return match === null ? undefined : { kind: 'hold', waitS: Number(match[1] ?? 0) };
}

function parseBytecount(text: string): BytecountEvent | undefined {
  const match = /^(\d{1,15}),(\d{1,15})$/.exec(text);
  return match === null ? undefined : { kind: 'bytecount', bytesIn: Number(match[1]), bytesOut: Number(match[2]) };
}

function parseNotify(line: string): NotifyEvent | undefined {
  const match = /^([^,]*),([^,]*),(.*)$/s.exec(line);
  if (match === null) return undefined;
  const [, severity = '', type = '', text = ''] = match;
  return { kind: 'notify', severity, type, text };
}

/** Parses `ts,text`: what follows `>ECHO:`, or a line of `echo`'s reply; undefined when it is something else. */
export function parseEcho(line: string): EchoEvent | undefined {
  const match = /^(\d{1,15}),(.*)$/s.exec(line);
  return match === null ? undefined : { kind: 'echo', timeS: Number(match[1]), text: match[2] ?? '' };
}

function parseRemote(text: string): RemoteEvent | undefined {
  const match = /^(.*),([^,]*),([^,]*)$/s.exec(text);
  if (match === null) return undefined;
  const [, host = '', port = '', protocol = ''] = match;
  return { kind: 'remote', host, port, protocol };
}

function parseProxy(text: string): ProxyEvent | undefined {
  const match = /^(\d{1,9}),([^,]*),(.*)$/s.exec(text);
  if (match === null) return undefined;
  const [, index, protocol = '', host = ''] = match;
  return { kind: 'proxy', index: Number(index), protocol, host };
}

function parseNeed(kind: 'need-ok' | 'need-str', line: string): NeedOkEvent | NeedStrEvent | undefined {
  const match = /^Need '(.*?)' \w+ MSG:(.*)$/s.exec(line);
  return match === null ? undefined : { kind, name: match[1] ?? '', text: match[2] ?? '' };
}

function parsePkSign(text: string): PkSignEvent {
  const [data = '', algorithm] = text.split(/,(.*)/s, 2);
  return { kind: 'pk-sign', data, ...(algorithm === undefined ? {} : { algorithm }) };
}
