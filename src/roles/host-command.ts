import { escapeInvisible, renderFaults } from '../config/report.ts';
import { UnderbridgeError } from '../errors.ts';
import type { HostConfig } from '../host/host-config.ts';
import { describeDockerStep } from '../host/host-plan.ts';
import type { HostSettings } from '../host/host-settings.ts';
import type { Family } from '../host/resource.ts';
import { type DockerApi, openDocker } from '../system/docker-api.ts';
import { observeHostDocker } from '../system/host-docker.ts';
import { dockerAddress } from '../system/host-docker-api.ts';
import { cleanNamespace } from '../system/host-namespaces.ts';
import { applyRules, observeRules } from '../system/host-rules.ts';
import { askHttp } from '../system/http.ts';
import { applyDifference, compareAll, findDifference, type HostDifference } from './host-reconcile.ts';

interface Task {
  readonly settings: HostSettings;
  readonly config: HostConfig;
}

/** One reconcile; prints what was done. @throws UnderbridgeError */
export async function reconcileOnce({ settings, config }: Task): Promise<number> {
  return withDocker(settings, async (docker) => {
    const reconcile = async () => {
      const difference = await findDifference(docker, config);
      const { done, failures } = await applyDifference(docker, difference);
      print(done);
      return { difference, failures };
    };
    const first = await reconcile();
    // What Docker just did may be what the rest waits for.
    const { difference, failures } = first.difference.plan.docker.length > 0 ? await reconcile() : first;
    complain(difference);
    for (const { message, hint } of failures) process.stderr.write(`underbridge: ${message}\n  ${hint}\n`);
    return failures.length > 0 || difference.plan.faults.length > 0 ? 1 : 0;
  });
}

/** Prints what a reconcile would change, and changes nothing. @throws UnderbridgeError */
export async function printPlan({ settings, config }: Task): Promise<number> {
  return withDocker(settings, async (docker) => {
    const difference = await findDifference(docker, config);
    const { plan, changes } = difference;
    print([
      ...changes.flatMap(({ backend, family, change }) => [`# ${programName(family)} (${backend})`, ...change.lines]),
      ...plan.docker.map((step) => `+ ${describeDockerStep(step)}`),
      ...plan.machine.map((step) => `+ ${step.kind}`),
      ...plan.namespaces.map((step) => `+ ${step.kind} ${step.container}`),
    ]);
    if (changes.length + plan.docker.length + plan.machine.length + plan.namespaces.length === 0)
      print(['# nothing to change']);
    complain(difference);
    return plan.faults.length > 0 ? 1 : 0;
  });
}

/**
 * Removes every chain and jump of ours, of both programs of iptables; and, where Docker answers, what was added in
 * containers' namespaces. @throws UnderbridgeError
 */
export async function cleanUp({ settings }: Pick<Task, 'settings'>): Promise<number> {
  const changes = compareAll([], await observeRules('nft'));
  for (const { backend, family, change } of changes) {
    await applyRules(backend, family, change);
    print(change.lines);
  }
  try {
    await withDocker(settings, async (docker) => {
      for (const { id } of (await observeHostDocker(docker)).containers) {
        const seen = await docker.get<{ readonly State: { readonly Pid: number } }>(`/containers/${id}/json`);
        if (seen !== undefined) await cleanNamespace(seen.State.Pid);
      }
    });
  } catch (error) {
    if (!(error instanceof UnderbridgeError)) throw error;
    process.stderr.write(`underbridge: containers' namespaces were not looked at: ${error.message}\n`);
  }
  return 0;
}

/** Prints what the running host role says of itself. */
export async function printStatus({ health }: Pick<HostSettings, 'health'>): Promise<number> {
  const answer = await askHttp({ ...health, path: '/status' });
  if (answer === undefined) {
    process.stderr.write(
      `underbridge: no host role answers at ${health.host}:${health.port}; run this where it runs, with the same HEALTH_ADDR\n`,
    );
    return 1;
  }
  const status: { readonly healthy: boolean } = JSON.parse(answer.body);
  process.stdout.write(`${JSON.stringify(status, null, 2)}\n`);
  return status.healthy ? 0 : 1;
}

async function withDocker<T>(settings: HostSettings, work: (docker: DockerApi) => Promise<T>): Promise<T> {
  const docker = await openDocker(dockerAddress(settings));
  try {
    return await work(docker);
  } finally {
    docker.close();
  }
}

function programName(family: Family): string {
  return family === 'ipv6' ? 'ip6tables' : 'iptables';
}

function print(lines: readonly string[]): void {
  process.stdout.write(lines.map((line) => `${escapeInvisible(line)}\n`).join(''));
}

function complain({ plan: { faults, findings } }: HostDifference): void {
  if (faults.length > 0) process.stderr.write(`${renderFaults(faults, 'left out')}\n`);
  for (const { subject, problem, hint } of findings) {
    process.stderr.write(`${escapeInvisible(`${subject}: ${problem}; ${hint}`)}\n`);
  }
}
