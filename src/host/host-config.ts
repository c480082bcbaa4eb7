import type { NetworksFile } from './networks-file.ts';
import type { Protocol } from './resource.ts';
import type { Backend } from './snapshot.ts';

/** Where an entry of a file stands: `host.yaml:12`. */
export interface Placed {
  readonly place: string;
}

/** What a user asked for, names not yet looked up. Each source adds its part. */
export interface HostConfig {
  readonly isolated: readonly IsolatedEntry[];
  /** What becomes of clients that can get around the router. */
  readonly clients: 'report' | 'cut-off';
  /** Published ports that are forwarded too; absent: none but those that labels ask for. */
  readonly published?: PublishedEntry;
  readonly forwards: readonly ForwardEntry[];
  readonly allow: readonly AllowEntry[];
  /** network-go's file, where there is one. */
  readonly networks?: NetworksFile;
  /** Bridges with unique local IPv6 addresses are translated where Docker does not do it; absent: left alone. */
  readonly ipv6nat?: Placed;
  /** Absent: where Docker's chains are. */
  readonly firewall?: Backend;
}

/** What holds without a file: labels alone. */
export const emptyConfig: HostConfig = { isolated: [], clients: 'report', forwards: [], allow: [] };

export interface IsolatedEntry extends Placed {
  readonly network: string;
  readonly router?: string;
  /** Known beforehand: its rules stand also while Docker does not have the network. */
  readonly bridge?: string;
}

export interface PublishedEntry extends Placed {
  /** `local`: whatever is addressed to this machine. */
  readonly interfaces: readonly string[] | 'local';
  readonly hairpin: boolean;
}

export interface ForwardEntry extends Placed {
  /** Absent: any interface, if it is addressed to this machine. */
  readonly interface?: string;
  readonly address?: string;
  readonly port: number;
  readonly protocols: readonly Protocol[];
  readonly to: { readonly container: string; readonly port: number; readonly network?: string };
  readonly hairpin: boolean;
}

/** Sides are a container's name, a network's name, an address or a subnet. */
export interface AllowEntry extends Placed {
  readonly from: string;
  readonly to: string;
  readonly protocol?: Protocol;
  readonly port?: number;
}
