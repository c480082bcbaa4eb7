import type { SavedTable } from '../ruleset/iptables-restore.ts';
import type { Family, Protocol } from './resource.ts';

/** Everything that a plan is computed from, besides the settings, read anew for each reconcile. */
export interface HostSnapshot {
  readonly docker: DockerSnapshot;
  readonly kernel: HostKernel;
}

/** What Docker says; only what is used, and no environment but IP_ADDR. */
export interface DockerSnapshot {
  /** Of the engine: `20.10.24+dfsg1`. */
  readonly version: string;
  readonly networks: readonly DockerNetwork[];
  /** Only those that run. */
  readonly containers: readonly DockerContainer[];
}

export interface DockerNetwork {
  readonly id: string;
  readonly name: string;
  /** `bridge`, `overlay`, `macvlan`, `host`, `null` … */
  readonly driver: string;
  readonly isInternal: boolean;
  readonly options: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  /** The Linux bridge's name; empty for other drivers. */
  readonly bridge: string;
  readonly ranges: readonly {
    readonly subnet: string;
    readonly gateway?: string;
    readonly auxiliary: Readonly<Record<string, string>>;
  }[];
}

export interface DockerContainer {
  /** All 64 digits. */
  readonly id: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** As `--network` was given at its creation: `host`, `container:…`, a network's name. */
  readonly networkMode: string;
  readonly endpoints: readonly DockerEndpoint[];
  readonly ports: readonly PublishedPort[];
  /** Absent: nobody had to know, so the container was not inspected. */
  readonly details?: ContainerDetails;
  /** Docker was asked for them and did not answer. */
  readonly isSilent?: boolean;
}

export interface DockerEndpoint {
  readonly network: string;
  /** Empty: Docker gave none. */
  readonly ipv4: string;
  readonly ipv6: string;
  /** Of Docker 28 and later; 0 before. */
  readonly gatewayPriority: number;
}

export interface PublishedPort {
  /** The address of the machine that was asked for; empty, `0.0.0.0` and `::` are all addresses. */
  readonly hostIp: string;
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol: Protocol;
}

/** What only an inspect tells. */
export interface ContainerDetails {
  readonly pid: number;
  readonly dns: readonly string[];
  readonly isRouter: boolean;
  /** IP_ADDR of its environment. */
  readonly ipAddr?: string;
}

/** Which program's chains Docker uses. */
export type Backend = 'nft' | 'legacy';

export interface HostKernel {
  /** What `iptables-save` says, by table. A family that the kernel does not have is absent. */
  readonly saved: Readonly<Partial<Record<Family, ReadonlyMap<string, SavedTable>>>>;
  readonly links: readonly HostLink[];
  /** Whether IPv6 is forwarded at all; absent: the kernel has no IPv6. */
  readonly ipv6Forwarding?: boolean;
  /** Of clients of routed bridges, by pid. Absent: that process cannot be seen from here. */
  readonly namespaces: ReadonlyMap<number, ClientNamespace>;
  /** What `iptables-save` says in containers that something is translated in, by pid. Absent: it cannot be entered. */
  readonly inside?: ReadonlyMap<number, ReadonlyMap<string, SavedTable>>;
  /** Whether IPv4 is forwarded at all; absent: nobody had to know. */
  readonly ipv4Forwarding?: boolean;
}

export interface HostLink {
  readonly name: string;
  /** With prefix length. */
  readonly addresses: readonly string[];
  /** Absent: nobody looked. */
  readonly isBridge?: boolean;
  /** The bridge that it is a port of, if that sends packets back to where they came from. */
  readonly reflectedBy?: string;
}

export interface ClientNamespace {
  /** Next hops of its IPv4 default routes. */
  readonly defaultRoutes: readonly string[];
  /** Our table that drops all it sends is there. */
  readonly isCutOff: boolean;
}
