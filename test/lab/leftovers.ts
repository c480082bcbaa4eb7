import { readFileSync, rmSync } from 'node:fs';
import { execa } from 'execa';
import { endProcess, observeProcess, observeProcesses, type RunningProcess } from './processes.ts';

/** Where an engine keeps what outlives it when it is killed. */
export interface RunFiles {
  readonly pidFile: string;
  readonly socket: string;
  readonly execRoot: string;
}

/**
 * Clears what a dead engine left: its containerd, its containers, and the files that make the next start believe that it
 * still runs (pidfile.New and containerd's supervisor in moby refuse on a pid that now is another program's).
 */
export async function clearRunFiles({ pidFile, socket, execRoot }: RunFiles): Promise<void> {
  const containerd = `${execRoot}/containerd`;
  const supervised = recordedProcess(`${containerd}/containerd.pid`);
  if (supervised?.argv.some((argument) => argument.startsWith(containerd))) {
    await endProcess(supervised, { graceMs: 5000 });
  }
  await endContainers(`${containerd}/containerd.sock`);
  for (const file of [
    pidFile,
    socket,
    ...['containerd.pid', 'containerd.sock', 'containerd.sock.ttrpc', 'containerd-debug.sock'].map(
      (name) => `${containerd}/${name}`,
    ),
  ]) {
    rmSync(file, { force: true, recursive: true });
  }
}

/** A container's processes are children of its shim, and the shim's command line names the containerd it serves. */
async function endContainers(containerdSocket: string): Promise<void> {
  const processes = observeProcesses();
  const shims = processes.filter(({ argv }) => argv[0]?.includes('containerd-shim') && argv.includes(containerdSocket));
  const shimPids = new Set(shims.map(({ pid }) => pid));
  const mains = processes.filter(({ parentPid }) => shimPids.has(parentPid));
  await Promise.all([...mains, ...shims].map((process) => endProcess(process, { graceMs: 0 })));
}

function recordedProcess(pidFile: string): RunningProcess | undefined {
  try {
    return observeProcess(Number(readFileSync(pidFile, 'utf8')));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Removes Docker's bridges and rules, both iptables backends, both families. Only where no engine runs any more. */
export async function clearNetwork(): Promise<void> {
  const named = new Set<string>();
  for (const family of ['iptables', 'ip6tables']) {
    for (const backend of ['legacy', 'nft']) {
      for (const bridge of await clearRules(`${family}-${backend}`)) named.add(bridge);
    }
  }
  for (const bridge of await observeBridges()) {
    if (isDockerBridge(bridge) || named.has(bridge)) await execa('ip', ['link', 'delete', bridge]);
  }
}

async function observeBridges(): Promise<string[]> {
  const { stdout } = await execa('ip', ['-json', 'link', 'show', 'type', 'bridge']);
  // `ip -json` prints an empty object for each link that the type filter leaves out.
  const links = JSON.parse(stdout || '[]') as readonly { readonly ifname?: string }[];
  return links.flatMap(({ ifname }) => ifname ?? []);
}

/** Rewrites a backend's tables without Docker's rules; returns the bridges with chosen names that those rules held. */
async function clearRules(command: string): Promise<readonly string[]> {
  const saved = await execa(`${command}-save`, { reject: false, stripFinalNewline: false });
  if (saved.exitCode !== 0) return [];
  const { kept, named } = withoutDockerRules(saved.stdout);
  if (kept !== saved.stdout) await execa(`${command}-restore`, { input: kept });
  return named;
}

/** The text of an iptables-save without Docker's chains, every rule that leads there, and the rules of its bridges. */
export function withoutDockerRules(saved: string): { readonly kept: string; readonly named: readonly string[] } {
  const lines = saved.split('\n');
  // A network may have chosen its bridge's name; Docker sends what leaves there to its chain DOCKER.
  const named = lines.flatMap((line) => /^-A \S+ -o (\S+) (?:.* )?-j DOCKER$/.exec(line)?.[1] ?? []);
  const isDockers = (line: string) =>
    /^(:|-A )DOCKER|-[jg] DOCKER/.test(line) ||
    [...line.matchAll(/ -[io] (\S+)/g)].some(([, name = '']) => isDockerBridge(name) || named.includes(name)) ||
    // The hairpin rule of a published port names no interface.
    /^-A POSTROUTING -s (\S+) -d \1 .*-j MASQUERADE$/.test(line);
  return { kept: lines.filter((line) => !isDockers(line)).join('\n'), named };
}

function isDockerBridge(name: string): boolean {
  return /^(docker0|docker_gwbridge|br-[0-9a-f]{12})$/.test(name);
}
