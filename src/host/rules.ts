import type { TableName } from '../ruleset/iptables.ts';
import type { Family } from './resource.ts';

/** Every chain of ours begins so, whatever the table; nobody else's chain may. */
export const chainPrefix = 'UNDERBRIDGE-';

/** The wanted rules of one family, by table. A table that is not named has none of ours. */
export interface HostRules {
  readonly family: Family;
  readonly tables: readonly HostTable[];
}

export interface HostTable {
  readonly name: TableName;
  readonly chains: readonly HostChain[];
  readonly jumps: readonly HostJump[];
}

/** At most 28 characters, with the prefix. */
export interface HostChain {
  readonly name: string;
  /** In the words of `iptables-save`, without `-A CHAIN`, so that a read-back can be compared as text. */
  readonly rules: readonly string[];
}

/** The one jump out of a chain of somebody else's. */
export interface HostJump {
  /** `DOCKER-USER`, `PREROUTING` … */
  readonly from: string;
  readonly to: string;
  /** Words before `-j`, say `-m addrtype --dst-type LOCAL`; absent: every packet. */
  readonly when?: string;
  /**
   * `first`: several of them stand in the order of the list. `last`: after all but trailing `-j RETURN`, so that the
   * user's own rules there have their say before.
   */
  readonly place: 'first' | 'last';
}
