import { readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { execa } from 'execa';
import { credentials } from './world.ts';

/** What one openvpn did until it was connected, or had given up. */
export interface Trace {
  readonly connected: boolean;
  /** Programs that it started. */
  readonly executed: readonly string[];
  /** Every path that it named to the kernel in any call, and every address that it connected to. */
  readonly touched: readonly string[];
  readonly output: string;
}

/** A connection takes a second; one that gets nowhere is not waited for longer, unless it has to connect. */
const patienceMs = { any: 4_000, connecting: 30_000 } as const;

/**
 * Runs openvpn under strace in a namespace that reaches a real server, as the router would: it calls back to our socket,
 * is released from hold and told the credentials.
 */
export async function traceOpenvpn({
  namespace,
  text,
  socket,
  args,
  patience,
}: {
  readonly namespace: string;
  /** The profile, on standard input. */
  readonly text: string;
  readonly socket: string;
  readonly args: readonly string[];
  readonly patience: keyof typeof patienceMs;
}): Promise<Trace> {
  const file = `${socket}.trace`;
  let settle: (connected: boolean) => void = () => undefined;
  const settled = new Promise<boolean>((resolve) => {
    settle = resolve;
  });
  const listener = createServer((connection) => {
    const answer = (line: string) => void connection.write(`${line}\n`);
    const quote = (word: string) => `"${word.replaceAll(/["\\]/g, '\\$&')}"`;
    answer('state on');
    let pending = '';
    connection.on('error', () => undefined);
    connection.on('data', (data) => {
      const lines = `${pending}${data}`.split('\n');
      pending = lines.pop() ?? '';
      for (const line of lines) {
        if (line.startsWith('>HOLD:')) answer('hold release');
        if (line.startsWith(">PASSWORD:Need 'Auth'")) {
          answer(`username "Auth" ${quote(credentials.username)}`);
          answer(`password "Auth" ${quote(credentials.password)}`);
        } else if (line.startsWith('>PASSWORD:')) settle(false);
        const state = /^>STATE:\d+,(\w+),/.exec(line)?.[1];
        if (state === 'CONNECTED') settle(true);
        if (state === 'RECONNECTING' || state === 'EXITING') settle(false);
      }
    });
    // Its management client gone, openvpn ends.
    void settled.then(() => connection.destroy());
  });
  listener.listen(socket);
  const traced = ['strace', '-f', '-qq', '--seccomp-bpf', '-s', '300', '-e', 'trace=%file,connect', '-o', file];
  const child = execa('ip', ['netns', 'exec', namespace, ...traced, 'openvpn', ...args], {
    input: text,
    // What the router gives it.
    env: { PATH: process.env.PATH, TMPDIR: '/dev/shm' },
    extendEnv: false,
    all: true,
    reject: false,
    forceKillAfterDelay: 500,
  });
  const timer = setTimeout(() => settle(false), patienceMs[patience]);
  void child.then(() => settle(false));
  const connected = await settled;
  clearTimeout(timer);
  const late = setTimeout(() => child.kill('SIGTERM'), 1_000);
  const { all } = await child;
  clearTimeout(late);
  listener.close();
  const calls = (await readFile(file, 'utf8')).split('\n');
  await rm(file);
  await rm(socket, { force: true });
  return { connected, output: all, ...readCalls(calls, socket) };
}

/** Lines of strace: `PID call("path", …) = result`. */
function readCalls(calls: readonly string[], socket: string): Pick<Trace, 'executed' | 'touched'> {
  const executed: string[] = [];
  const touched = new Set<string>();
  for (const call of calls) {
    const name = /^\d+\s+(\w+)\(/.exec(call)?.[1];
    const paths = [...call.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, path = '']) => path);
    if (name === undefined || paths.length === 0) continue;
    if (name.startsWith('execve')) executed.push(paths[0] ?? '');
    else for (const path of paths) if (path !== socket) touched.add(path);
  }
  // Those up to the first that worked are the search for openvpn itself.
  return { executed: executed.filter((path) => !path.endsWith('/openvpn')), touched: [...touched] };
}
