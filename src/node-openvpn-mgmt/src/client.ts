import type { Duplex } from 'node:stream';

import { type Command, type CommandResult, createCommandQueue } from './command-queue.ts';
import { type Credentials, planCredentials } from './credentials.ts';
import { ManagementError, ProtocolError } from './errors.ts';
import { type LogEvent, parseLog } from './log.ts';
import { type EchoEvent, type ManagementEvent, parseEcho } from './notification.ts';
import type { PasswordNeedEvent } from './password.ts';
import { createManagementParser } from './protocol.ts';
import { parseState, type StateEvent } from './state.ts';

/** Why a connection is gone. */
export type CloseReason =
  /** OpenVPN or the client ended it. */
  | { readonly kind: 'ended' }
  /** OpenVPN sent what no OpenVPN sends; the client ended it. */
  | { readonly kind: 'protocol-error'; readonly error: ProtocolError }
  /** OpenVPN did not take `managementPassword`, or asks for one and there is none; the client ended the connection. */
  | { readonly kind: 'password-refused'; readonly error: ManagementError }
  | { readonly kind: 'stream-error'; readonly error: Error };

/** The signals that OpenVPN takes over the management interface. */
export type ManagementSignal = 'SIGHUP' | 'SIGTERM' | 'SIGUSR1' | 'SIGUSR2';

/** What `useProxy` answers. */
export type ProxyChoice =
  | 'none'
  | {
      readonly kind: 'http' | 'socks';
      readonly host: string;
      readonly port: number;
    };

/** The versions that `version` reports. */
export interface VersionReport {
  /** `OpenVPN 2.6.14 x86_64-pc-linux-gnu [SSL (OpenSSL)] …` */
  readonly openvpn: string;
  /** 5 with OpenVPN 2.6, 6 with 2.7. */
  readonly management: number;
}

/**
 * The commands of OpenVPN's management interface.
 *
 * Every command is written at once and answered in order. Every promise rejects with a `ManagementError` and nothing
 * else: `MGMT_PARAMETER` (nothing was sent), `MGMT_REJECTED`, `MGMT_TIMEOUT`, `MGMT_CLOSED`, `MGMT_PROTOCOL`.
 */
export interface ManagementClient {
  /** Resolves, never rejects, when the connection is gone and every pending command is settled. */
  readonly closed: Promise<CloseReason>;
  /** Ends the connection; pending commands reject. OpenVPN exits when it runs with `--management-client`. */
  close(): void;

  pid(): Promise<number>;
  /** Whether OpenVPN will hold at its next start. */
  hold(): Promise<boolean>;
  setHold(setting: 'on' | 'off'): Promise<void>;
  /** One per hold event, and only after waiting what the event says. */
  holdRelease(): Promise<void>;
  /** SIGUSR1 and SIGHUP are refused during hold. */
  signal(name: ManagementSignal): Promise<void>;

  /** The current state. */
  state(): Promise<StateEvent>;
  /** Starts state events; resolves with the history, empty if not asked for. */
  stateOn(options?: HistoryOptions): Promise<readonly StateEvent[]>;
  stateOff(): Promise<void>;
  /** Starts log events; resolves with the history (`--management-log-cache` lines), empty if not asked for. */
  logOn(options?: HistoryOptions): Promise<readonly LogEvent[]>;
  logOff(): Promise<void>;
  /** Starts echo events; resolves with the history, empty if not asked for. */
  echoOn(options?: HistoryOptions): Promise<readonly EchoEvent[]>;
  echoOff(): Promise<void>;
  /** Starts bytecount events every so many seconds; 0 stops them. */
  bytecount(intervalS: number): Promise<void>;

  /**
   * Answers a `password-need` event with what it asks for, challenges included: login, passphrase of the private key,
   * login of a proxy. Nothing is sent when something is missing. OpenVPN does not check the values here: a
   * `verification-failed` event or a new state follows.
   */
  answer(need: PasswordNeedEvent, credentials: Credentials): Promise<void>;
  /** The user name alone; see `answer`. */
  username(realm: string, value: string): Promise<void>;
  /** The password alone; see `answer`. */
  password(realm: string, value: string): Promise<void>;
  /** Answers a `CR_TEXT` infomsg; `response` is plain text. */
  crResponse(response: string): Promise<void>;
  needOk(name: string, answer: 'ok' | 'cancel'): Promise<void>;
  needStr(name: string, value: string): Promise<void>;
  forgetPasswords(): Promise<void>;
  setAuthRetry(mode: 'none' | 'interact' | 'nointeract'): Promise<void>;

  /** Answers a `remote` event: use it as it is. */
  remoteAccept(): Promise<void>;
  /** Answers a `remote` event: go on by `count` entries. */
  remoteSkip(count?: number): Promise<void>;
  /** Answers a `remote` event: use another address. */
  remoteMod(remote: { readonly host: string; readonly port: number | string }): Promise<void>;

  /** Answers a `proxy` event. */
  useProxy(choice: ProxyChoice): Promise<void>;
  /** Answers a `pk-sign` event with the signature of its `data`. */
  sendSignature(signature: Uint8Array): Promise<void>;
  /** Answers a `need-certificate` event. */
  sendCertificate(pem: string): Promise<void>;

  verb(): Promise<number>;
  setVerb(level: number): Promise<void>;
  version(): Promise<VersionReport>;
  /** Announces what the client understands, such as 3 for `pk-sign` with an algorithm. Resolves once written. */
  announceVersion(version: number): Promise<void>;
  /** The lines of the status file. Refused until the first hold is released. */
  status(format?: 1 | 2 | 3): Promise<readonly string[]>;
  /** Any other command of management-notes.txt, such as `{ name: 'net', reply: 'block' }`. */
  send(command: Command): Promise<CommandResult>;
  /** Asks OpenVPN to end the connection and resolves when it has; it exits with `--management-client`. */
  exit(): Promise<void>;
}

/** Whether what came before is wanted too; atomic, nothing is lost between the history and the first event. */
export interface HistoryOptions {
  readonly history?: boolean;
}

/** What a client works on. */
export interface ManagementClientOptions {
  /** A connected stream of bytes (no encoding set) that nobody else reads or writes, such as a `net.Socket`. */
  readonly duplex: Duplex;
  /** The password of `--management … pwfile`. If it is not taken, the connection is closed. */
  readonly managementPassword?: string | undefined;
  /** How long a command may wait for its whole reply; 15,000 unless told: a name lookup blocks OpenVPN for 10 s. */
  readonly commandTimeoutMs?: number | undefined;
  /** Gets every event in OpenVPN's order, before the reply that follows it settles. Must not throw. */
  readonly onEvent: (event: ManagementEvent) => void;
}

/** Creates a client on a connected stream. Listens from the start, so that no banner is lost. */
export function createManagementClient({
  duplex,
  managementPassword,
  commandTimeoutMs = 15_000,
  onEvent,
}: ManagementClientOptions): ManagementClient {
  const parser = createManagementParser();
  const queue = createCommandQueue({ write: (line) => void duplex.write(line), timeoutMs: commandTimeoutMs });
  const { promise: closed, resolve: resolveClosed } = Promise.withResolvers<CloseReason>();
  let open = true;
  let prompted = false;

  function finish(reason: CloseReason): void {
    if (!open) return;
    open = false;
    queue.close(reason.kind === 'ended' ? undefined : reason.error);
    duplex.destroy();
    resolveClosed(reason);
  }

  function refusePassword(message: string): void {
    finish({ kind: 'password-refused', error: new ManagementError({ code: 'MGMT_REJECTED', message }) });
  }

  // The password went out before everything else, so that the first prompt is answered.
  function receivePrompt(): void {
    if (managementPassword === undefined) refusePassword('OpenVPN asks for a management password, and there is none');
    else if (prompted) refusePassword('OpenVPN refused the management password');
    prompted = true;
  }

  function receive(chunk: Uint8Array): void {
    if (!open) return;
    try {
      for (const message of parser.push(chunk)) {
        if (message.kind === 'password-prompt') receivePrompt();
        else if (message.kind !== 'reply') onEvent(message);
        else if (!queue.push(message.line)) onEvent({ kind: 'unknown', line: message.line });
        // An event handler may have closed the connection.
        if (!open) return;
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      finish({ kind: 'protocol-error', error });
    }
  }

  duplex.on('data', receive);
  duplex.on('error', (error: Error) => finish({ kind: 'stream-error', error }));
  duplex.on('end', () => finish({ kind: 'ended' }));
  duplex.on('close', () => finish({ kind: 'ended' }));
  if (duplex.destroyed) finish({ kind: 'ended' });
  if (managementPassword !== undefined) {
    queue.sendPassword(managementPassword).catch((error: ManagementError) => {
      finish({ kind: 'password-refused', error });
    });
  }

  const single = (name: string, ...parameters: readonly string[]): Promise<CommandResult> =>
    queue.send({ name, parameters, reply: 'single' });
  const secret = (name: string, realm: string, value: string): Promise<CommandResult> =>
    queue.send({ name, parameters: [realm, value], reply: 'single', secrets: [value] });
  const historyOf = async (name: string, options: HistoryOptions | undefined): Promise<readonly string[]> => {
    const command: Command =
      options?.history === true
        ? { name, parameters: ['on', 'all'], reply: 'success-block' }
        : { name, parameters: ['on'], reply: 'single' };
    return (await queue.send(command)).lines;
  };

  return {
    closed,
    close: () => finish({ kind: 'ended' }),

    pid: async () => readNumber('pid', await single('pid')),
    hold: async () => readNumber('hold', await single('hold')) === 1,
    setHold: async (setting) => void (await single('hold', setting)),
    holdRelease: async () => void (await single('hold', 'release')),
    signal: async (name) => void (await single('signal', name)),

    state: async () => {
      const { lines } = await queue.send({ name: 'state', reply: 'block' });
      return parseState(lines.at(-1) ?? '') ?? unreadable('state');
    },
    stateOn: async (options) => parseLines(await historyOf('state', options), parseState),
    stateOff: async () => void (await single('state', 'off')),
    logOn: async (options) => parseLines(await historyOf('log', options), parseLog),
    logOff: async () => void (await single('log', 'off')),
    echoOn: async (options) => parseLines(await historyOf('echo', options), parseEcho),
    echoOff: async () => void (await single('echo', 'off')),
    bytecount: async (intervalS) => void (await single('bytecount', String(intervalS))),

    answer: async (need, credentials) => {
      await Promise.all(planCredentials(need, credentials).map((command) => queue.send(command)));
    },
    username: async (realm, value) => void (await secret('username', realm, value)),
    password: async (realm, value) => void (await secret('password', realm, value)),
    crResponse: async (response) => {
      const encoded = Buffer.from(response, 'utf8').toString('base64');
      await queue.send({ name: 'cr-response', parameters: [encoded], reply: 'single', secrets: [response, encoded] });
    },
    needOk: async (name, answer) => void (await single('needok', name, answer)),
    needStr: async (name, value) => void (await secret('needstr', name, value)),
    forgetPasswords: async () => void (await single('forget-passwords')),
    setAuthRetry: async (mode) => void (await single('auth-retry', mode)),

    remoteAccept: async () => void (await single('remote', 'ACCEPT')),
    remoteSkip: async (count) => void (await single('remote', 'SKIP', ...(count === undefined ? [] : [String(count)]))),
    remoteMod: async ({ host, port }) => void (await single('remote', 'MOD', host, String(port))),

    useProxy: async (choice) => {
      if (choice === 'none') return void (await single('proxy', 'NONE'));
      await single('proxy', choice.kind.toUpperCase(), choice.host, String(choice.port));
    },
    sendSignature: async (signature) => {
      const body = linesOf(Buffer.from(signature).toString('base64'));
      await queue.send({ name: 'pk-sig', body, reply: 'single' });
    },
    sendCertificate: async (pem) => {
      await queue.send({ name: 'certificate', body: pem.trim().split(/\r?\n/), reply: 'single' });
    },

    verb: async () => readNumber('verb', await single('verb')),
    setVerb: async (level) => void (await single('verb', String(level))),
    version: async () => readVersion(await queue.send({ name: 'version', reply: 'block' })),
    announceVersion: async (version) => queue.post('version', String(version)),
    status: async (format) => {
      const parameters = format === undefined ? [] : [String(format)];
      return (await queue.send({ name: 'status', parameters, reply: 'block' })).lines;
    },
    send: (command) => queue.send(command),
    exit: async () => {
      queue.post('exit');
      const { promise: late, reject } = Promise.withResolvers<never>();
      const timer = setTimeout(() => reject(exitTimeout(commandTimeoutMs)), commandTimeoutMs);
      await Promise.race([closed, late]);
      clearTimeout(timer);
    },
  };
}

function parseLines<Event>(lines: readonly string[], parse: (line: string) => Event | undefined): readonly Event[] {
  return lines.flatMap((line) => parse(line) ?? []);
}

/** Cuts base64 into lines that fit OpenVPN's buffer, as PEM has them. */
function linesOf(base64: string): readonly string[] {
  return base64.match(/.{1,64}/g) ?? [];
}

/** Reads `name=number`. */
function readNumber(name: string, { text }: CommandResult): number {
  const [key, value = ''] = text.split('=');
  return key === name && /^\d{1,15}$/.test(value) ? Number(value) : unreadable(name);
}

function readVersion({ lines }: CommandResult): VersionReport {
  const field = (name: string) => lines.find((line) => line.startsWith(name))?.slice(name.length);
  const openvpn = field('OpenVPN Version: ');
  const management = field('Management Version: ');
  if (openvpn === undefined || management === undefined || !/^\d{1,4}$/.test(management)) return unreadable('version');
  return { openvpn, management: Number(management) };
}

function unreadable(command: string): never {
  throw new ManagementError({
    code: 'MGMT_PROTOCOL',
    message: `OpenVPN's answer to ${command} is unreadable`,
    command,
  });
}

function exitTimeout(timeoutMs: number): ManagementError {
  return new ManagementError({
    code: 'MGMT_TIMEOUT',
    message: `OpenVPN did not end the connection within ${timeoutMs} ms`,
    command: 'exit',
  });
}
