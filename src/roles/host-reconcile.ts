import { setTimeout as sleep } from 'node:timers/promises';
import { UnderbridgeError } from '../errors.ts';
import { families } from '../host/address.ts';
import { findLookedAt } from '../host/clients.ts';
import { compareRules, type RuleChange } from '../host/diff.ts';
import type { HostConfig } from '../host/host-config.ts';
import { describeDockerStep, type HostPlan } from '../host/host-plan.ts';
import { findTranslating, planHost } from '../host/plan.ts';
import { resolveBridges } from '../host/resolve-bridges.ts';
import type { Family } from '../host/resource.ts';
import type { Backend, HostKernel, HostLink, HostSnapshot } from '../host/snapshot.ts';
import { findInspected } from '../host/wanted-networks.ts';
import type { DockerApi } from '../system/docker-api.ts';
import { forgetConnections } from '../system/host-connections.ts';
import { applyDockerStep, inspectContainers, observeHostDocker } from '../system/host-docker.ts';
import {
  applyMachineStep,
  findForeignNamespace,
  isForwardingIpv4,
  observeIpv6Forwarding,
  observeLinks,
} from '../system/host-machine.ts';
import { applyNamespaceStep, observeInside, observeNamespaces } from '../system/host-namespaces.ts';
import { applyRules, type ObservedRules, observeRules } from '../system/host-rules.ts';

/** What is wanted, and what it takes. Nothing of it has been done. */
export interface HostDifference {
  readonly plan: HostPlan;
  readonly firewall: Backend;
  readonly links: readonly HostLink[];
  readonly changes: readonly FamilyChange[];
  /** False: it is about rules alone, and what it says of containers is not known yet. */
  readonly isWhole: boolean;
}

/** Within this an engine tells about all containers that have to be looked at, if nothing hangs. */
const quickMs = 250;

export interface FamilyChange {
  readonly backend: Backend;
  readonly family: Family;
  readonly change: RuleChange;
}

/**
 * Looks at Docker and the kernel, and computes what differs.
 * @param silent ids of containers that Docker did not tell about last time, and does not now. Given, the rules come first:
 * if Docker is slow to tell, what differs in them, for which it need not tell, comes alone (`isWhole` is false then)
 * @throws UnderbridgeError
 */
export async function findDifference(
  docker: DockerApi,
  config: HostConfig,
  silent?: Set<string>,
): Promise<HostDifference> {
  const [listed, observed, links] = await Promise.all([
    observeHostDocker(docker),
    observeRules(config.firewall),
    observeLinks(),
  ]);
  const [misplaced] = findForeignNamespace(listed, links);
  if (misplaced !== undefined) {
    const { problem, hint } = misplaced;
    throw new UnderbridgeError({ code: 'UB_CONFIG', message: problem, hint });
  }
  const saved = observed.saved[observed.backend];
  const ipv6Forwarding = observeIpv6Forwarding();
  const kernel: HostKernel = {
    saved,
    links,
    namespaces: new Map(),
    ...(config.networks === undefined ? {} : { ipv4Forwarding: isForwardingIpv4() }),
    ...(ipv6Forwarding === undefined ? {} : { ipv6Forwarding }),
  };
  const planFor = (snapshot: HostSnapshot): HostDifference => {
    const plan = planHost({ config, snapshot });
    return { plan, firewall: observed.backend, links, changes: compareAll(plan.rules, observed), isWhole: true };
  };
  const translating = findTranslating(config, { docker: listed, kernel });
  const ids = [...new Set([...findInspected(config, listed), ...translating])];
  const asking = inspectContainers(docker, listed, { ids, silent });
  if (silent !== undefined && (await Promise.race([asking, sleep(quickMs)])) === undefined) {
    const early = planFor({ docker: listed, kernel });
    const plan = { ...early.plan, docker: [], machine: [], namespaces: [] };
    if (early.changes.length > 0) {
      // The next look asks again.
      asking.catch(() => undefined);
      return { ...early, plan, isWhole: false };
    }
  }
  const seen = await asking;
  silent?.clear();
  for (const { id, isSilent } of seen.containers) if (isSilent) silent?.add(id);
  const entered = seen.containers.flatMap(({ id, details }) =>
    details !== undefined && translating.includes(id) ? [{ containerId: id, pid: details.pid }] : [],
  );
  const [inside, namespaces] = await Promise.all([
    observeInside(entered, observed.backend),
    observeNamespaces(findLookedAt(resolveBridges(config, { docker: seen, links }).resources)),
  ]);
  return planFor({ docker: seen, kernel: { ...kernel, inside, namespaces } });
}

/** The chosen program's rules, and what we may have left with the other one. */
export function compareAll(rules: HostPlan['rules'], { backend, saved }: ObservedRules): readonly FamilyChange[] {
  return (['nft', 'legacy'] as const).flatMap((program) =>
    families.flatMap((family): readonly FamilyChange[] => {
      const there = saved[program][family];
      if (there === undefined) return [];
      const wanted = program === backend ? rules.find((one) => one.family === family) : undefined;
      const change = compareRules(wanted ?? { family, tables: [] }, there);
      return change.restore === '' ? [] : [{ backend: program, family, change }];
    }),
  );
}

/**
 * Does what a difference asks for, the locks first. One step that fails does not keep the others.
 * @returns how many things were changed, and what went wrong
 */
export async function applyDifference(
  docker: DockerApi,
  { plan, firewall, links, changes }: HostDifference,
): Promise<{ readonly done: readonly string[]; readonly failures: readonly UnderbridgeError[] }> {
  const done: string[] = [];
  const failures: UnderbridgeError[] = [];
  const attempt = async (text: readonly string[], work: () => Promise<void>) => {
    try {
      await work();
      done.push(...text);
    } catch (error) {
      if (!(error instanceof UnderbridgeError)) throw error;
      failures.push(error);
    }
  };
  for (const { backend, family, change } of changes) {
    await attempt(change.lines, () => applyRules(backend, family, change));
  }
  const own = links.flatMap(({ addresses }) => addresses.map((address) => address.replace(/\/.*$/, '')));
  await attempt([], () =>
    forgetConnections(
      changes.flatMap(({ change }) => change.translations),
      own,
    ),
  );
  for (const step of plan.docker) {
    await attempt([describeDockerStep(step)], () => applyDockerStep(docker, step));
  }
  for (const step of plan.machine) await attempt([step.kind], async () => applyMachineStep(step));
  for (const step of plan.namespaces) {
    await attempt([`${step.kind} ${step.container}`], () => applyNamespaceStep(step, firewall));
  }
  return { done, failures };
}
