import { get } from 'node:http';
import type { DockerWorld, SeenContainer, SeenNetwork } from '../doctor/docker-world.ts';
import { UnderbridgeError } from '../errors.ts';
import type { ObservedLink } from './iproute.ts';

/** Where users mount the engine's socket. */
const socketPath = '/var/run/docker.sock';
/** For one answer. An engine that removes containers may keep a listing waiting. */
const timeoutMs = 10_000;
/** What the image's ENTRYPOINT ends in; other images of ours have it too, whatever their name. */
const entrypoint = '/usr/lib/underbridge/entrypoint';

// As the Engine API 1.41 (Docker 20.10) and later give them; only what is read. Go writes an empty list as null.
interface ApiNetwork {
  readonly Id: string;
  readonly Name: string;
  readonly Driver: string;
  readonly Internal: boolean;
  readonly EnableIPv6: boolean;
  readonly Options: Readonly<Record<string, string>> | null;
  readonly IPAM: {
    readonly Config:
      | readonly {
          readonly Subnet?: string;
          readonly Gateway?: string;
          readonly AuxiliaryAddresses?: Readonly<Record<string, string>> | null;
        }[]
      | null;
  };
}

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
 * only reads. Of a container's environment nothing but IP_ADDR is kept.
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
  const { Version, ApiVersion } = (await read<{ Version?: string; ApiVersion?: string } | undefined>('/version')) ?? {};
  if (Version === undefined || !/^[\d.]+$/.test(ApiVersion ?? '')) throw unusable('it does not tell its version');
  // Every engine speaks the version that it names; Docker may one day refuse a path without one.
  const api = `/v${ApiVersion}`;
  const named = wanted === undefined ? undefined : await findContainer(api, wanted);
  const networks = await readList<ApiNetwork>(`${api}/networks`);
  const listed = await readList<{ Id: string }>(`${api}/containers/json?all=true`);
  const containers: SeenContainer[] = [];
  // One after the other: a machine may have hundreds, and an engine is not there for us alone.
  for (const { Id } of listed) {
    const container = await ask<ApiContainer>(`${api}/containers/${Id}/json`);
    // Undefined: it went away in the meantime.
    if (container === undefined || runsOtherCommand(container)) continue;
    containers.push(parseContainer(container, container.Id === named?.Id));
  }
  const routers = containers.filter(
    ({ name, isRouter }) => isRouter && (named === undefined || name === nameOf(named)),
  );
  return {
    world: { version: Version, networks: networks.map((network) => parseNetwork(network, links)), containers },
    routers: routers.map(({ name }) => name),
  };
}

async function findContainer(api: string, wanted: string): Promise<ApiContainer> {
  // Docker takes no other names; a slash or a dot alone would lead to another path of the API.
  const isName = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(wanted);
  const found = isName ? await ask<ApiContainer>(`${api}/containers/${wanted}/json`) : undefined;
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
  const ipAddr = Config.Env?.findLast((line) => line.startsWith('IP_ADDR='))?.slice('IP_ADDR='.length);
  return {
    name: nameOf(container),
    isRouter: isWanted || isOurs(container),
    ...(ipAddr === undefined ? {} : { ipAddr }),
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
      const defaultGateway = AuxiliaryAddresses?.DefaultGatewayIPv4;
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

async function read<T>(path: string): Promise<T> {
  const answer = await ask<T>(path);
  if (answer !== undefined) return answer;
  throw unusable(`it has no ${path}`);
}

async function readList<T>(path: string): Promise<readonly T[]> {
  const answer = await read<unknown>(path);
  if (!Array.isArray(answer)) throw unusable(`it answered no list to ${path}`);
  return answer;
}

/** One GET; undefined when there is no such thing. Not `fetch`, which needs WebAssembly (no JIT). */
async function ask<T>(path: string): Promise<T | undefined> {
  const { status, body } = await request(path);
  if (status === 404) return undefined;
  if (status !== 200) throw unusable(`it answered ${status} to ${path}`);
  try {
    return JSON.parse(body) as T;
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw unusable(`it did not answer in JSON to ${path}`, cause);
  }
}

function request(path: string): Promise<{ readonly status: number; readonly body: string }> {
  return new Promise((resolve, reject) => {
    // A signal, not a timeout: that would begin anew with every byte.
    const signal = AbortSignal.timeout(timeoutMs);
    const sent = get({ socketPath, path, signal, headers: { host: 'docker' } }, (response) => {
      response.toArray().then(
        (chunks) => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }),
        (cause) => reject(unusable('it stopped in the middle of an answer', cause)),
      );
    });
    sent.on('error', (cause: NodeJS.ErrnoException) => reject(unreachable(cause)));
  });
}

function unreachable(cause: NodeJS.ErrnoException): UnderbridgeError {
  const reason =
    cause.name === 'AbortError' ? `no answer within ${timeoutMs / 1_000} s` : (cause.code ?? cause.message);
  const isForbidden = cause.code === 'EACCES' || cause.code === 'EPERM';
  return new UnderbridgeError({
    code: 'UB_DOCKER',
    message: `Docker does not answer at ${socketPath} (${reason})`,
    hint: isForbidden
      ? "run this as root (no --user), and in the machine's own user namespace where the engine remaps users (`--userns host`)"
      : "mount the socket of an engine that runs: `docker run --rm -v /var/run/docker.sock:/var/run/docker.sock:ro underbridge doctor`; or run this in the router's container, where IP_ADDR is set",
    cause,
  });
}

function unusable(problem: string, cause?: unknown): UnderbridgeError {
  return new UnderbridgeError({
    code: 'UB_DOCKER',
    message: `what answers at ${socketPath} is no Docker engine that can be used: ${problem}`,
    hint: 'mount the socket of Docker 20.10 or later there',
    cause,
  });
}
