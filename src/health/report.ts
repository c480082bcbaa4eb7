import { type Cause, hintOf } from '../tunnel/cause.ts';
import type { TunnelState } from '../tunnel/machine.ts';
import { renderEndpoint } from '../tunnel/policy.ts';

/** What the router knows of itself at one moment. */
export interface Snapshot {
  readonly tunnel: TunnelState;
  /** When the tunnel's state last changed its kind, or was proven, in milliseconds since the epoch. */
  readonly sinceMs: number;
  /** The gateway address is claimed, so clients get answers. */
  readonly isServing: boolean;
}

/** The body of `/healthz` and `/readyz`; never holds a secret. */
export interface HealthReport {
  readonly healthy: boolean;
  readonly ready: boolean;
  /** `blocked`, `resolving`, `dialing`, `up` or `stopping`. */
  readonly state: TunnelState['kind'];
  /** ISO 8601 in UTC. */
  readonly since: string;
  /** Why there is no tunnel, or why the last attempt failed; absent once a tunnel is proven. */
  readonly cause?: Cause & { readonly hint: string };
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
export function reportHealth({ tunnel, sinceMs, isServing }: Snapshot): HealthReport {
  const base = {
    healthy: tunnel.kind === 'up' && tunnel.isForwarding && tunnel.isProven,
    ready: isServing && tunnel.kind !== 'stopping',
    state: tunnel.kind,
    since: new Date(sinceMs).toISOString(),
  };
  if (tunnel.kind === 'stopping') return base;
  const { attempts, failures, lastCause } = tunnel.course;
  const counted = { ...base, attempts, failures, ...(lastCause === undefined ? {} : { cause: explained(lastCause) }) };
  switch (tunnel.kind) {
    case 'blocked':
      return { ...counted, cause: explained(tunnel.cause) };
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

function explained(cause: Cause): Cause & { readonly hint: string } {
  return { ...cause, hint: hintOf(cause.code) };
}
