import { families } from './address.ts';
import { planClients } from './clients.ts';
import type { HostConfig } from './host-config.ts';
import type { HostPlan } from './host-plan.ts';
import { renderHostRules } from './render.ts';
import { resolveAllow } from './resolve-allow.ts';
import { resolveBridges } from './resolve-bridges.ts';
import { resolveForwards } from './resolve-forwards.ts';
import type { HostSnapshot } from './snapshot.ts';

/** Computes the whole wanted state; pure, so the same input gives the same plan. */
export function planHost({
  config,
  snapshot,
}: {
  readonly config: HostConfig;
  readonly snapshot: HostSnapshot;
}): HostPlan {
  const { docker, kernel } = snapshot;
  const bridges = resolveBridges(config, docker);
  const forwards = resolveForwards(config, snapshot);
  const allow = resolveAllow(config.allow, docker);
  const resources = [...bridges.resources, ...forwards.resources, ...allow.resources];
  return {
    resources,
    rules: families.flatMap((family) => {
      const saved = kernel.saved[family];
      return saved === undefined ? [] : [renderHostRules({ resources, family, saved, links: kernel.links })];
    }),
    docker: [],
    ...planClients(bridges.resources, kernel.namespaces),
    faults: [...bridges.faults, ...forwards.faults, ...allow.faults],
  };
}
