/**
 * What the host role can be asked for. Every source (labels, the host file, networks.json) is resolved into these
 * few kinds against a snapshot of Docker, so names are already addresses and bridges here.
 */
export type Resource = RoutedBridge | Forward | Allow | Network | Attachment | BridgeBase;

export type Family = 'ipv4' | 'ipv6';
export type Protocol = 'tcp' | 'udp' | 'sctp';

/** An address in its canonical spelling, as `iptables-save` prints it without the prefix length. */
export interface Address {
  readonly family: Family;
  readonly text: string;
}

/** A subnet with its host bits cleared: `172.22.0.0/24`. */
export interface Subnet {
  readonly family: Family;
  readonly text: string;
}

/** Where a resource comes from, for messages and for the comment on each of its rules. */
export interface Origin {
  /** `host.yaml:12`, `label of container web`, `networks.json policies[3]`. */
  readonly place: string;
  /** Short and stable, goes into the comment: `published web 8080/tcp 3f2a1b0c9d8e`. */
  readonly id: string;
}

/** A bridge that nothing may leave or enter through the machine itself (seed vpn_nat_router). */
export interface RoutedBridge {
  readonly kind: 'routed-bridge';
  readonly origin: Origin;
  readonly network: string;
  /** The Linux bridge's name. */
  readonly bridge: string;
  readonly subnets: readonly Subnet[];
  /** Made with `--internal`: Docker's isolation drops bridged packets to other subnets, so they need an accept. */
  readonly isInternal: boolean;
  /** The address that the router claims; absent: nobody said, so no client can be given a route. */
  readonly router?: Address;
  /** A running container claims that address. */
  readonly hasRouter: boolean;
  /** Docker does not tell about some container there. */
  readonly hasSilent: boolean;
  readonly clients: readonly RoutedClient[];
  /** What becomes of a client that can get around the router. */
  readonly unsafe: 'report' | 'cut-off';
}

/** A container that runs on a routed bridge and is not its router. */
export interface RoutedClient extends FirstProcess {
  readonly container: string;
  readonly risks: readonly ClientRisk[];
}

/** A container's first process: its way into the container's namespaces. */
export interface FirstProcess {
  readonly containerId: string;
  /** As the engine's machine counts. */
  readonly pid: number;
}

export type ClientRisk =
  /** Without `dns:` Docker may ask the machine's own resolvers for it, from the machine's namespace. */
  | { readonly kind: 'dns' }
  /** Another network, which leads out beside the router. */
  | { readonly kind: 'second-way'; readonly network: string };

/**
 * What arrives at an outside port goes on to a container (seeds docknat, network-go `nat: dnat`, docker_iptables).
 * All addresses of one forward have one family.
 */
export interface Forward {
  readonly kind: 'forward';
  readonly origin: Origin;
  readonly family: Family;
  readonly protocol: Protocol;
  readonly from: ForwardSource;
  readonly to: {
    readonly container: string;
    readonly containerId: string;
    readonly address: Address;
    readonly port: number;
    /** The bridge that the container's address is behind. */
    readonly bridge: string;
    /** The bridge sends packets back to where they came from, as Docker has it without its proxy. */
    readonly isReflected: boolean;
    /** Subnets of that bridge, of this family: who is in them needs masquerade to get an answer (hairpin). */
    readonly subnets: readonly Subnet[];
  };
  /** Containers of this machine may use it too, by the machine's address. */
  readonly hairpin: boolean;
  /** Absent: in the machine's own namespace. */
  readonly inside?: InsideNamespace;
}

export interface ForwardSource {
  /** Arriving by this interface; absent: by any, if it is addressed to this machine. */
  readonly interface?: string;
  /** Addressed to this one; absent: to any address of this machine. */
  readonly address?: Address;
  readonly port: number;
}

/** The rule stands in a container's namespace, with masquerade (network-go's dnat with `selector`). */
export interface InsideNamespace extends FirstProcess {
  readonly container: string;
}

/** Lets one side open connections to the other, replies included (network-go `from`). */
export interface Allow {
  readonly kind: 'allow';
  readonly origin: Origin;
  readonly from: readonly Subnet[];
  readonly to: readonly Subnet[];
  /** Absent: any protocol, any port. */
  readonly transport?: { readonly protocol: Protocol; readonly port?: number };
}

/** A Docker network that has to exist (network-go `networks`). */
export interface Network {
  readonly kind: 'network';
  readonly origin: Origin;
  readonly name: string;
  readonly subnet: Subnet;
  readonly gateway: Address;
}

/** A container that has to be on a network with this address (network-go `ips`). */
export interface Attachment {
  readonly kind: 'attachment';
  readonly origin: Origin;
  readonly container: string;
  readonly containerId: string;
  readonly network: string;
  readonly address: Address;
}

/** The rules that Docker would write for a bridge, where it does not (docker-ipv6nat). */
export interface BridgeBase {
  readonly kind: 'bridge-base';
  readonly origin: Origin;
  readonly family: Family;
  readonly network: string;
  readonly bridge: string;
  readonly subnets: readonly Subnet[];
  /** As Docker's `com.docker.network.bridge.*` options say. */
  readonly masquerade: boolean;
  readonly interContainer: boolean;
  readonly isInternal: boolean;
  /** Where ports are published that name no address; unspecified: at all addresses; absent: nowhere. */
  readonly binding?: Address;
}
