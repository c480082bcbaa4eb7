import { chmodSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { UnderbridgeError } from '../errors.ts';
import type { IfName } from '../net/address.ts';
import {
  createManagementClient,
  createPushReplyCollector,
  type ManagementClient,
  type ManagementEvent,
} from '../node-openvpn-mgmt/src/index.ts';
import { explainLine, explainRestart, type FailureContext, killedBy } from '../openvpn/failure.ts';
import { parseTunnelLink } from '../openvpn/link.ts';
import type { Cause } from '../tunnel/cause.ts';
import type { TunnelLink } from '../tunnel/policy.ts';
import { killAs, startAs } from './as-user.ts';
import type { Log } from './log.ts';
import { createLogin, type OpenvpnSecrets } from './openvpn-login.ts';

/** The user and group of the image that OpenVPN runs as; it owns nothing but the tun device. */
export const openvpnUid = 975;

/** What one OpenVPN process tells. After `failed` it is of no more use. */
export type OpenvpnEvent =
  | { readonly kind: 'held' }
  | { readonly kind: 'answered' }
  | { readonly kind: 'verified' }
  | { readonly kind: 'connected'; readonly tun: TunnelLink }
  | { readonly kind: 'suspected'; readonly cause: Cause }
  | { readonly kind: 'failed'; readonly cause: Cause };

export interface OpenvpnProcess {
  readonly release: () => void;
  /** Ends the process and waits until it is gone; never longer than a second. */
  readonly end: () => Promise<void>;
}

/** A folder on tmpfs that only root and OpenVPN's group can enter. `/dev/shm` is writable in every container. */
export function makeRunFolder(): string {
  const path = ['/run', '/dev/shm'].map((parent) => `${parent}/underbridge`).find(makeFolder);
  if (path !== undefined) return path;
  throw new UnderbridgeError({
    code: 'UB_CONFIG',
    message: 'neither /run nor /dev/shm can be written to',
    hint: 'mount a tmpfs on /run (Compose: `tmpfs: [/run]`)',
  });
}

function makeFolder(path: string): boolean {
  try {
    rmSync(path, { recursive: true, force: true });
    // A new file belongs to the process's group. Taking OpenVPN's group for a moment needs CAP_SETGID, which starting
    // OpenVPN needs anyway; chown would need CAP_CHOWN. The set-group-ID bit hands the group on to the sockets.
    process.setegid?.(openvpnUid);
    mkdirSync(path);
    chmodSync(path, 0o2710);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error) return false;
    throw error;
  } finally {
    process.setegid?.(0);
  }
}

/**
 * Starts OpenVPN under its own user, without capabilities, with the profile on its standard input; it calls back to a
 * socket of ours and waits in hold.
 */
export function startOpenvpn({
  runFolder,
  epoch,
  tunName,
  args,
  profileText,
  context,
  secrets,
  log,
  onEvent,
}: {
  readonly runFolder: string;
  readonly epoch: number;
  readonly tunName: IfName;
  readonly args: (managementSocket: string) => readonly string[];
  readonly profileText: string;
  /** What the attempt is about, to tell why it failed. */
  readonly context: FailureContext;
  readonly secrets: OpenvpnSecrets;
  readonly log: Log;
  readonly onEvent: (event: OpenvpnEvent) => void;
}): OpenvpnProcess {
  const socketPath = `${runFolder}/${tunName}-${epoch}.sock`;
  let client: ManagementClient | undefined;
  let connection: Socket | undefined;
  let isEnding = false;
  let lastProblem: string | undefined;

  const emit = (event: OpenvpnEvent) => {
    if (!isEnding) onEvent(event);
  };
  // Parts of it are a server's words, and will be shown on somebody's terminal.
  const fail = ({ code, text }: Cause) =>
    emit({ kind: 'failed', cause: { code, text: text.replaceAll(/\p{C}/gu, '?') } });
  // A command fails only when the process or the connection goes, and that is reported when it happens.
  const ignore = () => undefined;
  const receive = createReceiver({ tunName, context, secrets, log, emit, fail, client: () => client });

  const listener = createServer((socket) => {
    listener.close();
    connection = socket;
    client = createManagementClient({ duplex: socket, onEvent: receive });
    // Before the first hold is released, so that no state and no push reply is missed.
    void client.stateOn().catch(ignore);
    void client.logOn().catch(ignore);
    // How the process ended says more than that its connection is gone.
    void client.closed.then(() => sleep(exitMs)).then(() => fail(exit(lastProblem ?? 'OpenVPN ended')));
  });
  listener.on('error', (error) => fail(exit(`the management socket failed: ${error.message}`)));
  listener.listen(socketPath);
  chmodSync(socketPath, 0o660);

  const child = startAs(openvpnUid, {
    command: ['openvpn', ...args(socketPath)],
    input: profileText,
    // OpenVPN refuses to start without a folder it could write to; /dev/shm is writable in a read-only container too.
    env: { TMPDIR: '/dev/shm' },
  });
  const exited = (async () => {
    for await (const line of child.iterable({ from: 'all' })) {
      if (isProblem(line)) lastProblem = line.trim();
      // From then on the same lines come over the management socket.
      if (client === undefined) log.debug('openvpn output', { line });
    }
    const { exitCode, signal } = await child;
    const problem = lastProblem === undefined ? undefined : explainLine(lastProblem, context);
    if (signal !== undefined) fail(killedBy(signal));
    else fail(problem ?? exit(lastProblem ?? `OpenVPN ended (exit code ${exitCode})`));
    listener.close();
  })();

  return {
    release: () => void client?.holdRelease().catch(ignore),
    end: async () => {
      isEnding = true;
      // OpenVPN exits within 30 ms when its management client goes. A stopped or hung one does not.
      connection?.destroy();
      listener.close();
      const pid = child.pid;
      if (pid === undefined) return;
      const isGone = await Promise.race([exited.then(() => true), sleep(connection === undefined ? 0 : 300)]);
      if (isGone !== true) await killAs(openvpnUid, pid, log);
      await Promise.race([exited, sleep(700)]);
      if (existsSync(socketPath)) rmSync(socketPath, { force: true });
    },
  };
}

/** Time for a process to be gone after its management connection. */
const exitMs = 200;

function exit(text: string): Cause {
  return { code: text.startsWith('Options error') ? 'option-error' : 'openvpn-exited', text };
}

function isProblem(line: string): boolean {
  return (
    /^(Options error|Exiting due to fatal error|ERROR|Cannot|setpriv:)/.test(line.trim()) &&
    !line.startsWith('Use --help')
  );
}

/** Turns what OpenVPN says into the machine's events, and answers its questions. */
function createReceiver({
  tunName,
  context,
  secrets,
  log,
  emit,
  fail,
  client,
}: {
  readonly tunName: IfName;
  readonly context: FailureContext;
  readonly secrets: OpenvpnSecrets;
  readonly log: Log;
  readonly emit: (event: OpenvpnEvent) => void;
  readonly fail: (cause: Cause) => void;
  readonly client: () => ManagementClient | undefined;
}): (event: ManagementEvent) => void {
  const pushReplies = createPushReplyCollector();
  let pushed: readonly string[] = [];
  /** What the lines so far say of a failure: the first one, because those that follow are consequences. */
  let explained: Cause | undefined;
  let isUp = false;
  let hasToldProxy = secrets.proxy === undefined;
  /** The answer of a proxy that lets nobody through; the first 407 only asks for the login that follows. */
  const refusedByProxy = (message: string): string | undefined => {
    if (/Proxy-Authorization$/.test(message)) hasToldProxy = true;
    const [, answer] = /^HTTP proxy returned: '(HTTP\/\S+ [345]\d\d.*)'$/.exec(message) ?? [];
    if (answer !== undefined) return hasToldProxy || !answer.includes(' 407') ? answer : undefined;
    return /^(?:recv_socks_reply|socks_username_password_auth|socks_handshake): (.*)$/.exec(message)?.[1];
  };
  const login = createLogin({ context, secrets, fail, client });

  const readLog = (message: string) => {
    const refusal = refusedByProxy(message);
    if (refusal !== undefined) {
      return fail({ code: 'proxy-refused', text: `the proxy ${context.server} answered: ${refusal}` });
    }
    if (login.tellsWrongPassphrase(message))
      return login.refused({ kind: 'verification-failed', realm: 'Private Key' });
    if (message.startsWith('VERIFY OK: depth=0')) return emit({ kind: 'verified' });
    const meaning = explainLine(message, context);
    // A tunnel that is up outlives a moment without a way; whether it does, the probe knows.
    if (meaning === undefined || (isUp && meaning.code === 'unreachable')) return;
    explained ??= meaning;
    emit({ kind: 'suspected', cause: explained });
    // What the network says of a packet is true at once; OpenVPN would go on sending.
    if (/^(read|write) (UDP|TCP)/.test(message)) fail(explained);
  };

  return (event) => {
    switch (event.kind) {
      case 'hold':
        return login.isStartingOver() ? login.goOn() : emit({ kind: 'held' });
      case 'password-need':
        return login.answer(event);
      case 'verification-failed':
        return login.refused(event);
      case 'infomsg':
        return login.inform(event.text);
      case 'state':
        log.debug('openvpn state', { state: event.name, detail: event.detail });
        if (event.name === 'AUTH' || event.name === 'GET_CONFIG' || event.name === 'ASSIGN_IP') {
          return emit({ kind: 'answered' });
        }
        if (event.name === 'EXITING' || (event.name === 'RECONNECTING' && !login.isStartingOver())) {
          return fail(explained ?? explainRestart(event.detail, context));
        }
        return;
      case 'log': {
        // An echo of our own commands and of what we were told already.
        if (event.message.startsWith('MANAGEMENT: ')) return;
        log.debug('openvpn', { flags: event.flags, message: withoutSecrets(event.message) });
        pushed = pushReplies.push(event)?.options ?? pushed;
        return readLog(event.message);
      }
      case 'notify': {
        if (!event.type.startsWith('server-pushed')) return;
        const said = event.text === '' ? event.type : `${event.type}: ${event.text}`;
        return fail({ code: 'server-closed', text: `${context.server} told us to go (${said})` });
      }
      case 'fatal':
        return fail(explained ?? explainLine(event.message, context) ?? exit(event.message));
      case 'updown': {
        if (event.phase !== 'UP') return;
        isUp = true;
        explained = undefined;
        const tun = parseTunnelLink({ name: tunName, env: event.env, pushed });
        if (tun !== undefined) return emit({ kind: 'connected', tun });
        const given = event.env.get('ifconfig_local');
        const text = given === undefined ? 'no IPv4 address' : `${given}, which is no address of a host`;
        return fail({ code: 'option-error', text: `the server gave ${text}` });
      }
      default:
        return;
    }
  };
}

/**
 * OpenVPN prints what it sends to an HTTP proxy, logins and headers of the user's own among it, and questions of a
 * server with what names the session and the user.
 */
export function withoutSecrets(message: string): string {
  return message.replace(/^(Send to HTTP proxy: '[\w-]*).*$/s, "$1…'").replace(/(CRV1:[^:]*:)[^:]*:[^:]*/, '$1…:…');
}
