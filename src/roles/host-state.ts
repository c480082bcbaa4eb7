import type { Fault } from '../errors.ts';
import type { HostConfig } from '../host/host-config.ts';
import { countResources, type HostCounts, type HostStatus } from '../host/status.ts';
import type { DockerApi } from '../system/docker-api.ts';
import type { SeenFiles } from '../system/host-config-file.ts';
import type { HostDifference } from './host-reconcile.ts';

/** What the parts of the running role share. Nothing of it decides about rules but `config`. */
export interface HostState {
  /** The last good one. */
  config: HostConfig;
  seen: SeenFiles;
  fileFaults: readonly Fault[];
  /** Absent: the engine does not answer. */
  docker?: DockerApi | undefined;
  /** Of the last look that went well. */
  difference?: HostDifference;
  last?: HostStatus['last'];
  error?: string | undefined;
  counts: HostCounts;
}

/** Before the first look. */
export function makeState(config: HostConfig, seen: SeenFiles): HostState {
  const counts = { reconciles: 0, writes: 0, failures: 0, disconnects: 0 };
  return { config, seen, fileFaults: [], counts };
}

export function count(state: HostState, name: keyof HostCounts): void {
  state.counts = { ...state.counts, [name]: state.counts[name] + 1 };
}

/** What is told to whoever asks. */
export function describeState({ docker, difference, fileFaults, error, counts, last }: HostState): HostStatus {
  return {
    healthy: docker !== undefined && error === undefined && last !== undefined,
    ...(docker === undefined ? {} : { docker: docker.version }),
    ...(difference === undefined ? {} : { firewall: difference.firewall }),
    resources: countResources(difference?.plan),
    faults: [...fileFaults, ...(difference?.plan.faults ?? [])],
    findings: difference?.plan.findings ?? [],
    ...(error === undefined ? {} : { error }),
    counts,
    ...(last === undefined ? {} : { last }),
  };
}

/** The log has another use for `name`. */
export function fieldsOf({ name, ...rest }: Fault): Readonly<Record<string, unknown>> {
  return { place: name, ...rest };
}

/** Equal texts: equal values. */
export function asText(value: unknown): string {
  return JSON.stringify(value);
}
