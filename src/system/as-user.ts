import { execa } from 'execa';
import type { Log } from './log.ts';

/** What runs a program as another user, without any capability and no way to gain any. */
export function asUser(uid: number): readonly string[] {
  return [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--no-new-privs', '--inh-caps=-all', '--'];
}

/** Root without CAP_KILL may not signal another user's process, but that user may. The image has no kill but the shell's. */
export async function killAs(uid: number, pid: number, log: Log): Promise<void> {
  const { exitCode, stderr } = await execa('setpriv', [...asUser(uid), 'sh', '-c', 'kill -KILL "$1"', 'sh', `${pid}`], {
    reject: false,
  });
  if (exitCode !== 0) log.warn('a program was not killed', { uid, reason: stderr });
}
