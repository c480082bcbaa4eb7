/** What Docker says of a machine: only what is looked at, and no environment but MODE, IP_ADDR, IPV6 and IP6_ADDR. */
export interface DockerWorld {
  /** Of the engine: `20.10.24+dfsg1`. */
  readonly version: string;
  readonly networks: readonly SeenNetwork[];
  /** Containers that run and those that do not. */
  readonly containers: readonly SeenContainer[];
}

export interface SeenNetwork {
  readonly name: string;
  readonly driver: string;
  readonly isInternal: boolean;
  readonly hasIpv6: boolean;
  readonly options: Readonly<Record<string, string>>;
  readonly ranges: readonly SeenRange[];
  /** Its bridge as the machine has it; absent: the machine's interfaces cannot be seen from here. */
  readonly bridge?: { readonly name: string; readonly ipv4: readonly string[] };
}

export interface SeenRange {
  readonly subnet: string;
  /** Docker's own address; with `inhibit_ipv4` the machine does not take one of IPv4. */
  readonly gateway?: string;
  /** The reserved address that containers get as their gateway instead. */
  readonly defaultGateway?: string;
}

export interface SeenContainer {
  readonly name: string;
  /** It runs the router, or the user says that it should. */
  readonly isRouter: boolean;
  /** MODE=sidecar: it has no isolated network. */
  readonly isSidecar?: true;
  /** IP_ADDR of its environment. */
  readonly ipAddr?: string;
  /** IP6_ADDR of its environment, where IPV6=tunnel; empty when it is not set. */
  readonly ip6Addr?: string;
  /** Names of the networks that it has, or gets at its next start. */
  readonly networks: readonly string[];
  /** `--dns`, in order. */
  readonly dns: readonly string[];
  /** Names without `CAP_`. */
  readonly capabilities: {
    readonly added: readonly string[];
    readonly dropped: readonly string[];
    readonly isPrivileged: boolean;
  };
  /** Paths of devices inside the container. */
  readonly devices: readonly string[];
  readonly sysctls: Readonly<Record<string, string>>;
  /** `no`, `always`, `unless-stopped` or `on-failure`. */
  readonly restart: string;
}

// Docker's default capabilities (moby, oci/caps/defaults.go), as far as anybody asks here.
const givenByDocker: readonly string[] = ['NET_RAW', 'SETUID', 'SETGID'];

/** True when Docker gives the container the capability (moby, oci/caps/utils.go, TweakCapabilities). */
export function holdsCapability(
  { capabilities: { added, dropped, isPrivileged } }: Pick<SeenContainer, 'capabilities'>,
  name: 'NET_ADMIN' | 'NET_RAW' | 'SETUID' | 'SETGID',
): boolean {
  if (isPrivileged) return true;
  if (added.includes('ALL')) return !dropped.includes(name);
  return added.includes(name) || (givenByDocker.includes(name) && !dropped.includes(name) && !dropped.includes('ALL'));
}
