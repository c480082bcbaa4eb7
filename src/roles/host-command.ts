import { escapeInvisible, renderFaults } from '../config/report.ts';
import { UnderbridgeError } from '../errors.ts';
import type { HostConfig } from '../host/host-config.ts';
import { describeDockerStep } from '../host/host-plan.ts';
import type { HostSettings } from '../host/host-settings.ts';
import type { Family } from '../host/resource.ts';
import { type DockerApi, openDocker } from '../system/docker-api.ts';
import { inspectContainers, observeHostDocker } from '../system/host-docker.ts';
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
 * containers' namespaces. Says whose could not be entered. @throws UnderbridgeError
 */
export async function cleanUp({ settings }: Pick<Task, 'settings'>): Promise<number> {
  const changes = compareAll([], await observeRules('nft'));
  for (const { backend, family, change } of changes) {
    await applyRules(backend, family, change);
    print(change.lines);
  }
  try {
    const hidden = await withDocker(settings, cleanContainers);
    if (hidden.length > 0) process.stderr.write(`${escapeInvisible(describeHidden(hidden))}\n`);
  } catch (error) {
    if (!(error instanceof UnderbridgeError)) throw error;
    process.stderr.write(`underbridge: containers' namespaces were not looked at: ${error.message}\n`);
  }
  return 0;
}

/** @returns names of the containers whose namespaces could not be entered */
async function cleanContainers(docker: DockerApi): Promise<readonly string[]> {
  const listed = await observeHostDocker(docker);
  const ids = listed.containers.map(({ id }) => id);
  const { containers } = await inspectContainers(docker, listed, { ids });
  const hidden: string[] = [];
  for (const { id, name, networkMode, details, isSilent } of containers) {
    try {
      const isClean = details === undefined ? !isSilent : await cleanNamespace({ containerId: id, pid: details.pid });
      // These have the machine's own, or that of another one.
      if (!isClean && !/^(host|container:.*)$/.test(networkMode)) hidden.push(name);
    } catch (error) {
      if (!(error instanceof UnderbridgeError)) throw error;
      process.stderr.write(`${escapeInvisible(`underbridge: ${name} was not cleaned: ${error.message}`)}\n`);
    }
  }
  return hidden;
}

function describeHidden(names: readonly string[]): string {
  const [first, more] = [names.slice(0, 5).join(', '), names.length - 5];
  const whose = more > 0 ? `${first} and ${more} more` : first;
  const where = '`pid: host`, SYS_ADMIN and SYS_PTRACE';
  return `underbridge: what may have been added in the namespaces of ${whose} stays until they end: they cannot be entered without ${where}`;
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
