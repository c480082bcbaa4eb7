import { execa } from 'execa';
import type { Log } from './log.ts';

/** What runs a program as another user, without any capability and no way to gain any. */
function asUser(uid: number): readonly string[] {
  return [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--no-new-privs', '--inh-caps=-all', '--'];
}

/** Starts one that way. Its environment is this one alone, and its output comes line by line. It ends with the router. */
export function startAs(
  uid: number,
  {
    command,
    env = {},
    input,
    flags = [],
  }: {
    readonly command: readonly string[];
    readonly env?: Readonly<Record<string, string>>;
    /** Absent: it has nothing to read. */
    readonly input?: string;
    /** More of setpriv. */
    readonly flags?: readonly string[];
  },
) {
  return execa('setpriv', [...flags, ...asUser(uid), ...command], {
    ...(input === undefined ? { stdin: 'ignore' } : { input }),
    env: { PATH: process.env.PATH, ...env },
    extendEnv: false,
    all: true,
    buffer: false,
    reject: false,
    cleanup: true,
  });
}

/** Root without CAP_KILL may not signal another user's process, but that user may. The image has no kill but the shell's. */
export async function killAs(uid: number, pid: number, log: Log): Promise<void> {
  const { exitCode, stderr } = await execa('setpriv', [...asUser(uid), 'sh', '-c', 'kill -KILL "$1"', 'sh', `${pid}`], {
    reject: false,
  });
  if (exitCode !== 0) log.warn('a program was not killed', { uid, reason: stderr });
}
