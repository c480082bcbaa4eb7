import { readFileSync, readlinkSync } from 'node:fs';
import { UnderbridgeError } from '../errors.ts';
import type { LookedAt } from '../host/clients.ts';
import { compareRules } from '../host/diff.ts';
import type { NamespaceStep } from '../host/host-plan.ts';
import type { Backend, ClientNamespace } from '../host/snapshot.ts';
import { parseSave, type SavedTable } from '../ruleset/iptables-restore.ts';
import { run } from './exec.ts';

/** Marks the routes that we add, so that they are known again. 186 to 192 are those of BGP and its kin (rt_protos). */
const ourProtocol = '217';
const cutTable = 'inet underbridge_cut';

/**
 * Looks into namespaces of clients. It reads /proc where that tells, and starts one program only for those that may
 * be cut off. A process that cannot be seen (no `pid: host`), or has ended, is left out.
 */
export async function observeNamespaces(clients: readonly LookedAt[]): Promise<ReadonlyMap<number, ClientNamespace>> {
  const seen = await Promise.all(
    clients.map(async ({ pid, mayBeCutOff }): Promise<readonly (readonly [number, ClientNamespace])[]> => {
      const defaultRoutes = readDefaultRoutes(pid);
      if (defaultRoutes === undefined) return [];
      return [[pid, { defaultRoutes, isCutOff: mayBeCutOff && (await isCutOff(pid)) }]];
    }),
  );
  return new Map(seen.flat());
}

/** @throws UnderbridgeError UB_EXEC */
export async function applyNamespaceStep(step: NamespaceStep, backend: Backend): Promise<void> {
  switch (step.kind) {
    case 'add-default-route': {
      const route = ['route', 'add', 'default', 'via', step.router.text, 'proto', ourProtocol];
      // 2: somebody else was quicker.
      await enter(step.pid, { file: 'ip', args: route, accept: [2] });
      return;
    }
    case 'cut-off': {
      // Docker's resolver in the namespace listens at 127.0.0.11; what it is asked, it may ask outside of the VPN.
      const rules = [
        'type filter hook output priority -300;',
        'oifname != "lo" counter drop',
        'ip daddr 127.0.0.11 counter drop',
      ];
      const input = `table ${cutTable} {\nchain output {\n${rules.join('\n')}\n}\n}\n`;
      await enter(step.pid, { file: 'nft', args: ['-f', '-'], input });
      return;
    }
    case 'let-go':
      await enter(step.pid, { file: 'nft', args: ['delete', 'table', ...cutTable.split(' ')] });
      return;
    case 'set-rules': {
      const args = ['--wait', '5', '--noflush'];
      await enter(step.pid, { file: `iptables-${backend}-restore`, args, input: step.restore });
    }
  }
}

/** The nat rules of namespaces. One that cannot be entered, or is the machine's own, is left out. */
export async function observeInside(
  pids: readonly number[],
  backend: Backend,
): Promise<ReadonlyMap<number, ReadonlyMap<string, SavedTable>>> {
  const seen = await Promise.all(
    pids.map(async (pid) => {
      if (readDefaultRoutes(pid) === undefined) return [];
      try {
        const saved = await enter(pid, { file: `iptables-${backend}-save`, args: ['--table', 'nat'] });
        return [[pid, parseSave(saved)] as const];
      } catch (error) {
        if (error instanceof UnderbridgeError) return [];
        throw error;
      }
    }),
  );
  return new Map(seen.flat());
}

/** Takes away what was ever added in a namespace. The machine's own, which some containers share, is left alone. */
export async function cleanNamespace(pid: number): Promise<void> {
  if (readDefaultRoutes(pid) === undefined) return;
  for (const backend of ['nft', 'legacy'] as const) {
    const saved = (await observeInside([pid], backend)).get(pid);
    const { restore } = compareRules({ family: 'ipv4', tables: [] }, saved ?? new Map());
    if (restore !== '') await applyNamespaceStep({ kind: 'set-rules', pid, container: '', restore }, backend);
  }
  await enter(pid, { file: 'ip', args: ['route', 'flush', 'exact', 'default', 'proto', ourProtocol], accept: [1, 2] });
  await enter(pid, { file: 'nft', args: ['delete', 'table', ...cutTable.split(' ')], accept: [1] });
}

interface Entering {
  readonly file: string;
  readonly args: readonly string[];
  readonly input?: string;
  readonly accept?: readonly number[];
}

async function enter(pid: number, { file, args, ...rest }: Entering): Promise<string> {
  // A number may have gone to another process since it was looked up.
  if (isOwnNamespace(pid)) {
    throw new UnderbridgeError({
      code: 'UB_KERNEL',
      message: `process ${pid} is in the machine's own network, where nothing of a container may be done`,
      hint: 'its container has ended; the next look finds out',
    });
  }
  return run({ file: 'nsenter', args: [`--net=/proc/${pid}/ns/net`, '--', file, ...args], ...rest });
}

async function isCutOff(pid: number): Promise<boolean> {
  try {
    return (await enter(pid, { file: 'nft', args: ['list', 'tables'] })).includes(`table ${cutTable}`);
  } catch (error) {
    if (error instanceof UnderbridgeError) return false;
    throw error;
  }
}

/** Next hops of default routes, from /proc/PID/net/route (proc(5)): addresses in hexadecimal, of the machine's byte order. */
function readDefaultRoutes(pid: number): readonly string[] | undefined {
  try {
    // Without `pid: host` the number is another process of ours, or none.
    if (isOwnNamespace(pid)) return undefined;
    const lines = readFileSync(`/proc/${pid}/net/route`, 'utf8').trim().split('\n').slice(1);
    return lines
      .map((line) => line.split('\t'))
      .filter(([, destination, , , , , , mask]) => destination === '00000000' && mask === '00000000')
      .map(([, , gateway = '']) =>
        (gateway.match(/../g) ?? [])
          .toReversed()
          .map((byte) => Number.parseInt(byte, 16))
          .join('.'),
      );
  } catch (error) {
    if (error instanceof Error && 'code' in error) return undefined;
    throw error;
  }
}

/** False also for a process that cannot be seen. */
function isOwnNamespace(pid: number): boolean {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`) === readlinkSync('/proc/self/ns/net');
  } catch (error) {
    if (error instanceof Error && 'code' in error) return false;
    throw error;
  }
}
