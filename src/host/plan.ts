import { families } from './address.ts';
import { planClients } from './clients.ts';
import type { HostConfig } from './host-config.ts';
import type { HostPlan } from './host-plan.ts';
import { findEntered, planInside, resolveInside } from './inside.ts';
import { findOverlaps, findUsed } from './overlap.ts';
import { renderHostRules } from './render.ts';
import { resolveAllow } from './resolve-allow.ts';
import { resolveBridges } from './resolve-bridges.ts';
import { resolveForwards } from './resolve-forwards.ts';
import type { Resource } from './resource.ts';
import type { DockerSnapshot, HostKernel, HostSnapshot } from './snapshot.ts';
import { translateNetworks } from './translate-networks.ts';

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
  const translated = translateNetworks(config.networks, { docker, links: kernel.links });
  const bridges = resolveBridges(config, docker);
  const forwards = resolveForwards(
    { ...config, forwards: [...config.forwards, ...translated.forwards] },
    { docker, kernel },
  );
  const allow = resolveAllow([...config.allow, ...translated.allow], docker);
  const inside = resolveInside(translated.inside, docker);
  const resources = [bridges, forwards, allow, translated, inside].flatMap((one): readonly Resource[] => one.resources);
  const insides = planInside(inside.resources, { docker, kernel });
  const clients = planClients(bridges.resources, kernel.namespaces);
  const used = findUsed(bridges.resources, forwards.resources, docker).filter(
    // That was looked at already.
    ({ name }) => !config.networks?.networks.some((one) => one.name === name),
  );
  return {
    resources,
    rules: families.flatMap((family) => {
      const saved = kernel.saved[family];
      const memory = family === 'ipv4' ? insides.part : undefined;
      return saved === undefined ? [] : [renderHostRules({ resources, family, saved, links: kernel.links, memory })];
    }),
    docker: translated.steps,
    machine: config.networks !== undefined && kernel.ipv4Forwarding === false ? [{ kind: 'enable-forwarding' }] : [],
    namespaces: [...clients.namespaces, ...insides.steps],
    findings: [...clients.findings, ...insides.findings],
    faults: [
      ...bridges.faults,
      ...forwards.faults,
      ...allow.faults,
      ...translated.faults,
      ...inside.faults,
      ...findOverlaps(used, { docker, links: kernel.links }),
    ],
  };
}

/** Ids of containers whose namespaces a plan has to know, for what is translated inside of them. */
export function findTranslating(
  { networks }: HostConfig,
  { docker, kernel: { saved, links } }: { docker: DockerSnapshot; kernel: Pick<HostKernel, 'saved' | 'links'> },
): readonly string[] {
  const { inside } = translateNetworks(networks, { docker, links });
  return findEntered(inside, { docker, saved: saved.ipv4 });
}

/** Docker lists in any order, ports of one container in another one each time; the same rules must come of it. */
function ordered(docker: DockerSnapshot): DockerSnapshot {
  return {
    ...docker,
    networks: docker.networks.toSorted(by(({ name, id }) => `${name} ${id}`)),
    containers: docker.containers.toSorted(by(({ name, id }) => `${name} ${id}`)).map((container) => ({
      ...container,
      endpoints: container.endpoints.toSorted(by(({ network }) => network)),
      ports: container.ports.toSorted(
        by(({ hostPort, protocol, hostIp }) => `${`${hostPort}`.padStart(5, '0')} ${protocol} ${hostIp}`),
      ),
    })),
  };
}

function by<T>(key: (one: T) => string): (one: T, other: T) => number {
  return (one, other) => {
    const [left, right] = [key(one), key(other)];
    return left < right ? -1 : left > right ? 1 : 0;
  };
}
