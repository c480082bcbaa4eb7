import type { Ip, Ipv4, Ipv4Cidr, Ipv6, Ipv6Cidr, Port } from '../net/address.ts';
import type { ContainerName } from '../net/container-name.ts';
import type { TotpRecipe } from '../node-openvpn-mgmt/src/index.ts';

/** Transport protocols that can be forwarded. */
export type Transport = 'tcp' | 'udp';

/** An inclusive range of ports; one port has `first === last`. */
export interface PortRange {
  readonly first: Port;
  readonly last: Port;
}

/** A forward of ports on the tunnel's address to a container. Ranges map one to one and have equal length. */
export interface PortForward {
  readonly transports: readonly Transport[];
  readonly outside: PortRange;
  readonly target: Ip;
  readonly inside: PortRange;
}

/** Ports in a part of the local network, which is behind the uplink, that clients reach past the tunnel. */
export interface LanAllowance {
  /** A whole subnet, or one address with 32 bits. */
  readonly subnet: Ipv4Cidr;
  readonly transport: Transport;
  readonly ports: PortRange;
  /** The other way: that part reaches these ports of this container, at the router's address on the uplink. */
  readonly target?: Ipv4;
}

/** The same to a container by its name, which is looked up while the router runs. */
export interface NamedForward extends Omit<PortForward, 'target'> {
  readonly host: ContainerName;
}

/** A container, by an address that it keeps or by its name. */
export type ContainerPlace =
  | { readonly kind: 'address'; readonly address: Ipv4 }
  | { readonly kind: 'name'; readonly name: ContainerName };

/** How a provider is asked for a port: NAT-PMP (RFC 6886) or PCP (RFC 6887). */
export type MappingProtocol = 'natpmp' | 'pcp';

/** A forward of whatever port the provider gives. */
export interface DynamicForward {
  readonly protocol: MappingProtocol;
  readonly transports: readonly Transport[];
  readonly place: ContainerPlace;
  /** `same`: the number that the provider gave. */
  readonly inside: Port | 'same';
}

/** A request to a container that tells it the provider's port. */
export interface ForwardHook {
  readonly place: ContainerPlace;
  readonly port: Port;
  /** Path and query, with `{port}` where the number belongs. */
  readonly path: string;
}

/** Which resolvers clients get, whatever they ask. */
export type DnsPolicy =
  | { readonly kind: 'servers'; readonly servers: readonly [Ip, ...Ip[]] }
  /** What the VPN server pushes with `dhcp-option DNS`. */
  | { readonly kind: 'pushed' }
  /** DNS over TLS, by a resolver of the router's own. */
  | { readonly kind: 'tls'; readonly servers: readonly [TlsResolver, ...TlsResolver[]] };

export interface TlsResolver {
  readonly address: Ipv4;
  readonly port: Port;
  /** What its certificate has to be for. */
  readonly name: string;
}

/** A domain that is asked past the tunnel, at this address of the uplink's side. */
export interface LocalZone {
  readonly domain: string;
  readonly address: Ipv4;
}

/** A resolver in the router's container, between clients and the resolvers of {@link DnsPolicy}. */
export interface LocalResolver {
  readonly isCaching: boolean;
  readonly zones: readonly LocalZone[];
  /** File with the authorities that certificates have to be of; absent: the public ones. */
  readonly authoritiesFile?: string;
}

/** What proves that the tunnel carries traffic. */
export type ProbeTarget =
  /** A DNS query to the enforced resolver. */
  | { readonly kind: 'dns' }
  /** A TCP connection; a refusal proves the path as well as an answer does. */
  | { readonly kind: 'tcp'; readonly address: Ipv4; readonly port: Port };

export type Failback =
  | { readonly kind: 'off' | 'idle' }
  /** The later profile's tunnel has worked for so long. */
  | { readonly kind: 'after'; readonly ms: number };

/** `slow`: every ten minutes. `stop`: not until the next start. */
export type AuthRetry = 'slow' | 'stop';

/** What loads the firewall's rules; `auto` is nft where the kernel has it, and else iptables-legacy. */
export type FirewallChoice = 'auto' | 'nft' | 'iptables-nft' | 'iptables-legacy';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export type LogFormat = 'text' | 'json';

/** Everything the environment says, parsed. Files are named here and read by `system/`. */
export interface RouterConfig {
  /** The clients are the processes of the router's own network namespace. */
  readonly isSidecar?: true;
  /** The gateway address that clients use, with the prefix of the isolated network; of a sidecar 127.0.0.1/8. */
  readonly gateway: Ipv4Cidr;
  /** Clients' IPv6 goes through the tunnel, by this gateway address; absent: it goes nowhere. */
  readonly ipv6?: { readonly gateway: Ipv6Cidr };
  /** Profiles and folders as given in CONFIG, in failover order; empty: the only profile in `/config`. */
  readonly profileNames: readonly string[];
  /** When a tunnel of a later profile is left for one that stands before it. */
  readonly failback: Failback;
  /** A second tunnel is kept connected, to a profile of its own. */
  readonly hasStandby: boolean;
  /** What follows five refused logins in a row. */
  readonly authRetry: AuthRetry;
  readonly dns: DnsPolicy;
  /** Absent where no setting needs it: it takes memory. */
  readonly localResolver?: LocalResolver;
  readonly forwards: readonly PortForward[];
  /** What passes outside of the tunnel; absent: nothing. */
  readonly lanAllowances?: readonly LanAllowance[];
  readonly namedForwards: readonly NamedForward[];
  /** Clients reach forwarded ports by the tunnel's address as well. */
  readonly hairpin?: true;
  readonly dynamicForward?: DynamicForward;
  /** File for the provider's port; absent: none. */
  readonly forwardFile?: string;
  readonly forwardHook?: ForwardHook;
  readonly credentials: CredentialSource;
  /** What one-time codes are made of; absent: nothing answers a server that asks for one. */
  readonly totp?: ValueOrFile<TotpRecipe>;
  /** Next hop of the uplink; absent: found out. */
  readonly uplinkGateway?: Ipv4;
  /** The same over IPv6. */
  readonly uplinkGateway6?: Ipv6;
  readonly healthAddress: { readonly host: Ipv4; readonly port: Port };
  /** File with the token that control asks for; absent: there is no control. */
  readonly controlTokenFile?: string;
  readonly probe: ProbeTarget;
  /** Largest packet in the tunnel in bytes; absent: what the server says. */
  readonly mtuBytes?: number;
  /** TCP maximum segment size for clients in bytes; absent: clamped to the path MTU. */
  readonly mssBytes?: number;
  /** Connections that one client may have at a time; absent: as many as it likes. */
  readonly connectionLimit?: number;
  readonly firewall: FirewallChoice;
  /** IANA name of the time zone of the log, in its canonical form: `Europe/Warsaw`. */
  readonly timeZone: string;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
}

/** Where user name and password come from, most specific first. */
export type CredentialSource =
  /** Two lines, user and password. `required` when the user named the file, so that its absence is a fault. */
  | { readonly kind: 'file'; readonly path: string; readonly required: boolean }
  | { readonly kind: 'pair'; readonly username: ValueOrFile; readonly password: ValueOrFile };

export type ValueOrFile<T = string> =
  | { readonly kind: 'value'; readonly value: T }
  | { readonly kind: 'file'; readonly path: string };
