import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { observeProcesses, type RunningProcess } from '../lab/processes.ts';
import { renderNumber } from './figures.ts';
import type { Row } from './report.ts';
import { containerOf, type GatewayKind, type World } from './world.ts';

const targetMib = 90;

interface Resident {
  readonly program: string;
  readonly rssMib: number;
  /** Pages that processes share are counted once, in parts. */
  readonly pssMib: number;
}

/** Memory of all processes of each gateway, after `idleMs` in which nothing but keepalive and probes passes. */
export async function measureMemory(world: World, idleMs: number): Promise<readonly Row[]> {
  await sleep(idleMs, undefined, { signal: world.interruption });
  const router = await observeResident(world, 'router');
  const plain = await observeResident(world, 'plain');
  const rss = sum(router.map(({ rssMib }) => rssMib));
  return [
    {
      what: `resident memory, all processes, after ${idleMs / 1000} s idle`,
      router: `${renderNumber(rss)} MiB (${list(router)})`,
      plain: `${renderNumber(sum(plain.map(({ rssMib }) => rssMib)))} MiB`,
      target: { text: `≤ ${targetMib} MiB`, isMet: rss <= targetMib },
    },
    {
      what: 'the same with shared pages counted once (PSS)',
      router: `${renderNumber(sum(router.map(({ pssMib }) => pssMib)))} MiB`,
      plain: `${renderNumber(sum(plain.map(({ pssMib }) => pssMib)))} MiB`,
    },
  ];
}

async function observeResident({ engine }: World, kind: GatewayKind): Promise<readonly Resident[]> {
  const main = Number(await engine.docker('inspect', '--format', '{{.State.Pid}}', containerOf(kind)));
  // Not `docker top`: it would show Docker's health check too, when that happens to run.
  const found = withDescendants(main, observeProcesses());
  if (found.length === 0) throw new Error(`the processes of ${containerOf(kind)} are not to be seen from here`);
  return found.map(observeMemory);
}

function withDescendants(pid: number, processes: readonly RunningProcess[]): readonly RunningProcess[] {
  const children = processes.filter(({ parentPid }) => parentPid === pid);
  return [
    ...processes.filter((process) => process.pid === pid),
    ...children.flatMap((child) => withDescendants(child.pid, processes)),
  ];
}

function observeMemory({ pid, argv }: RunningProcess): Resident {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const read = (name: string) => Number(new RegExp(`^${name}: +(\\d+) kB$`, 'm').exec(rollup)?.[1]) / 1024;
  return { program: basename(argv[0] ?? ''), rssMib: read('Rss'), pssMib: read('Pss') };
}

function list(processes: readonly Resident[]): string {
  return processes.map(({ program, rssMib }) => `${program} ${renderNumber(rssMib)}`).join(', ');
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
