import type { Fault } from '../errors.ts';
import type { SavedTable } from '../ruleset/iptables-restore.ts';
import { asSubnet, parseAddress } from './address.ts';
import { compareRules } from './diff.ts';
import type { HostFinding, NamespaceStep } from './host-plan.ts';
import { subnetsOf } from './resolve-bridges.ts';
import type { InsideEntry } from './resolve-policies.ts';
import type { Forward } from './resource.ts';
import { chainPrefix, type HostRules } from './rules.ts';
import type { DockerContainer, DockerSnapshot, HostKernel } from './snapshot.ts';
import { isDnated, isLocal, renderRule, socketAddress } from './words.ts';

type Saved = ReadonlyMap<string, SavedTable>;

/**
 * A chain of the machine that no packet meets. It says in which containers there are rules of ours, so that they are found
 * again when nobody wants them any more.
 */
const memory = `${chainPrefix}INSIDE`;

/** Turns translations inside containers into resources. */
export function resolveInside(
  entries: readonly InsideEntry[],
  docker: DockerSnapshot,
): { readonly resources: readonly Forward[]; readonly faults: readonly Fault[] } {
  const faults: Fault[] = [];
  const resources = entries.flatMap((entry, index): readonly Forward[] => {
    const { place, container, to, protocol, port } = entry;
    const refuse = (value: string, problem: string, hint: string) => {
      faults.push({ name: place, value, problem, hint });
      return [];
    };
    if (container.networkMode === 'host') {
      return refuse(container.name, "has the machine's own network", 'name an interface of the machine in `iface`');
    }
    const holder = entries
      .slice(0, index)
      .find((one) => one.container === container && one.port === port && one.protocol === protocol);
    if (holder !== undefined) {
      const problem = `${container.name} sends that port to ${holder.to.container.name} already (${holder.place})`;
      return refuse(`${port}/${protocol}`, problem, 'take one of the policies out');
    }
    const reach = findReach(entry, docker);
    if (reach === undefined) {
      return refuse(to.container.name, 'the container has no address in a bridge network', 'attach it to one');
    }
    return [
      {
        kind: 'forward',
        origin: { place, id: `inside ${container.name} ${port}/${protocol} ${to.container.id.slice(0, 12)}` },
        family: 'ipv4',
        protocol,
        from: { port },
        to: { container: to.container.name, containerId: to.container.id, port, ...reach },
        hairpin: false,
        inside: { container: container.name, containerId: container.id, pid: container.details?.pid ?? 0 },
      },
    ];
  });
  return { resources, faults };
}

/** An address in a network that both are in; else one of the file; else any. */
function findReach({ container, to }: InsideEntry, { networks }: DockerSnapshot) {
  const isShared = (network: string) => container.endpoints.some((own) => own.network === network);
  const rank = (network: string) => (isShared(network) ? 0 : to.networks.includes(network) ? 1 : 2);
  return to.container.endpoints
    .toSorted((one, other) => rank(one.network) - rank(other.network))
    .flatMap(({ network: name, ipv4 }) => {
      const network = networks.find((one) => one.name === name && one.driver === 'bridge');
      const address = parseAddress(ipv4);
      if (network === undefined || address === undefined) return [];
      return [{ address, bridge: network.bridge, subnets: subnetsOf(network), isReflected: false }];
    })
    .at(0);
}

/** Ids of containers whose namespaces have to be looked into: those that are wanted, and those with rules of ours. */
export function findEntered(
  entries: readonly InsideEntry[],
  { docker, saved }: { readonly docker: DockerSnapshot; readonly saved: Saved | undefined },
): readonly string[] {
  const wanted = entries.map(({ container }) => container.id);
  return [...new Set([...wanted, ...findRemembered(docker, saved).map(({ id }) => id)])];
}

function findRemembered({ containers }: DockerSnapshot, saved: Saved | undefined): readonly DockerContainer[] {
  const rules = saved?.get('nat')?.chains.get(memory) ?? [];
  const ids = rules.map((rule) => / ([0-9a-f]{12})"/.exec(rule)?.[1]);
  return containers.filter(({ id }) => ids.includes(id.slice(0, 12)));
}

export interface InsidePlan {
  readonly steps: readonly NamespaceStep[];
  readonly findings: readonly HostFinding[];
  /** For the machine's nat table. */
  readonly part: { readonly chain: string; readonly rules: readonly string[] };
}

/** What is to be written in containers' namespaces, and what the machine has to remember of it. */
export function planInside(
  forwards: readonly Forward[],
  { docker, kernel: { saved, inside } }: { readonly docker: DockerSnapshot; readonly kernel: HostKernel },
): InsidePlan {
  const wanted = Map.groupBy(forwards, (one) => one.inside?.containerId);
  const remembered = new Set(findRemembered(docker, saved.ipv4));
  const entered = docker.containers.filter((one) => wanted.has(one.id) || remembered.has(one));
  const looks = entered.map((container) => {
    const pid = container.details?.pid ?? 0;
    return { container, pid, seen: inside?.get(pid), own: wanted.get(container.id) ?? [] };
  });
  return {
    steps: looks.flatMap(({ container: { id, name }, pid, seen, own }): readonly NamespaceStep[] => {
      const restore = seen === undefined ? '' : compareRules(renderInside(own), seen).restore;
      return restore === '' ? [] : [{ kind: 'set-rules', containerId: id, pid, container: name, restore }];
    }),
    findings: looks
      .filter(({ seen, container }) => seen === undefined && !container.isSilent)
      .map(({ container }) => ({
        code: 'forward-not-inside',
        subject: container.name,
        problem: 'its namespace cannot be entered, where a policy wants ports to be translated',
        hint: 'run this with `pid: host` and the capabilities SYS_ADMIN and SYS_PTRACE',
      })),
    part: {
      chain: memory,
      rules: looks
        .filter(({ seen, own }) => own.length > 0 || seen === undefined || hasOurs(seen))
        .map(({ container: { name, id } }) =>
          renderRule({ target: 'RETURN' }, { place: '', id: `inside ${name} ${id.slice(0, 12)}` }),
        ),
    },
  };
}

function hasOurs(saved: Saved): boolean {
  return [...saved.values()].some(({ chains }) => [...chains.keys()].some((name) => name.startsWith(chainPrefix)));
}

/** Translation with masquerade: the answer has to come back through the container, whatever routes the other one has. */
function renderInside(forwards: readonly Forward[]): HostRules {
  const [PREROUTING, POSTROUTING] = [`${chainPrefix}PREROUTING`, `${chainPrefix}POSTROUTING`];
  if (forwards.length === 0) return { family: 'ipv4', tables: [] };
  const rules = (render: (forward: Forward) => string) => [...new Set(forwards.map(render))];
  return {
    family: 'ipv4',
    tables: [
      {
        name: 'nat',
        chains: [
          {
            name: PREROUTING,
            rules: rules(({ protocol, from: { port }, to, origin }) =>
              renderRule(
                {
                  transport: { protocol, side: 'dport', port },
                  matches: [isLocal],
                  target: `DNAT --to-destination ${socketAddress(to.address, to.port)}`,
                },
                origin,
              ),
            ),
          },
          {
            name: POSTROUTING,
            rules: rules(({ protocol, to, origin }) =>
              renderRule(
                {
                  destination: asSubnet(to.address),
                  transport: { protocol, side: 'dport', port: to.port },
                  matches: [isDnated],
                  target: 'MASQUERADE',
                },
                origin,
              ),
            ),
          },
        ],
        jumps: [
          { from: 'PREROUTING', to: PREROUTING, place: 'first' },
          { from: 'POSTROUTING', to: POSTROUTING, place: 'first' },
        ],
      },
    ],
  };
}
