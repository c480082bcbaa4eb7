import { chmodSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { UnderbridgeError } from '../errors.ts';
import type { IfName } from '../net/address.ts';
import {
  createManagementClient,
  createPushReplyCollector,
  type ManagementClient,
  ManagementError,
  type ManagementEvent,
} from '../node-openvpn-mgmt/src/index.ts';
import { parseTunnelLink } from '../openvpn/link.ts';
import type { Cause } from '../tunnel/cause.ts';
import type { TunnelLink } from '../tunnel/policy.ts';
import type { Log } from './log.ts';

/** The user and group of the image that OpenVPN runs as; it owns nothing but the tun device. */
export const openvpnUid = 975;

/** What one OpenVPN process tells. After `failed` it is of no more use. */
export type OpenvpnEvent =
  | { readonly kind: 'held' }
  | { readonly kind: 'answered' }
  | { readonly kind: 'connected'; readonly tun: TunnelLink }
  | { readonly kind: 'failed'; readonly cause: Cause };

export interface OpenvpnSecrets {
  readonly credentials?: { readonly username: string; readonly password: string };
  readonly keyPassphrase?: string;
}

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
  secrets,
  log,
  onEvent,
}: {
  readonly runFolder: string;
  readonly epoch: number;
  readonly tunName: IfName;
  readonly args: (managementSocket: string) => readonly string[];
  readonly profileText: string;
  readonly secrets: OpenvpnSecrets;
  readonly log: Log;
  readonly onEvent: (event: OpenvpnEvent) => void;
}): OpenvpnProcess {
  const socketPath = `${runFolder}/openvpn-${epoch}.sock`;
  let client: ManagementClient | undefined;
  let connection: Socket | undefined;
  let isEnding = false;
  let lastProblem: string | undefined;

  const emit = (event: OpenvpnEvent) => {
    if (!isEnding) onEvent(event);
  };
  // Parts of it are a server's words, and will be shown on somebody's terminal.
  const fail = (code: Cause['code'], text: string) =>
    emit({ kind: 'failed', cause: { code, text: text.replaceAll(/\p{C}/gu, '?') } });
  // A command fails only when the process or the connection goes, and that is reported when it happens.
  const ignore = () => undefined;
  const receive = createReceiver({ tunName, secrets, log, emit, fail, client: () => client });

  const listener = createServer((socket) => {
    listener.close();
    connection = socket;
    client = createManagementClient({ duplex: socket, onEvent: receive });
    // Before the first hold is released, so that no state and no push reply is missed.
    void client.stateOn().catch(ignore);
    void client.logOn().catch(ignore);
    void client.closed.then(() => fail('openvpn-exited', lastProblem ?? 'OpenVPN ended'));
  });
  listener.on('error', (error) => fail('openvpn-exited', `the management socket failed: ${error.message}`));
  listener.listen(socketPath);
  chmodSync(socketPath, 0o660);

  const child = execa('setpriv', [...asOpenvpn, 'openvpn', ...args(socketPath)], {
    input: profileText,
    // OpenVPN refuses to start without a folder it could write to; /dev/shm is writable in a read-only container too.
    env: { PATH: process.env.PATH, TMPDIR: '/dev/shm' },
    extendEnv: false,
    all: true,
    buffer: false,
    reject: false,
    cleanup: true,
  });
  const exited = (async () => {
    for await (const line of child.iterable({ from: 'all' })) {
      if (isProblem(line)) lastProblem = line.trim();
      // From then on the same lines come over the management socket.
      if (client === undefined) log.debug('openvpn output', { line });
    }
    const { exitCode, signal } = await child;
    const code = lastProblem?.startsWith('Options error') ? 'option-error' : 'openvpn-exited';
    fail(code, lastProblem ?? `OpenVPN ended (${signal ?? `exit code ${exitCode}`})`);
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
      if (isGone !== true) await kill(pid, log);
      await Promise.race([exited, sleep(700)]);
      if (existsSync(socketPath)) rmSync(socketPath, { force: true });
    },
  };
}

/** Root without CAP_KILL may not signal another user's process, but that user may. The image has no kill but the shell's. */
async function kill(pid: number, log: Log): Promise<void> {
  const { exitCode, stderr } = await execa('setpriv', [...asOpenvpn, 'sh', '-c', 'kill -KILL "$1"', 'sh', `${pid}`], {
    reject: false,
  });
  if (exitCode !== 0) log.warn('OpenVPN was not killed', { reason: stderr });
}

const asOpenvpn = [
  `--reuid=${openvpnUid}`,
  `--regid=${openvpnUid}`,
  '--clear-groups',
  '--no-new-privs',
  '--inh-caps=-all',
  '--',
] as const;

function isProblem(line: string): boolean {
  return (
    /^(Options error|Exiting due to fatal error|ERROR|Cannot|setpriv:)/.test(line.trim()) &&
    !line.startsWith('Use --help')
  );
}

/** What OpenVPN says besides when it does not take a push reply; the reason stands before. */
function isConsequence(message: string): boolean {
  return /^(OPTIONS ERROR: failed to import crypto options|ERROR: Failed to apply push options|Failed to open tun\/tap)/.test(
    message,
  );
}

/** Turns what OpenVPN says into the machine's events, and answers its questions. */
function createReceiver({
  tunName,
  secrets,
  log,
  emit,
  fail,
  client,
}: {
  readonly tunName: IfName;
  readonly secrets: OpenvpnSecrets;
  readonly log: Log;
  readonly emit: (event: OpenvpnEvent) => void;
  readonly fail: (code: Cause['code'], text: string) => void;
  readonly client: () => ManagementClient | undefined;
}): (event: ManagementEvent) => void {
  const pushReplies = createPushReplyCollector();
  let pushed: readonly string[] = [];
  let lastError: string | undefined;
  let isPushRefused = false;
  // What cannot be sent is reported without its value; a connection that went is reported by itself.
  const refuse = (error: unknown) => {
    if (error instanceof ManagementError && error.code === 'MGMT_PARAMETER') {
      fail('auth-failed', 'the user name or password holds something that cannot be sent to OpenVPN');
    }
  };

  const answerPassword = (realm: string, wantsUsername: boolean) => {
    const { credentials, keyPassphrase } = secrets;
    if (realm === 'Private Key' && keyPassphrase !== undefined) {
      void client()?.password(realm, keyPassphrase).catch(refuse);
    } else if (realm === 'Auth' && credentials !== undefined) {
      if (wantsUsername) void client()?.username(realm, credentials.username).catch(refuse);
      void client()?.password(realm, credentials.password).catch(refuse);
    } else {
      fail('auth-failed', `OpenVPN asks for a password (${realm}) that was not given`);
    }
  };

  return (event) => {
    switch (event.kind) {
      case 'hold':
        return emit({ kind: 'held' });
      case 'password-need':
        return answerPassword(event.realm, event.wants !== 'password');
      case 'verification-failed': {
        // OpenVPN gives this out as an error of the password.
        if (event.reason?.startsWith('Data channel cipher negotiation failed') === true) {
          return fail('option-error', 'the server and the profile have no cipher in common');
        }
        const reason = event.reason === undefined ? '' : `: ${event.reason}`;
        return fail('auth-failed', `the server did not take the credentials (${event.realm})${reason}`);
      }
      case 'state':
        log.debug('openvpn state', { state: event.name, detail: event.detail });
        if (event.name === 'AUTH' || event.name === 'GET_CONFIG' || event.name === 'ASSIGN_IP') {
          return emit({ kind: 'answered' });
        }
        if (event.name === 'RECONNECTING' || event.name === 'EXITING') {
          if (isPushRefused) {
            const reason = lastError?.replace(/^(OPTIONS ERROR|Error): /, '');
            return fail('option-error', `OpenVPN does not take what the server pushed: ${reason}`);
          }
          return fail('openvpn-restarted', lastError ?? `OpenVPN gave up the connection (${event.detail})`);
        }
        return;
      case 'log': {
        // An echo of our own commands and of what we were told already.
        if (event.message.startsWith('MANAGEMENT: ')) return;
        log.debug('openvpn', { flags: event.flags, message: event.message });
        pushed = pushReplies.push(event)?.options ?? pushed;
        // N: non-fatal error, F: fatal. Warnings come with every start and say nothing of why it failed.
        if (!/[NF]/.test(event.flags)) return;
        isPushRefused ||= event.message.startsWith('OPTIONS ERROR:');
        if (lastError === undefined || !isConsequence(event.message)) lastError = event.message;
        return;
      }
      case 'notify':
        return event.type.startsWith('server-pushed')
          ? fail('server-closed', `the server closed the connection (${event.type})`)
          : undefined;
      case 'fatal':
        return fail('openvpn-exited', event.message);
      case 'updown': {
        if (event.phase !== 'UP') return;
        const tun = parseTunnelLink({ name: tunName, env: event.env, pushed });
        if (tun !== undefined) return emit({ kind: 'connected', tun });
        const given = event.env.get('ifconfig_local');
        const text = given === undefined ? 'no IPv4 address' : `${given}, which is no address of a host`;
        return fail('option-error', `the server gave ${text}`);
      }
      default:
        return;
    }
  };
}
