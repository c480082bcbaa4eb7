import type { Fault } from '../errors.ts';
import type { HostFinding, HostPlan } from './host-plan.ts';
import type { Backend } from './snapshot.ts';

/** What the host role tells of itself, at `/status` and by `underbridge host status`. */
export interface HostStatus {
  readonly healthy: boolean;
  /** Of the engine; absent while it cannot be reached. */
  readonly docker?: string;
  readonly firewall?: Backend;
  readonly resources: Readonly<Record<string, number>>;
  readonly faults: readonly Fault[];
  readonly findings: readonly HostFinding[];
  /** What went wrong at the last look, if anything did. */
  readonly error?: string;
  readonly counts: HostCounts;
  /** Of the last look at everything. */
  readonly last?: { readonly at: string; readonly tookMs: number; readonly changes: number };
}

export interface HostCounts {
  /** Looks at everything. */
  readonly reconciles: number;
  /** Looks after which something was written. */
  readonly writes: number;
  readonly failures: number;
  /** Times that the engine's events broke off. */
  readonly disconnects: number;
}

/** How many there are of each kind. */
export function countResources(plan: Pick<HostPlan, 'resources'> | undefined): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { kind } of plan?.resources ?? []) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}

/** The same in the text format of Prometheus. */
export function renderMetrics({ healthy, docker, resources, faults, findings, counts, last }: HostStatus): string {
  const codes = new Map<string, number>();
  for (const { code } of findings) codes.set(code, (codes.get(code) ?? 0) + 1);
  const family = (name: string, type: 'gauge' | 'counter', help: string, samples: readonly string[]) => [
    `# HELP underbridge_host_${name} ${help}`,
    `# TYPE underbridge_host_${name} ${type}`,
    ...samples.map((sample) => `underbridge_host_${name}${sample}`),
  ];
  const labelled = (label: string, of: Iterable<readonly [string, number]>) =>
    [...of].map(([value, count]) => `{${label}="${value}"} ${count}`);
  return `${[
    ...family('healthy', 'gauge', 'Whether the last look at everything went well.', [` ${healthy ? 1 : 0}`]),
    ...family('docker_connected', 'gauge', 'Whether the engine answers.', [` ${docker === undefined ? 0 : 1}`]),
    ...family('resources', 'gauge', 'What is kept, by kind.', labelled('kind', Object.entries(resources))),
    ...family('findings', 'gauge', 'What lets something out or does not work, by code.', labelled('code', codes)),
    ...family('faults', 'gauge', 'Wishes that cannot be fulfilled.', [` ${faults.length}`]),
    ...family('reconciles_total', 'counter', 'Looks at everything.', [` ${counts.reconciles}`]),
    ...family('writes_total', 'counter', 'Looks after which something was written.', [` ${counts.writes}`]),
    ...family('failures_total', 'counter', 'Looks that failed.', [` ${counts.failures}`]),
    ...family('disconnects_total', 'counter', "Times that the engine's events broke off.", [` ${counts.disconnects}`]),
    ...family('reconcile_seconds', 'gauge', 'What the last look took.', [` ${(last?.tookMs ?? 0) / 1_000}`]),
  ].join('\n')}\n`;
}
