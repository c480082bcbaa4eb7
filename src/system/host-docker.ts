import { UnderbridgeError } from '../errors.ts';
import type { DockerStep } from '../host/host-plan.ts';
import type { Protocol } from '../host/resource.ts';
import type {
  ContainerDetails,
  DockerContainer,
  DockerNetwork,
  DockerSnapshot,
  PublishedPort,
} from '../host/snapshot.ts';
import type { ApiNetwork, DockerApi } from './docker-api.ts';
import { post } from './host-docker-api.ts';

// As the Engine API 1.41 (Docker 20.10) and later give them; only what is read. Go writes an empty list as null.
interface ApiListedContainer {
  readonly Id: string;
  readonly Names: readonly string[];
  readonly Labels: Readonly<Record<string, string>> | null;
  readonly State: string;
  readonly HostConfig: { readonly NetworkMode: string };
  readonly Ports:
    | readonly {
        readonly IP?: string;
        readonly PrivatePort: number;
        readonly PublicPort?: number;
        readonly Type: string;
      }[]
    | null;
  readonly NetworkSettings: {
    readonly Networks: Readonly<
      Record<
        string,
        { readonly IPAddress: string; readonly GlobalIPv6Address: string; readonly GwPriority?: number } | null
      >
    > | null;
  };
}

interface ApiContainer {
  readonly State: { readonly Pid: number };
  readonly Config: {
    readonly Env: readonly string[] | null;
    readonly Cmd: readonly string[] | null;
    readonly Entrypoint: readonly string[] | null;
  };
  readonly HostConfig: { readonly Dns?: readonly string[] | null };
  readonly NetworkSettings: {
    readonly Networks: Readonly<
      // Given back as they are.
      Record<
        string,
        Readonly<Partial<Record<'Aliases' | 'Links' | 'DriverOpts' | 'GwPriority' | 'IPAMConfig', unknown>>>
      >
    > | null;
  };
}

/** What the image's ENTRYPOINT ends in; other images of ours have it too, whatever their name. */
const routerEntrypoint = '/usr/lib/underbridge/entrypoint';

/** Docker locks a container while something is done with it, and so cannot tell about it while that hangs. */
const inspectMs = { first: 2_000, again: 200 } as const;
const inspectAllMs = 10_000;
const inspectedAtOnce = 4;

/** Events after which something may have to change. Health checks, which come all the time, are not among them. */
export const relevantEvents = {
  type: ['container', 'network'],
  event: ['start', 'die', 'rename', 'update', 'connect', 'disconnect', 'create', 'destroy', 'remove'],
} as const;

/** Lists networks and running containers: two questions, however many there are. @throws UnderbridgeError UB_DOCKER */
export async function observeHostDocker(docker: DockerApi): Promise<DockerSnapshot> {
  const [networks, containers] = await Promise.all([
    docker.list<ApiNetwork>('/networks'),
    docker.list<ApiListedContainer>('/containers/json'),
  ]);
  return {
    version: docker.version,
    networks: networks.map(parseNetwork),
    containers: containers.map(parseContainer),
  };
}

/**
 * Adds what only an inspect tells, for the containers that are named. Those that have gone stay without.
 * @param silent ids of those that Docker did not tell about last time: they get less time
 * @throws UnderbridgeError UB_DOCKER when Docker has gone
 */
export async function inspectContainers(
  docker: DockerApi,
  snapshot: DockerSnapshot,
  { ids, silent }: { readonly ids: readonly string[]; readonly silent?: ReadonlySet<string> | undefined },
): Promise<DockerSnapshot> {
  const pending = [...ids];
  const found = new Map<string, Partial<DockerContainer>>();
  const whole = AbortSignal.timeout(inspectAllMs);
  const work = async () => {
    for (let id = pending.shift(); id !== undefined; id = pending.shift()) {
      const mostMs = silent?.has(id) ? inspectMs.again : inspectMs.first;
      const signal = AbortSignal.any([whole, AbortSignal.timeout(mostMs)]);
      try {
        const one = await docker.get<ApiContainer>(`/containers/${id}/json`, signal);
        if (one !== undefined) found.set(id, { details: parseDetails(one) });
      } catch (error) {
        // With a cause, it is no answer but the end of the connection.
        if (!(error instanceof UnderbridgeError) || (error.cause !== undefined && !signal.aborted)) throw error;
        found.set(id, { isSilent: true });
      }
    }
  };
  await Promise.all(Array.from({ length: inspectedAtOnce }, work));
  return { ...snapshot, containers: snapshot.containers.map((one) => ({ ...one, ...found.get(one.id) })) };
}

/** Has the engine do something. @throws UnderbridgeError UB_DOCKER */
export async function applyDockerStep(docker: DockerApi, step: DockerStep): Promise<void> {
  if (step.kind === 'create-network') {
    return post(docker, '/networks/create', {
      Name: step.name,
      Driver: 'bridge',
      CheckDuplicate: true,
      IPAM: { Config: [{ Subnet: step.subnet, Gateway: step.gateway }] },
    });
  }
  const { family, text } = step.address;
  const wanted = { IPAMConfig: family === 'ipv4' ? { IPv4Address: text } : { IPv6Address: text } };
  return step.kind === 'connect' ? connect(docker, step, wanted) : move(docker, step, wanted);
}

type Attaching = Exclude<DockerStep, { kind: 'create-network' }>;

/** Docker knows no other way than to take it off. A container that it then refuses to take gets back what it had. */
async function move(docker: DockerApi, step: Attaching, wanted: object): Promise<void> {
  const { network, containerId } = step;
  const seen = await docker.get<ApiContainer>(`/containers/${containerId}/json`);
  const { Aliases, Links, DriverOpts, GwPriority, IPAMConfig } = seen?.NetworkSettings.Networks?.[network] ?? {};
  const former = { Aliases, Links, DriverOpts, GwPriority, IPAMConfig };
  await post(docker, `/networks/${encodeURIComponent(network)}/disconnect`, { Container: containerId });
  try {
    await connect(docker, step, { ...former, ...wanted });
  } catch (error) {
    if (!(error instanceof UnderbridgeError)) throw error;
    const also = await connect(docker, step, former).catch((reason) => reason);
    if (!(also instanceof UnderbridgeError)) throw error;
    const { message, code } = error;
    throw new UnderbridgeError({
      code,
      message: `${message}; ${step.container} is off ${network}, since it could not be given back what it had: ${also.message}`,
      hint: `it had ${JSON.stringify(former)} there; the next look connects it without that`,
    });
  }
}

async function connect(docker: DockerApi, { network, containerId }: Attaching, endpoint: object): Promise<void> {
  const path = `/networks/${encodeURIComponent(network)}/connect`;
  return post(docker, path, { Container: containerId, EndpointConfig: endpoint });
}

function parseNetwork({ Id, Name, Driver, Internal, Options, Labels, IPAM }: ApiNetwork): DockerNetwork {
  return {
    id: Id,
    name: Name,
    driver: Driver,
    isInternal: Internal,
    options: Options ?? {},
    labels: Labels ?? {},
    bridge: Driver === 'bridge' ? (Options?.['com.docker.network.bridge.name'] ?? `br-${Id.slice(0, 12)}`) : '',
    ranges: (IPAM.Config ?? []).flatMap(({ Subnet, Gateway, AuxiliaryAddresses }) =>
      Subnet === undefined
        ? []
        : [
            {
              subnet: Subnet,
              // Docker up to 28 may write an address of its own with the prefix length.
              ...(Gateway ? { gateway: Gateway.replace(/\/.*$/, '') } : {}),
              auxiliary: AuxiliaryAddresses ?? {},
            },
          ],
    ),
  };
}

function parseContainer({
  Id,
  Names,
  Labels,
  HostConfig,
  Ports,
  NetworkSettings,
}: ApiListedContainer): DockerContainer {
  // Names of links have a slash within.
  const name = Names.map((text) => text.replace(/^\//, '')).find((text) => !text.includes('/')) ?? Id.slice(0, 12);
  return {
    id: Id,
    name,
    labels: Labels ?? {},
    networkMode: HostConfig.NetworkMode,
    endpoints: Object.entries(NetworkSettings.Networks ?? {}).map(([network, endpoint]) => ({
      network,
      ipv4: endpoint?.IPAddress ?? '',
      ipv6: endpoint?.GlobalIPv6Address ?? '',
      gatewayPriority: endpoint?.GwPriority ?? 0,
    })),
    ports: (Ports ?? []).flatMap(({ IP, PrivatePort, PublicPort, Type }): readonly PublishedPort[] =>
      PublicPort === undefined || !isProtocol(Type)
        ? []
        : [{ hostIp: IP ?? '', hostPort: PublicPort, containerPort: PrivatePort, protocol: Type }],
    ),
  };
}

function isProtocol(text: string): text is Protocol {
  return text === 'tcp' || text === 'udp' || text === 'sctp';
}

function parseDetails({ State, Config, HostConfig }: ApiContainer): ContainerDetails {
  const ipAddr = Config.Env?.findLast((line) => line.startsWith('IP_ADDR='))?.slice('IP_ADDR='.length);
  return {
    pid: State.Pid,
    dns: HostConfig.Dns ?? [],
    isRouter: (Config.Entrypoint?.includes(routerEntrypoint) ?? false) && (Config.Cmd?.[0] ?? 'router') === 'router',
    ...(ipAddr === undefined ? {} : { ipAddr }),
  };
}
