import { closeSync, openSync, readFileSync, readlinkSync } from 'node:fs';
import { UnderbridgeError } from '../errors.ts';
import type { LookedAt } from '../host/clients.ts';
import { compareRules } from '../host/diff.ts';
import type { NamespaceStep } from '../host/host-plan.ts';
import type { FirstProcess } from '../host/resource.ts';
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
    clients.map((client) =>
      within(client, async (namespace) => {
        const isCut = client.mayBeCutOff && (await isCutOff(namespace));
        return [client.pid, { defaultRoutes: readDefaultRoutes(namespace), isCutOff: isCut }] as const;
      }),
    ),
  );
  return new Map(seen.filter((one) => one !== undefined));
}

/** @throws UnderbridgeError UB_EXEC, UB_KERNEL when the container has ended */
export async function applyNamespaceStep(step: NamespaceStep, backend: Backend): Promise<void> {
  const done = await within(step, (namespace) => applyWithin(namespace, step, backend).then(() => true));
  if (done) return;
  throw new UnderbridgeError({
    code: 'UB_KERNEL',
    message: `process ${step.pid} is not the first one of the container ${step.container}, or cannot be entered`,
    hint: 'its container has ended; the next look finds out',
  });
}

async function applyWithin(namespace: OpenNamespace, step: NamespaceStep, backend: Backend): Promise<void> {
  switch (step.kind) {
    case 'add-default-route': {
      const route = ['route', 'add', 'default', 'via', step.router.text, 'proto', ourProtocol];
      // 2: somebody else was quicker.
      await enter(namespace, { file: 'ip', args: route, accept: [2] });
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
      await enter(namespace, { file: 'nft', args: ['-f', '-'], input });
      return;
    }
    case 'let-go':
      await enter(namespace, { file: 'nft', args: ['delete', 'table', ...cutTable.split(' ')] });
      return;
    case 'set-rules':
      await restore(namespace, step.restore, backend);
  }
}

/** The nat rules of namespaces. One that cannot be entered, or is the machine's own, is left out. */
export async function observeInside(
  containers: readonly FirstProcess[],
  backend: Backend,
): Promise<ReadonlyMap<number, ReadonlyMap<string, SavedTable>>> {
  const seen = await Promise.all(
    containers.map((container) =>
      within(container, async (namespace) => {
        const saved = await orNothing(() => readNat(namespace, backend));
        return saved === undefined ? undefined : ([container.pid, saved] as const);
      }),
    ),
  );
  return new Map(seen.filter((one) => one !== undefined));
}

/**
 * Takes away what was ever added in a container's namespace.
 * @returns false when it cannot be entered from here
 * @throws UnderbridgeError UB_EXEC
 */
export async function cleanNamespace(container: FirstProcess): Promise<boolean> {
  const done = await within(container, async (namespace) => {
    if ((await orNothing(() => enter(namespace, { file: 'true', args: [] }))) === undefined) return false;
    for (const backend of ['nft', 'legacy'] as const) {
      // The kernel may know one of them only.
      const saved = (await orNothing(() => readNat(namespace, backend))) ?? new Map();
      const { restore: text } = compareRules({ family: 'ipv4', tables: [] }, saved);
      if (text !== '') await restore(namespace, text, backend);
    }
    const route = ['route', 'flush', 'exact', 'default', 'proto', ourProtocol];
    await enter(namespace, { file: 'ip', args: route, accept: [1, 2] });
    await enter(namespace, { file: 'nft', args: ['delete', 'table', ...cutTable.split(' ')], accept: [1] });
    return true;
  });
  return done ?? false;
}

async function readNat(namespace: OpenNamespace, backend: Backend): Promise<ReadonlyMap<string, SavedTable>> {
  return parseSave(await enter(namespace, { file: `iptables-${backend}-save`, args: ['--table', 'nat'] }));
}

async function restore(namespace: OpenNamespace, input: string, backend: Backend): Promise<void> {
  await enter(namespace, { file: `iptables-${backend}-restore`, args: ['--wait', '5', '--noflush'], input });
}

/** Folders and files of one process, whatever becomes of its number. */
interface OpenNamespace {
  /** Its /proc/PID. */
  readonly process: string;
  /** Its network namespace, for other programs. */
  readonly network: string;
}

/**
 * Opens the network namespace of a container for as long as the work takes. The number of a process that has ended may go
 * to any other: what is open in /proc stays with its process (proc(5)), whose control groups name the container, as Docker
 * has it with either driver (`/docker/ID`, `docker-ID.scope`).
 * @returns undefined: it has ended, cannot be seen (no `pid: host`) or entered, or is in the machine's own network
 */
async function within<T>(
  { pid, containerId }: FirstProcess,
  work: (namespace: OpenNamespace) => Promise<T>,
): Promise<T | undefined> {
  const open: number[] = [];
  const openIn = (path: string) => {
    const descriptor = openSync(path, 'r');
    open.push(descriptor);
    return `/proc/${process.pid}/fd/${descriptor}`;
  };
  try {
    const namespace = orAbsent(() => {
      const folder = openIn(`/proc/${pid}`);
      if (!readFileSync(`${folder}/cgroup`, 'utf8').includes(containerId)) return undefined;
      const network = openIn(`${folder}/ns/net`);
      return readlinkSync(network) === readlinkSync('/proc/self/ns/net') ? undefined : { process: folder, network };
    });
    return namespace === undefined ? undefined : await work(namespace);
  } finally {
    for (const descriptor of open) closeSync(descriptor);
  }
}

interface Entering {
  readonly file: string;
  readonly args: readonly string[];
  readonly input?: string;
  readonly accept?: readonly number[];
}

async function enter({ network }: OpenNamespace, { file, args, ...rest }: Entering): Promise<string> {
  return run({ file: 'nsenter', args: [`--net=${network}`, '--', file, ...args], ...rest });
}

async function isCutOff(namespace: OpenNamespace): Promise<boolean> {
  const tables = await orNothing(() => enter(namespace, { file: 'nft', args: ['list', 'tables'] }));
  return tables?.includes(`table ${cutTable}`) ?? false;
}

async function orNothing<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof UnderbridgeError) return undefined;
    throw error;
  }
}

/** Next hops of default routes, from /proc/PID/net/route (proc(5)): addresses in hexadecimal, of the machine's byte order. */
function readDefaultRoutes({ process: folder }: OpenNamespace): readonly string[] {
  const text = orAbsent(() => readFileSync(`${folder}/net/route`, 'utf8')) ?? '';
  return text
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => line.split('\t'))
    .filter(([, destination, , , , , , mask]) => destination === '00000000' && mask === '00000000')
    .map(([, , gateway = '']) =>
      (gateway.match(/../g) ?? [])
        .toReversed()
        .map((byte) => Number.parseInt(byte, 16))
        .join('.'),
    );
}

function orAbsent<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof Error && 'code' in error) return undefined;
    throw error;
  }
}
