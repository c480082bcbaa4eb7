import type { Firewall } from '../plan/facts.ts';
import type { Cause } from '../tunnel/cause.ts';
import type { TunnelState } from '../tunnel/machine.ts';
import { renderEndpoint } from '../tunnel/policy.ts';

/** What the router knows of itself at one moment. */
export interface Snapshot {
  readonly tunnel: TunnelState;
  /** When the tunnel's state last changed its kind, or was proven, in milliseconds since the epoch. */
  readonly sinceMs: number;
  /** The gateway address is claimed, so clients get answers. */
  readonly isServing: boolean;
  /** How often something was put right that somebody else had changed in the kernel. */
  readonly repairs: number;
  readonly firewall: Firewall;
}

/** The body of `/healthz` and `/readyz`; never holds a secret. */
export interface HealthReport {
  readonly healthy: boolean;
  readonly ready: boolean;
  /** `blocked`, `resolving`, `dialing`, `up` or `stopping`. */
  readonly state: TunnelState['kind'];
  /** ISO 8601 in UTC. */
  readonly since: string;
  /** How often rules, routes or addresses were put right that somebody else had changed. */
  readonly repairs: number;
  /** What the rules are loaded by. */
  readonly firewall: Firewall;
  /** Why there is no tunnel, or why the last attempt failed; absent once a tunnel is proven. */
  readonly cause?: Cause;
  /** `address:port/transport` of the VPN server that is used or tried. */
  readonly remote?: string;
  /** The interface that clients leave by, while they do. */
  readonly exitInterface?: string;
  readonly tunnelAddress?: string;
  /** OpenVPN processes started so far. */
  readonly attempts?: number;
  /** Failed attempts since the tunnel last worked. */
  readonly failures?: number;
}

/**
 * Healthy: clients are forwarded and a probe has come back through this tunnel. Ready: the gateway address is
 * served, by the tunnel or by an immediate error.
 */
export function reportHealth({ tunnel, sinceMs, isServing, repairs, firewall }: Snapshot): HealthReport {
  const base = {
    healthy: tunnel.kind === 'up' && tunnel.isForwarding && tunnel.isProven,
    ready: isServing && tunnel.kind !== 'stopping',
    state: tunnel.kind,
    since: new Date(sinceMs).toISOString(),
    repairs,
    firewall,
  };
  if (tunnel.kind === 'stopping') return base;
  const { attempts, failures, lastCause } = tunnel.course;
  const counted = { ...base, attempts, failures, ...(lastCause === undefined ? {} : { cause: lastCause }) };
  switch (tunnel.kind) {
    case 'blocked':
      return { ...counted, cause: tunnel.cause };
    case 'resolving':
      return counted;
    case 'dialing':
      return { ...counted, remote: renderEndpoint(tunnel.endpoint) };
    case 'up':
      return {
        ...counted,
        remote: renderEndpoint(tunnel.endpoint),
        ...(tunnel.isForwarding ? { exitInterface: tunnel.tun.name, tunnelAddress: tunnel.tun.address } : {}),
      };
  }
}
