import type { HostFinding, HostPlan, NamespaceStep } from './host-plan.ts';
import type { FirstProcess, RoutedBridge, RoutedClient } from './resource.ts';
import type { ClientNamespace } from './snapshot.ts';

type Namespaces = ReadonlyMap<number, ClientNamespace>;

/** A client whose namespace is looked into. */
export interface LookedAt extends FirstProcess {
  readonly mayBeCutOff: boolean;
}

/** All clients. Where some are cut off, one may be that has no risks any more. */
export function findLookedAt(bridges: readonly RoutedBridge[]): readonly LookedAt[] {
  return bridges.flatMap(({ clients, unsafe }) =>
    clients.map(({ pid, containerId, risks }) => {
      return { pid, containerId, mayBeCutOff: unsafe === 'cut-off' || risks.length > 0 };
    }),
  );
}

/** What is to be done in the namespaces of isolated networks' clients, and what people should know of them. */
export function planClients(
  bridges: readonly RoutedBridge[],
  namespaces: Namespaces,
): Pick<HostPlan, 'namespaces' | 'findings'> {
  const steps = new Map<string, NamespaceStep>();
  const findings = bridges.flatMap((bridge) => {
    for (const client of bridge.clients) {
      for (const step of stepsFor(bridge, client, namespaces.get(client.pid)))
        steps.set(`${step.kind} ${step.pid}`, step);
    }
    return [...findRouter(bridge), ...bridge.clients.flatMap((client) => findRisks(bridge, client, namespaces))];
  });
  return { namespaces: [...steps.values()], findings };
}

function stepsFor(
  { isInternal, router, unsafe }: RoutedBridge,
  { container, containerId, pid, risks }: RoutedClient,
  seen: ClientNamespace | undefined,
): readonly NamespaceStep[] {
  if (seen === undefined) return [];
  const subject = { pid, containerId, container };
  const isToBeCut = unsafe === 'cut-off' && risks.length > 0;
  const lacksRoute = isInternal && router?.family === 'ipv4' && seen.defaultRoutes.length === 0;
  return [
    ...(isToBeCut && !seen.isCutOff ? [{ kind: 'cut-off', ...subject } as const] : []),
    ...(!isToBeCut && seen.isCutOff ? [{ kind: 'let-go', ...subject } as const] : []),
    ...(lacksRoute ? [{ kind: 'add-default-route', ...subject, router } as const] : []),
  ];
}

function findRouter({
  network,
  hasRouter,
  hasSilent,
  isInternal,
  router,
  origin,
}: RoutedBridge): readonly HostFinding[] {
  const findings: HostFinding[] = [];
  // That may be the router.
  if (hasSilent) return [];
  if (!hasRouter) {
    findings.push({
      code: 'router-absent',
      subject: network,
      problem: 'no router runs on this network; its clients reach nobody outside',
      hint: 'start the router; nothing leaks meanwhile',
    });
  }
  if (isInternal && router === undefined) {
    findings.push({
      code: 'client-without-route',
      subject: network,
      problem: "nothing says what the router's address is, so clients of this internal network get no default route",
      hint: `set \`router\` for it in the host file, or the label underbridge.router (${origin.place})`,
    });
  }
  return findings;
}

function findRisks(
  { isInternal, router, unsafe }: RoutedBridge,
  { container, pid, risks }: RoutedClient,
  namespaces: Namespaces,
): readonly HostFinding[] {
  const isHidden = !namespaces.has(pid);
  const enter = 'run this with `pid: host` and the capabilities SYS_ADMIN and SYS_PTRACE';
  const address = router?.text ?? "the router's address";
  return [
    ...risks.map((risk): HostFinding => {
      return risk.kind === 'dns'
        ? {
            code: 'client-without-dns',
            subject: container,
            problem: "without `dns:` Docker may ask the machine's own resolvers for it, outside of the VPN",
            hint: `start it with \`dns: [${address}]\``,
          }
        : {
            code: 'client-with-second-way',
            subject: container,
            problem: `its network ${risk.network} leads out beside the router`,
            hint: `take it off ${risk.network}, or make that network internal`,
          };
    }),
    ...(isHidden && unsafe === 'cut-off' && risks.length > 0
      ? [
          {
            code: 'client-not-cut-off',
            subject: container,
            problem: 'it cannot be cut off from here',
            hint: enter,
          } as const,
        ]
      : []),
    ...(isHidden && isInternal && router !== undefined
      ? [
          {
            code: 'client-without-route',
            subject: container,
            problem:
              'whether it has a default route cannot be seen; Docker gives none on an internal network since 25.0',
            hint: enter,
          } as const,
        ]
      : []),
  ];
}
