import assert from 'node:assert/strict';
import { type ChildProcessByStdio, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type { TestContext } from 'node:test';
import { inspect } from 'node:util';
import {
  createManagementClient,
  type ManagementClient,
  type ManagementEvent,
} from '../../src/node-openvpn-mgmt/src/index.ts';

/** What the server takes from user alice. */
export const password = 'p"a\\s s#é';
/** Makes the codes of user totp. */
export const totpSecret = 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP';
/** What the server says to a user that it does not know. */
export const refusalReason = "it's ['not'] today, sorry";
/** Past the 1 KB of one control message, so that the server cuts its reply into pieces. */
export const pushedRoutes: readonly string[] = Array.from(
  { length: 60 },
  (_, index) => `route 10.99.${index}.0 255.255.255.0`,
);

type Process = ChildProcessByStdio<null, Readable, null> & { readonly exited: Promise<unknown> };

type EventOf<Kind extends ManagementEvent['kind']> = Extract<ManagementEvent, { readonly kind: Kind }>;

/** Resolves with the nth event of a kind, also one that came before. */
export type WaitFor = <Kind extends ManagementEvent['kind']>(
  kind: Kind,
  accept?: (event: EventOf<Kind>) => boolean,
  nth?: number,
) => Promise<EventOf<Kind>>;

/** A server in the namespace. */
export interface Server {
  readonly proto: 'udp4' | 'tcp4';
  readonly port: number;
}

/** An OpenVPN process and our connection to it. */
export interface StartedClient {
  readonly client: ManagementClient;
  readonly child: Process;
  readonly socket: Socket;
  readonly events: readonly ManagementEvent[];
  /** Every byte that it sent so far. */
  readonly received: () => Buffer;
  readonly waitFor: WaitFor;
}

/** A network namespace with OpenVPN servers in it, which ask a script about every user. */
export interface OpenVpnLab {
  /** Holds the files of the servers: `server.crt` and `server.key`. */
  readonly dir: string;
  readonly netns: string;
  readonly udp: Server;
  readonly tcp: Server;
  /** Starts a client of the UDP server, held; it is gone when the test ends. */
  startClient(t: TestContext, ...options: readonly string[]): Promise<StartedClient>;
  /** Starts a client of a server. */
  startClientOf(t: TestContext, server: Server, ...options: readonly string[]): Promise<StartedClient>;
  /** Starts a server that asks its management client about every user, held. */
  startAskingServer(t: TestContext, server: Server): Promise<StartedClient>;
  /** Starts a program in the namespace; it is gone when the test ends. */
  startProgram(t: TestContext, program: string, ...args: readonly string[]): Process;
  /** Kills every process and removes the namespace and the files. */
  dispose(): Promise<void>;
}

/** Starts a server in a network namespace of its own. Needs root, /dev/net/tun, iproute2, openssl and openvpn. */
export async function startOpenVpnLab(): Promise<OpenVpnLab> {
  const netns = `ubmgmt${process.pid}`;
  const dir = mkdtempSync(join(tmpdir(), 'ub-mgmt-'));
  const processes: Process[] = [];

  function start(program: string, ...args: readonly string[]): Process {
    const child = spawn('ip', ['netns', 'exec', netns, program, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
    const started = Object.assign(child, { exited: once(child, 'exit') });
    processes.push(started);
    return started;
  }

  function startProgram(t: TestContext, program: string, ...args: readonly string[]): Process {
    const child = start(program, ...args);
    t.after(async () => {
      child.kill('SIGKILL');
      await child.exited;
    });
    return child;
  }

  async function dispose(): Promise<void> {
    for (const child of processes) child.kill('SIGKILL');
    await Promise.all(processes.map((child) => child.exited));
    execFileSync('ip', ['netns', 'del', netns]);
    rmSync(dir, { recursive: true });
  }

  async function startManaged(t: TestContext, options: readonly string[]): Promise<StartedClient> {
    const path = join(dir, `openvpn-${processes.length}.sock`);
    const listener = createServer();
    listener.listen(path);
    await once(listener, 'listening');
    const child = startProgram(t, 'openvpn', ...managementOptions(path), ...options);
    child.stdout.resume();
    const [socket]: readonly Socket[] = await once(listener, 'connection', { signal: AbortSignal.timeout(10_000) });
    assert.ok(socket !== undefined);
    listener.close();
    const connected = connect(socket);
    t.after(() => connected.client.close());
    return { ...connected, child, socket };
  }

  const udp: Server = { proto: 'udp4', port: 1194 };
  const tcp: Server = { proto: 'tcp4', port: 1195 };
  execFileSync('ip', ['netns', 'add', netns]);
  try {
    execFileSync('ip', ['-n', netns, 'link', 'set', 'lo', 'up']);
    writeServerFiles(dir);
    for (const server of [udp, tcp]) {
      const process = start('openvpn', ...serverOptions(dir, server), ...scriptOptions(dir));
      await waitForOutput(process, 'Initialization Sequence Completed');
    }
  } catch (error) {
    await dispose();
    throw error;
  }
  return {
    ...{ dir, netns, udp, tcp, startProgram, dispose },
    startClient: (t, ...options) => startManaged(t, [...clientOptions(dir, udp), ...options]),
    startClientOf: (t, server, ...options) => startManaged(t, [...clientOptions(dir, server), ...options]),
    startAskingServer: (t, server) => startManaged(t, [...serverOptions(dir, server), '--management-client-auth']),
  };
}

function connect(socket: Socket): Pick<StartedClient, 'client' | 'events' | 'received' | 'waitFor'> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  const events: ManagementEvent[] = [];
  const arrivals = new EventTarget();
  const client = createManagementClient({
    duplex: socket,
    commandTimeoutMs: 5_000,
    onEvent: (event) => {
      events.push(event);
      arrivals.dispatchEvent(new Event('arrival'));
    },
  });

  const waitFor: WaitFor = async (kind, accept = () => true, nth = 1) => {
    const signal = AbortSignal.timeout(10_000);
    for (;;) {
      const found = events.filter((event): event is EventOf<typeof kind> => event.kind === kind).filter(accept)[
        nth - 1
      ];
      if (found !== undefined) return found;
      await once(arrivals, 'arrival', { signal }).catch((cause: unknown) => {
        throw new Error(`no ${kind} event came; those that came: ${inspect(events, { depth: 3 })}`, { cause });
      });
    }
  };
  return { client, events, received: () => Buffer.concat(chunks), waitFor };
}

function managementOptions(path: string): readonly string[] {
  return [
    ...['--management', path, 'unix', '--management-client', '--management-hold', '--management-query-passwords'],
    ...['--management-up-down', '--management-log-cache', '500', '--verb', '3', '--disable-dco'],
  ];
}

/** What a client needs to reach a server, without its management interface. */
export function clientOptions(dir: string, { proto, port }: Server): readonly string[] {
  return [
    ...['--client', '--proto', proto, '--remote', '127.0.0.1', `${port}`, '--nobind', '--ca', join(dir, 'server.crt')],
    ...['--dev', 'tunC', '--dev-type', 'tun', '--route-noexec', '--ifconfig-noexec', '--connect-timeout', '5'],
    ...['--auth-user-pass', '--auth-retry', 'interact'],
  ];
}

function serverOptions(dir: string, { proto, port }: Server): readonly string[] {
  const subnet = port - 1186;
  const pushes = [`dhcp-option DNS 10.${subnet}.0.1`, ...pushedRoutes].flatMap((option) => ['--push', option]);
  return [
    ...['--dev', `tun${port}`, '--dev-type', 'tun', '--server', `10.${subnet}.0.0`, '255.255.255.0'],
    ...['--topology', 'subnet', '--server-ipv6', `fd00:${subnet}::/64`, '--proto', proto, '--local', '127.0.0.1'],
    ...['--port', `${port}`, '--dh', 'none', '--verify-client-cert', 'optional', '--username-as-common-name'],
    ...['--ca', join(dir, 'server.crt'), '--cert', join(dir, 'server.crt'), '--key', join(dir, 'server.key')],
    ...['--duplicate-cn', '--disable-dco', '--verb', '3', ...pushes],
  ];
}

function scriptOptions(dir: string): readonly string[] {
  return ['--script-security', '2', '--auth-user-pass-verify', join(dir, 'verify.sh'), 'via-file'];
}

/** Waits until a program has written a text to its standard output. */
export async function waitForOutput({ stdout }: Process, text: string): Promise<void> {
  let output = '';
  for await (const chunk of stdout.iterator({ destroyOnReturn: false })) {
    output += String(chunk);
    if (output.includes(text)) return void stdout.resume();
  }
  throw new Error(`the program ended without ${text}: ${output}`);
}

function writeServerFiles(dir: string): void {
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
      ...['-subj', '/CN=server', '-keyout', join(dir, 'server.key'), '-out', join(dir, 'server.crt')],
    ],
    { stdio: 'ignore' },
  );
  writeFileSync(join(dir, 'password'), password);
  const challenge = `CRV1:R,E:state-1:${Buffer.from('crv1').toString('base64')}:PIN: now`;
  const script = `#!/bin/sh
{ IFS= read -r user; IFS= read -r secret; } < "$1"
coded() { printf 'SCRV1:%s:%s' "$(printf bar | base64)" "$(oathtool --totp --base32 --now="$1" ${totpSecret} | tr -d '\\n' | base64)"; }
refuse() { printf '%s' "$1" > "$auth_failed_reason_file"; exit 1; }
case "$user" in
  alice) [ "$secret" = "$(cat ${dir}/password)" ] || refuse 'wrong password' ;;
  crv1) [ "$secret" = 'CRV1::state-1::8675309' ] || refuse '${challenge}' ;;
  scrv1) [ "$secret" = 'SCRV1:YmFy:ODY3NTMwOQ==' ] || refuse 'wrong answer' ;;
  totp) [ "$secret" = "$(coded now)" ] || [ "$secret" = "$(coded '30 seconds ago')" ] || refuse 'wrong code' ;;
  *) refuse "${refusalReason}" ;;
esac
`;
  writeFileSync(join(dir, 'verify.sh'), script);
  chmodSync(join(dir, 'verify.sh'), 0o755);
}
