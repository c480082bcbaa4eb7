import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { inspect } from 'node:util';
import { createManagementClient, type ManagementClient, type ManagementEvent } from 'node-openvpn-mgmt';

/** What the server takes from user alice. */
export const password = 'p"a\\s s#é';
/** What the server says to a user that it does not know. */
export const refusalReason = "it's ['not'] today, sorry";
/** Past the 1 KB of one control message, so that the server cuts its reply into pieces. */
export const pushedRoutes: readonly string[] = Array.from(
  { length: 60 },
  (_, index) => `route 10.99.${index}.0 255.255.255.0`,
);

type Process = ChildProcess & { readonly exited: Promise<unknown> };

type EventOf<Kind extends ManagementEvent['kind']> = Extract<ManagementEvent, { readonly kind: Kind }>;

/** Resolves with the nth event of a kind, also one that came before. */
export type WaitFor = <Kind extends ManagementEvent['kind']>(
  kind: Kind,
  accept?: (event: EventOf<Kind>) => boolean,
  nth?: number,
) => Promise<EventOf<Kind>>;

/** An OpenVPN client and our connection to it. */
export interface StartedClient {
  readonly client: ManagementClient;
  readonly child: Process;
  readonly socket: Socket;
  readonly events: readonly ManagementEvent[];
  readonly waitFor: WaitFor;
}

/** A network namespace with an OpenVPN server in it. */
export interface OpenVpnLab {
  /** Starts a client of the server, held; it is gone when the test ends. */
  startClient(t: TestContext, ...options: readonly string[]): Promise<StartedClient>;
  /** Kills every process and removes the namespace and the files. */
  dispose(): Promise<void>;
}

/** Starts a server in a network namespace of its own. Needs root, /dev/net/tun, iproute2, openssl and openvpn. */
export async function startOpenVpnLab(): Promise<OpenVpnLab> {
  const netns = `ubmgmt${process.pid}`;
  const dir = mkdtempSync(join(tmpdir(), 'ub-mgmt-'));
  const processes: Process[] = [];

  function startOpenVpn(options: readonly string[]): Process {
    const child = spawn('ip', ['netns', 'exec', netns, 'openvpn', ...options], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const started = Object.assign(child, { exited: once(child, 'exit') });
    processes.push(started);
    return started;
  }

  async function dispose(): Promise<void> {
    for (const child of processes) child.kill('SIGKILL');
    await Promise.all(processes.map((child) => child.exited));
    execFileSync('ip', ['netns', 'del', netns]);
    rmSync(dir, { recursive: true });
  }

  async function startClient(t: TestContext, ...options: readonly string[]): Promise<StartedClient> {
    const path = join(dir, `client-${processes.length}.sock`);
    const listener = createServer();
    listener.listen(path);
    await once(listener, 'listening');
    const child = startOpenVpn([...clientOptions({ dir, path }), ...options]);
    child.stdout?.resume();
    const [socket]: readonly Socket[] = await once(listener, 'connection', { signal: AbortSignal.timeout(10_000) });
    assert.ok(socket !== undefined);
    listener.close();
    const connected = connect(socket);
    t.after(async () => {
      connected.client.close();
      child.kill('SIGKILL');
      await child.exited;
    });
    return { ...connected, child, socket };
  }

  execFileSync('ip', ['netns', 'add', netns]);
  try {
    execFileSync('ip', ['-n', netns, 'link', 'set', 'lo', 'up']);
    writeServerFiles(dir);
    await waitForServer(startOpenVpn(serverOptions(dir)));
  } catch (error) {
    await dispose();
    throw error;
  }
  return { startClient, dispose };
}

function connect(socket: Socket): Pick<StartedClient, 'client' | 'events' | 'waitFor'> {
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
  return { client, events, waitFor };
}

function clientOptions({ dir, path }: { readonly dir: string; readonly path: string }): readonly string[] {
  return [
    ...['--client', '--proto', 'udp4', '--remote', '127.0.0.1', '1194', '--nobind', '--ca', join(dir, 'server.crt')],
    ...['--dev', 'tunC', '--dev-type', 'tun', '--route-noexec', '--ifconfig-noexec', '--disable-dco'],
    ...['--connect-timeout', '5', '--verb', '3', '--management', path, 'unix', '--management-log-cache', '500'],
    ...['--auth-user-pass', '--auth-retry', 'interact', '--management-client', '--management-hold'],
    ...['--management-query-passwords', '--management-up-down'],
  ];
}

function serverOptions(dir: string): readonly string[] {
  const pushes = ['dhcp-option DNS 10.8.0.1', ...pushedRoutes].flatMap((option) => ['--push', option]);
  return [
    ...['--dev', 'tunS', '--dev-type', 'tun', '--server', '10.8.0.0', '255.255.255.0', '--topology', 'subnet'],
    ...['--server-ipv6', 'fd00:8::/64', '--proto', 'udp4', '--local', '127.0.0.1', '--port', '1194', '--dh', 'none'],
    ...['--ca', join(dir, 'server.crt'), '--cert', join(dir, 'server.crt'), '--key', join(dir, 'server.key')],
    ...['--verify-client-cert', 'none', '--username-as-common-name', '--duplicate-cn', '--script-security', '2'],
    ...['--auth-user-pass-verify', join(dir, 'verify.sh'), 'via-file', '--disable-dco', '--verb', '3', ...pushes],
  ];
}

async function waitForServer({ stdout }: Process): Promise<void> {
  assert.ok(stdout !== null);
  let output = '';
  for await (const chunk of stdout.iterator({ destroyOnReturn: false })) {
    output += String(chunk);
    if (output.includes('Initialization Sequence Completed')) return void stdout.resume();
  }
  throw new Error(`the server did not start: ${output}`);
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
refuse() { printf '%s' "$1" > "$auth_failed_reason_file"; exit 1; }
case "$user" in
  alice) [ "$secret" = "$(cat ${dir}/password)" ] || refuse 'wrong password' ;;
  crv1) [ "$secret" = 'CRV1::state-1::8675309' ] || refuse '${challenge}' ;;
  scrv1) [ "$secret" = 'SCRV1:YmFy:ODY3NTMwOQ==' ] || refuse 'wrong answer' ;;
  *) refuse "${refusalReason}" ;;
esac
`;
  writeFileSync(join(dir, 'verify.sh'), script);
  chmodSync(join(dir, 'verify.sh'), 0o755);
}
