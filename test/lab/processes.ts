import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** A process as /proc tells it. `startTicks` makes the pid unique: a pid alone is given away again. */
export interface RunningProcess {
  readonly pid: number;
  readonly parentPid: number;
  readonly startTicks: string;
  readonly argv: readonly string[];
}

/** PF_KTHREAD of the kernel's sched.h, in the field `flags` of /proc/PID/stat. */
const kernelThreadFlag = 0x00200000;

/** Every process of the machine; kernel threads and zombies are left out. */
export function observeProcesses(): RunningProcess[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => observeProcess(Number(name)) ?? []);
}

/** One process, or undefined where it is gone, a zombie or a kernel thread. */
export function observeProcess(pid: number): RunningProcess | undefined {
  try {
    // The second field of stat is "(name)", and a name may hold spaces and parentheses: split after the last one.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [state, parentPid, ...rest] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // Empty for a moment while a program is replaced by another (execve): no sign that a process is gone.
    const argv = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
    const isKernels = (Number(rest[4]) & kernelThreadFlag) !== 0;
    const startTicks = rest[17];
    if (state === 'Z' || isKernels || startTicks === undefined) return undefined;
    return { pid, parentPid: Number(parentPid), startTicks, argv };
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** Whether a process is in this process's network namespace. May not be asked of a protected process such as init. */
export function sharesNetwork({ pid }: RunningProcess): boolean {
  return readlinkSync(`/proc/${pid}/ns/net`) === readlinkSync('/proc/self/ns/net');
}

export function isAlive(pid: number): boolean {
  return observeProcess(pid) !== undefined;
}

/** Sends SIGTERM, and SIGKILL after `graceMs`; returns once the process is gone. Never hits a successor of the pid. */
export async function endProcess(
  { pid, startTicks }: Pick<RunningProcess, 'pid' | 'startTicks'>,
  { graceMs }: { readonly graceMs: number },
): Promise<void> {
  const runs = () => observeProcess(pid)?.startTicks === startTicks;
  for (const [signal, patienceMs] of [
    ['SIGTERM', graceMs],
    ['SIGKILL', 5000],
  ] as const) {
    if (!runs()) return;
    sendSignal(pid, signal);
    for (const deadline = Date.now() + patienceMs; runs() && Date.now() < deadline; ) await sleep(20);
  }
  if (runs()) throw new Error(`process ${pid} does not end, not even by SIGKILL`);
}

function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

function isGone(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  return ['ENOENT', 'ESRCH', 'ENOTDIR'].includes(code);
}
