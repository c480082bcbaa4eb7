import { families } from './address.ts';
import { planClients } from './clients.ts';
import type { HostConfig } from './host-config.ts';
import type { HostPlan } from './host-plan.ts';
import { renderHostRules } from './render.ts';
import { resolveAllow } from './resolve-allow.ts';
import { resolveBridgeBases, resolveTranslated } from './resolve-bridge-bases.ts';
import { resolveBridges } from './resolve-bridges.ts';
import { resolveForwards } from './resolve-forwards.ts';
import type { DockerSnapshot, HostSnapshot, PublishedPort } from './snapshot.ts';

/** Computes the whole wanted state; pure, so the same input gives the same plan. */
export function planHost({
  config,
  snapshot,
}: {
  readonly config: HostConfig;
  readonly snapshot: HostSnapshot;
}): HostPlan {
  const { kernel } = snapshot;
  const docker = ordered(snapshot.docker);
  const bridges = resolveBridges(config, docker);
  const bases = resolveBridgeBases(config, { docker, kernel });
  const translated = resolveTranslated(bases.resources, { docker, kernel });
  const forwards = resolveForwards(config, { docker, kernel, translated });
  const allow = resolveAllow(config.allow, docker);
  const clients = planClients(bridges.resources, kernel.namespaces);
  const resources = [...bridges.resources, ...bases.resources, ...forwards.resources, ...allow.resources];
  return {
    resources,
    rules: families.flatMap((family) => {
      const saved = kernel.saved[family];
      return saved === undefined ? [] : [renderHostRules({ resources, family, saved, links: kernel.links })];
    }),
    docker: [],
    namespaces: clients.namespaces,
    findings: [...clients.findings, ...bases.findings],
    faults: [...bridges.faults, ...bases.faults, ...forwards.faults, ...allow.faults],
  };
}

/** Docker lists in any order, ports of one container in another one each time; the same rules must come of it. */
function ordered(docker: DockerSnapshot): DockerSnapshot {
  return {
    ...docker,
    networks: docker.networks.toSorted(by(({ name, id }) => `${name} ${id}`)),
    containers: docker.containers.toSorted(by(({ name, id }) => `${name} ${id}`)).map((container) => ({
      ...container,
      endpoints: container.endpoints.toSorted(by(({ network }) => network)),
      ports: container.ports.toSorted((one, other) => one.hostPort - other.hostPort || byName(one, other)),
    })),
  };
}

const byName = by(({ protocol, hostIp }: PublishedPort) => `${protocol} ${hostIp}`);

function by<T>(key: (one: T) => string): (one: T, other: T) => number {
  return (one, other) => {
    const [left, right] = [key(one), key(other)];
    return left < right ? -1 : left > right ? 1 : 0;
  };
}
