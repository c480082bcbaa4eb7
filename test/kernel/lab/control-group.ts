import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Puts a process into a control group of that name, as Docker does with each container's; of any hierarchy. */
export function joinGroup(name: string, pid: number): void {
  const folder = join(hierarchy(), name);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'cgroup.procs'), `${pid}`);
}

/** Removes the group, once no process is in it. */
export function leaveGroup(name: string): void {
  rmdirSync(join(hierarchy(), name));
}

function hierarchy(): string {
  const found = /^\S+ (\S+) cgroup2? rw(?!.*cpuset)/m.exec(readFileSync('/proc/mounts', 'utf8'))?.[1];
  if (found === undefined) throw new Error('no control groups can be written here');
  return found;
}
