import type { DnsCause } from '../dns/fault.ts';
import type { Fault } from '../errors.ts';
import type { Firewall } from '../plan/facts.ts';
import type { Hardening } from '../plan/hardening.ts';
import { type Cause, hintOf } from '../tunnel/cause.ts';
import type { ProfileRecord } from '../tunnel/failover.ts';
import type { TunnelState } from '../tunnel/machine.ts';
import { renderEndpoint } from '../tunnel/policy.ts';

/** What the router knows of itself at one moment. */
export interface Snapshot {
  readonly tunnel: TunnelState;
  /** When the tunnel's state last changed its kind, or was proven, in milliseconds since the epoch. */
  readonly sinceMs: number;
  /** This moment by the machine's clock, and by the calendar in milliseconds since the epoch. */
  readonly now: { readonly clockMs: number; readonly calendarMs: number };
  /** The gateway address is claimed, so clients get answers. */
  readonly isServing: boolean;
  /** How often something was put right that somebody else had changed in the kernel. */
  readonly repairs: number;
  readonly firewall: Firewall;
  readonly hardening: Hardening;
  /** `IPV6: tunnel`. */
  readonly wantsIpv6: boolean;
  readonly networkFault?: Fault | undefined;
  readonly dns?: DnsReport | undefined;
  /** What LAN_ALLOW and LAN_ALLOW_IN let past the tunnel, one clause each. */
  readonly pastTunnel?: readonly string[] | undefined;
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
  /** Each layer of defence behind the two locks. */
  readonly hardening: Hardening;
  /** What is wrong with the networks of the container, since it started. */
  readonly networks?: { readonly text: string; readonly hint: string };
  /** Whether names resolve; absent where the probe of the tunnel asks for that already. */
  readonly dns?: DnsReport;
  /** What passes outside of the tunnel, by LAN_ALLOW and LAN_ALLOW_IN; absent: nothing. */
  readonly pastTunnel?: readonly string[];
  /** Why there is no tunnel, or why the last attempt failed; absent once a tunnel is proven. */
  readonly cause?: Cause & { readonly hint: string };
  /** The profile that is used, tried or waited for. */
  readonly profile?: string;
  /** When the next attempt begins, ISO 8601 in UTC; absent while one runs, and when nothing is tried any more. */
  readonly nextTry?: string;
  /** `address:port/transport` of the VPN server that is used or tried. */
  readonly remote?: string;
  /** The interface that clients leave by, while they do. */
  readonly exitInterface?: string;
  readonly tunnelAddress?: string;
  /** With `IPV6: tunnel`, whether clients' IPv6 is carried now; where the server gave no address it is refused. */
  readonly ipv6?: 'carried' | 'refused';
  readonly tunnelIpv6Address?: string;
  /** OpenVPN processes started so far. */
  readonly attempts?: number;
  /** Failed attempts since the tunnel last worked. */
  readonly failures?: number;
  /** Every profile in the order of CONFIG. */
  readonly profiles?: readonly ProfileReport[];
  /** With a hot standby, every tunnel; the other fields are then those of the tunnel that carries clients. */
  readonly tunnels?: readonly TunnelReport[];
}

/** Names of clients. Their failure is none of the tunnel: it makes nothing unhealthy. */
export interface DnsReport {
  /** What answers clients in the router; `none`: they ask the resolvers themselves. */
  readonly resolver: 'unbound' | 'none';
  /** `unknown` while there is no tunnel, and until the first answer. */
  readonly state: 'ok' | 'failing' | 'unknown';
  /** What DNS_LOCAL lets out past the tunnel, `domain=address`. */
  readonly pastTunnel?: readonly string[];
  readonly cause?: DnsCause & { readonly hint: string };
}

/** One tunnel of several. */
export interface TunnelReport
  extends Omit<
    HealthReport,
    'ready' | 'repairs' | 'firewall' | 'hardening' | 'networks' | 'dns' | 'pastTunnel' | 'tunnels' | 'exitInterface'
  > {
  readonly interface: string;
  /** Clients leave by it. */
  readonly isCarrying: boolean;
}

/** What the attempts at one profile have come to. */
export interface ProfileReport {
  readonly name: string;
  /** `cooling`: others come first; `given-up`: not tried until the router is started anew. */
  readonly state: 'in-use' | 'trying' | 'ready' | 'cooling' | 'given-up';
  /** Failed attempts in a row; a tunnel that works makes them forgotten within seconds. */
  readonly failures: number;
  /** Until when others come first, ISO 8601 in UTC. */
  readonly coolsUntil?: string;
}

/**
 * Healthy: clients are forwarded and a probe has come back through this tunnel. Ready: the gateway address is
 * served, by the tunnel or by an immediate error.
 */
export function reportHealth({
  tunnel,
  sinceMs,
  isServing,
  repairs,
  firewall,
  hardening,
  wantsIpv6,
  networkFault: fault,
  dns,
  pastTunnel = [],
  now,
}: Snapshot): HealthReport {
  const base = {
    healthy: tunnel.kind === 'up' && tunnel.isForwarding && tunnel.isProven,
    ready: isServing && tunnel.kind !== 'stopping',
    state: tunnel.kind,
    since: new Date(sinceMs).toISOString(),
    repairs,
    firewall,
    hardening,
    ...reportIpv6(tunnel, wantsIpv6),
    ...(dns === undefined ? {} : { dns }),
    ...(pastTunnel.length === 0 ? {} : { pastTunnel }),
    ...(fault === undefined ? {} : { networks: { text: `${fault.name}: ${fault.problem}`, hint: fault.hint } }),
  };
  if (tunnel.kind === 'stopping') return base;
  const { attempts, failures, lastCause, profiles, profileIndex } = tunnel.course;
  const counted = {
    ...base,
    attempts,
    failures,
    profile: (profiles[profileIndex] ?? profiles[0]).name,
    profiles: profiles.map((record, index) => reportProfile(record, { tunnel, isInTurn: index === profileIndex, now })),
    ...(lastCause === undefined ? {} : { cause: explained(lastCause) }),
  };
  switch (tunnel.kind) {
    case 'blocked':
      return {
        ...counted,
        cause: explained(tunnel.cause),
        ...(tunnel.retryAtMs === undefined ? {} : { nextTry: calendarTime(tunnel.retryAtMs, now) }),
      };
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

/** Only where clients were promised it. */
function reportIpv6(tunnel: TunnelState, wantsIpv6: boolean): Pick<HealthReport, 'ipv6' | 'tunnelIpv6Address'> {
  if (!wantsIpv6) return {};
  const address = tunnel.kind === 'up' && tunnel.isForwarding ? tunnel.tun.ipv6?.address : undefined;
  return address === undefined ? { ipv6: 'refused' } : { ipv6: 'carried', tunnelIpv6Address: address };
}

function explained(cause: Cause): Cause & { readonly hint: string } {
  return { ...cause, hint: hintOf(cause.code) };
}

/** The report of one tunnel among several. */
export function reportTunnel(snapshot: Snapshot, place: Pick<TunnelReport, 'interface' | 'isCarrying'>): TunnelReport {
  const {
    ready: _,
    repairs: __,
    exitInterface: ___,
    firewall: ____,
    hardening: _____,
    networks: ______,
    dns: _______,
    pastTunnel: ________,
    ...report
  } = reportHealth(snapshot);
  return { ...place, ...report };
}

function reportProfile(
  { name, failures, isGivenUp, coolUntilMs }: ProfileRecord,
  { tunnel, isInTurn, now }: Pick<Snapshot, 'now' | 'tunnel'> & { readonly isInTurn: boolean },
): ProfileReport {
  const base = { name, failures };
  if (isGivenUp) return { ...base, state: 'given-up' };
  if (isInTurn) return { ...base, state: tunnel.kind === 'up' ? 'in-use' : 'trying' };
  if (coolUntilMs <= now.clockMs) return { ...base, state: 'ready' };
  return { ...base, state: 'cooling', coolsUntil: calendarTime(coolUntilMs, now) };
}

/** A moment of the machine's clock, which begins anywhere and is never set, by the calendar. */
function calendarTime(clockMs: number, now: Snapshot['now']): string {
  return new Date(now.calendarMs + clockMs - now.clockMs).toISOString();
}
