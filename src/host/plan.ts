import { families } from './address.ts';
import { planClients } from './clients.ts';
import type { HostConfig } from './host-config.ts';
import type { HostFinding, HostPlan } from './host-plan.ts';
import { findEntered, planInside, resolveInside } from './inside.ts';
import { findOverlaps, findUsed } from './overlap.ts';
import { renderHostRules } from './render.ts';
import { resolveAllow } from './resolve-allow.ts';
import { resolveBridgeBases, resolveTranslated } from './resolve-bridge-bases.ts';
import { resolveBridges } from './resolve-bridges.ts';
import { resolveForwards } from './resolve-forwards.ts';
import type { Resource } from './resource.ts';
import type { DockerSnapshot, HostKernel, HostSnapshot, PublishedPort } from './snapshot.ts';
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
  const networks = translateNetworks(config.networks, { docker, links: kernel.links });
  const bridges = resolveBridges(config, { docker, links: kernel.links });
  const bases = resolveBridgeBases(config, { docker, kernel });
  const forwards = resolveForwards(
    { ...config, forwards: [...config.forwards, ...networks.forwards] },
    { docker, kernel, translated: resolveTranslated(bases.resources, { docker, kernel }) },
  );
  const allow = resolveAllow([...config.allow, ...networks.allow], docker);
  const inside = resolveInside(networks.inside, docker);
  const resources = [bridges, bases, forwards, allow, networks, inside].flatMap(
    (one): readonly Resource[] => one.resources,
  );
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
    docker: networks.steps,
    machine: config.networks !== undefined && kernel.ipv4Forwarding === false ? [{ kind: 'enable-forwarding' }] : [],
    namespaces: [...clients.namespaces, ...insides.steps],
    findings: [...clients.findings, ...bases.findings, ...insides.findings, ...findSilent(docker)],
    faults: [
      ...bridges.faults,
      ...bases.faults,
      ...forwards.faults,
      ...allow.faults,
      ...networks.faults,
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

function findSilent({ containers }: DockerSnapshot): readonly HostFinding[] {
  return containers
    .filter(({ isSilent }) => isSilent)
    .map(({ name }) => ({
      code: 'container-not-inspected',
      subject: name,
      problem:
        'Docker does not tell about it, so what it may get around is not known, and nothing is done in its namespace',
      hint: `see whether \`docker inspect ${name}\` answers; what hangs may be a \`docker\` command, its storage, or Docker`,
    }));
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
