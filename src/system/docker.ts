import type { DockerWorld, SeenContainer, SeenNetwork } from '../doctor/docker-world.ts';
import { UnderbridgeError } from '../errors.ts';
import { type ApiNetwork, type DockerApi, defaultDocker, openDocker } from './docker-api.ts';
import type { ObservedLink } from './iproute.ts';

const unreachableHint =
  "mount the socket of an engine that runs: `docker run --rm -v /var/run/docker.sock:/var/run/docker.sock:ro underbridge doctor`; or run this in the router's container, where IP_ADDR is set";
/** What the image's ENTRYPOINT ends in; other images of ours have it too, whatever their name. */
const entrypoint = '/usr/lib/underbridge/entrypoint';

// As the Engine API 1.41 (Docker 20.10) and later give them; only what is read. Go writes an empty list as null.
interface ApiContainer {
  readonly Id: string;
  readonly Name: string;
  readonly Config: {
    readonly Env: readonly string[] | null;
    readonly Cmd: readonly string[] | null;
    readonly Entrypoint: readonly string[] | null;
  };
  readonly HostConfig: {
    readonly Dns?: readonly string[] | null;
    readonly CapAdd: readonly string[] | null;
    readonly CapDrop: readonly string[] | null;
    readonly Privileged: boolean;
    readonly Devices: readonly { readonly PathInContainer: string }[] | null;
    readonly Sysctls?: Readonly<Record<string, string>> | null;
    readonly RestartPolicy?: { readonly Name: string } | null;
  };
  readonly NetworkSettings: { readonly Networks: Readonly<Record<string, unknown>> | null };
}

/**
 * What Docker says of the machine, and the names of the routers to look at: the one that is asked for, or all. It
 * only reads. Of a container's environment nothing but IP_ADDR, IPV6 and IP6_ADDR is kept.
 * @param wanted name or id of a router's container
 * @param links interfaces that can be seen here; with `--network host` Docker's bridges are among them
 * @throws UnderbridgeError UB_DOCKER when nobody answers, or the container is not there.
 */
export async function observeDocker({
  wanted,
  links,
}: {
  readonly wanted: string | undefined;
  readonly links: readonly ObservedLink[];
}): Promise<{ readonly world: DockerWorld; readonly routers: readonly string[] }> {
  const docker = await openDocker(defaultDocker, unreachableHint);
  const named = wanted === undefined ? undefined : await findContainer(docker, wanted);
  const networks = await docker.list<ApiNetwork>('/networks');
  const listed = await docker.list<{ Id: string }>('/containers/json?all=true');
  const containers: SeenContainer[] = [];
  // One after the other: a machine may have hundreds, and an engine is not there for us alone.
  for (const { Id } of listed) {
    const container = await docker.get<ApiContainer>(`/containers/${Id}/json`);
    // Undefined: it went away in the meantime.
    if (container === undefined || runsOtherCommand(container)) continue;
    containers.push(parseContainer(container, container.Id === named?.Id));
  }
  docker.close();
  const routers = containers.filter(
    ({ name, isRouter }) => isRouter && (named === undefined || name === nameOf(named)),
  );
  return {
    world: { version: docker.version, networks: networks.map((network) => parseNetwork(network, links)), containers },
    routers: routers.map(({ name }) => name),
  };
}

async function findContainer(docker: DockerApi, wanted: string): Promise<ApiContainer> {
  // Docker takes no other names; a slash or a dot alone would lead to another path of the API.
  const isName = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(wanted);
  const found = isName ? await docker.get<ApiContainer>(`/containers/${wanted}/json`) : undefined;
  if (found !== undefined) return found;
  throw new UnderbridgeError({
    code: 'UB_DOCKER',
    message: `Docker knows no container ${JSON.stringify(wanted)}`,
    hint: "give the name or the id of the router's container, as `docker ps --all` shows it",
  });
}

function isOurs({ Config: { Entrypoint } }: ApiContainer): boolean {
  return Entrypoint?.includes(entrypoint) ?? false;
}

/** `docker run underbridge doctor`, this very container, is neither a router nor anybody's client. */
function runsOtherCommand(container: ApiContainer): boolean {
  const { Cmd } = container.Config;
  return isOurs(container) && Cmd !== null && Cmd.length > 0 && Cmd[0] !== 'router';
}

function nameOf({ Name }: ApiContainer): string {
  return Name.replace(/^\//, '');
}

function parseContainer(container: ApiContainer, isWanted: boolean): SeenContainer {
  const { Config, HostConfig, NetworkSettings } = container;
  const variable = (name: string) =>
    Config.Env?.findLast((line) => line.startsWith(`${name}=`))?.slice(name.length + 1);
  const ipAddr = variable('IP_ADDR');
  const carriesIpv6 = variable('IPV6')?.trim().toLowerCase() === 'tunnel';
  return {
    name: nameOf(container),
    isRouter: isWanted || isOurs(container),
    ...(variable('MODE')?.trim().toLowerCase() === 'sidecar' ? { isSidecar: true } : {}),
    ...(ipAddr === undefined ? {} : { ipAddr }),
    ...(carriesIpv6 ? { ip6Addr: variable('IP6_ADDR') ?? '' } : {}),
    networks: Object.keys(NetworkSettings.Networks ?? {}),
    dns: HostConfig.Dns ?? [],
    capabilities: {
      added: (HostConfig.CapAdd ?? []).map(withoutPrefix),
      dropped: (HostConfig.CapDrop ?? []).map(withoutPrefix),
      isPrivileged: HostConfig.Privileged,
    },
    devices: (HostConfig.Devices ?? []).map(({ PathInContainer }) => PathInContainer),
    sysctls: HostConfig.Sysctls ?? {},
    restart: HostConfig.RestartPolicy?.Name || 'no',
  };
}

/** Later engines write CAP_NET_ADMIN for what was given as NET_ADMIN. */
function withoutPrefix(capability: string): string {
  return capability.toUpperCase().replace(/^CAP_/, '');
}

function parseNetwork(network: ApiNetwork, links: readonly ObservedLink[]): SeenNetwork {
  const { Id, Name, Driver, Internal, EnableIPv6, Options, IPAM } = network;
  const bridgeName = Options?.['com.docker.network.bridge.name'] ?? `br-${Id.slice(0, 12)}`;
  const bridge = Driver === 'bridge' ? links.find(({ ifname }) => ifname === bridgeName) : undefined;
  return {
    ...(bridge === undefined ? {} : { bridge: { name: bridgeName, ipv4: ipv4Of(bridge) } }),
    name: Name,
    driver: Driver,
    isInternal: Internal,
    hasIpv6: EnableIPv6,
    options: Options ?? {},
    ranges: (IPAM.Config ?? []).flatMap(({ Subnet, Gateway, AuxiliaryAddresses }) => {
      const defaultGateway = AuxiliaryAddresses?.DefaultGatewayIPv4 ?? AuxiliaryAddresses?.DefaultGatewayIPv6;
      if (Subnet === undefined) return [];
      return [
        {
          subnet: Subnet,
          // Docker up to 28 may write an address of its own with the prefix length.
          ...(Gateway ? { gateway: Gateway.replace(/\/.*$/, '') } : {}),
          ...(defaultGateway ? { defaultGateway } : {}),
        },
      ];
    }),
  };
}

function ipv4Of({ addr_info }: ObservedLink): readonly string[] {
  return addr_info.flatMap(({ family, local, prefixlen }) => (family === 'inet' ? [`${local}/${prefixlen}`] : []));
}
