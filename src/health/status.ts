import type { NamedForward, PortForward, PortRange } from '../config/router-config.ts';
import type { ClientCount, Refusal } from './counts.ts';
import type { HealthReport, TunnelReport } from './report.ts';

/** Grows with every change that could break a reader; new fields do not. */
const statusSchema = 1;

/** Everything that there is to see of a router at one moment: what /status, /metrics, /events and the page show. */
export interface Status {
  readonly schema: typeof statusSchema;
  /** Times are ISO 8601 in UTC. */
  readonly at: string;
  readonly version: string;
  readonly startedAt: string;
  readonly verdict: Verdict;
  readonly health: HealthReport;
  /** Gateway address with prefix length. */
  readonly gateway: string;
  /** Every tunnel, the first one first. */
  readonly tunnels: readonly TunnelReport[];
  readonly forwards: readonly ForwardReport[];
  readonly dynamicForward?: DynamicReport;
  /** Packets of clients through the tunnel since the router started. */
  readonly traffic: Traffic;
  /** The same past the tunnel, by LAN_ALLOW and LAN_ALLOW_IN; absent without them. */
  readonly trafficPastTunnel?: Traffic;
  /** Tracked connections of the whole container, and how many the kernel takes; absent where it does not say. */
  readonly connections?: { readonly open: number; readonly limit: number };
  /** By address. Clients are known from their first packet on. */
  readonly clients: readonly ClientReport[];
  readonly refused: readonly Refusal[];
  /** The last hour. */
  readonly history: Series;
  /** The last hour of each client by address, sent and received together. */
  readonly clientHistory: ClientSeries;
  /** The latest, oldest first. */
  readonly events: readonly Event[];
  /** When somebody else changed what is the router's own in the kernel; the latest, oldest first. */
  readonly repairs: readonly Event[];
  /** What doctor found when it last looked from inside; it looks when somebody looks at the page. */
  readonly doctor?: { readonly at: string; readonly findings: readonly Finding[] };
  /** Whether CONTROL_TOKEN_FILE is set. */
  readonly hasControl: boolean;
}

/** Whether clients are safe, in a word and a sentence. */
export interface Verdict {
  readonly kind: 'protected' | 'unproven' | 'blocked' | 'paused' | 'stopping';
  readonly text: string;
  /** What to do about it. */
  readonly hint?: string;
}

export interface Traffic {
  readonly sentBytes: number;
  readonly sentPackets: number;
  readonly receivedBytes: number;
  readonly receivedPackets: number;
}

/** Sent is what the client sent into the tunnel, received what came back for it. */
export interface ClientReport extends Traffic {
  readonly address: string;
  /** As Docker's resolver names it. */
  readonly name?: string;
  /** Opening packets of connections that were let through, in both directions. */
  readonly openings: number;
  /** Packets by reason, which is the name of the rule. */
  readonly refused: Readonly<Record<string, number>>;
}

export interface ForwardReport {
  readonly transports: readonly string[];
  /** A port or a range, `5000-5010`. */
  readonly outside: string;
  /** An address, or the name of the container. */
  readonly target: string;
  /** Where the container of that name is; absent while it is. */
  readonly addresses?: readonly string[];
  readonly inside: string;
}

/** The port that the provider is asked for (PORT_FWD_DYNAMIC). */
export interface DynamicReport {
  readonly protocol: string;
  readonly transports: readonly string[];
  /** An address, or the name of the container, and where that is while it is there. */
  readonly target: string;
  readonly address?: string;
  /** A port, or `same`. */
  readonly inside: string;
  /** Absent while there is none. */
  readonly port?: number;
  readonly publicAddress?: string;
  /** Why there is none, or soon will be none. */
  readonly problem?: string;
}

/** Bytes in each step of time, oldest first; the last step ended at `endsAt`. */
export interface Series {
  readonly stepSeconds: number;
  readonly endsAt: string;
  readonly sent: readonly number[];
  readonly received: readonly number[];
}

export interface ClientSeries {
  readonly stepSeconds: number;
  readonly endsAt: string;
  readonly bytes: Readonly<Record<string, readonly number[]>>;
}

/** A line of the log from `info` on. */
export interface Event {
  readonly at: string;
  readonly level: 'info' | 'warn' | 'error';
  readonly message: string;
  /** The fields of the line as text, `cause=server-silent`. */
  readonly details: readonly string[];
}

/** One thing that doctor found; its clauses have no full stops. */
export interface Finding {
  readonly code: string;
  readonly severity: 'leak' | 'break' | 'warning';
  readonly what: string;
  readonly why: string;
  readonly remedy: string;
}

/** What a status is made of. */
export interface Seen {
  readonly atMs: number;
  readonly startedMs: number;
  readonly version: string;
  readonly health: HealthReport;
  readonly gateway: string;
  /** The tunnels' own reports; with one tunnel `health` says it all. */
  readonly tunName: string;
  readonly isPaused: boolean;
  readonly forwards: readonly (PortForward | SeenNamedForward)[];
  readonly dynamicForward?: DynamicReport | undefined;
  readonly traffic: Traffic;
  readonly trafficPastTunnel?: Traffic | undefined;
  readonly connections?: Status['connections'] | undefined;
  readonly clients: readonly ClientCount[];
  /** Names by address. */
  readonly names: ReadonlyMap<string, string>;
  readonly refused: readonly Refusal[];
  readonly history: Series;
  readonly clientHistory: ClientSeries;
  readonly events: readonly Event[];
  readonly doctor?: Status['doctor'] | undefined;
  readonly hasControl: boolean;
}

/** A forward by name, and where the container is. */
export interface SeenNamedForward extends NamedForward {
  readonly addresses: readonly string[];
}

/** Message of the event that tells of somebody else's change. */
const driftMessage = 'the kernel was changed by somebody else';

/** Projects what was seen into what is shown. Pure. */
export function projectStatus(seen: Seen): Status {
  const { health, names, connections, doctor, trafficPastTunnel } = seen;
  return {
    schema: statusSchema,
    at: isoTime(seen.atMs),
    version: seen.version,
    startedAt: isoTime(seen.startedMs),
    verdict: withExceptions(judge(health, seen.isPaused), health),
    health,
    gateway: seen.gateway,
    tunnels: health.tunnels ?? [onlyTunnel(health, seen.tunName)],
    forwards: seen.forwards.map(reportForward),
    ...(seen.dynamicForward === undefined ? {} : { dynamicForward: seen.dynamicForward }),
    traffic: seen.traffic,
    ...(trafficPastTunnel === undefined ? {} : { trafficPastTunnel }),
    ...(connections === undefined ? {} : { connections }),
    clients: seen.clients.map((client) => {
      const name = names.get(client.address);
      return name === undefined ? client : { ...client, name };
    }),
    refused: seen.refused,
    history: seen.history,
    clientHistory: seen.clientHistory,
    events: seen.events,
    repairs: seen.events.filter(({ message }) => message === driftMessage),
    ...(doctor === undefined ? {} : { doctor }),
    hasControl: seen.hasControl,
  };
}

/** What the user lets past the tunnel is said with every verdict. */
function withExceptions(verdict: Verdict, { pastTunnel }: HealthReport): Verdict {
  if (pastTunnel === undefined) return verdict;
  return {
    ...verdict,
    text: `${verdict.text} Except by LAN_ALLOW, past the tunnel: ${pastTunnel.join('; ')}.`,
  };
}

function reportForward(forward: Seen['forwards'][number]): ForwardReport {
  const { transports, outside, inside } = forward;
  const ports = { transports, outside: renderRange(outside), inside: renderRange(inside) };
  if ('target' in forward) return { ...ports, target: forward.target };
  const { host, addresses } = forward;
  return { ...ports, target: host, ...(addresses.length === 0 ? {} : { addresses }) };
}

/** Whatever the verdict, nothing leaves past the tunnel but what settings name. DNS_LOCAL works only while it is up. */
function judge(health: HealthReport, isPaused: boolean): Verdict {
  if (isPaused) return { kind: 'paused', text: 'Paused by hand: clients are refused, and nothing leaves.' };
  const past = health.dns?.pastTunnel;
  const except =
    past === undefined ? '' : `, but for the names of DNS_LOCAL, which are asked past it (${past.join(', ')})`;
  if (health.healthy) {
    const text = `Clients leave through the tunnel, and only there${except}.`;
    const dns = health.dns?.cause;
    return dns === undefined
      ? { kind: 'protected', text }
      : { kind: 'protected', text: `${text} Names do not resolve: ${dns.text}.`, hint: dns.hint };
  }
  const { state, cause } = health;
  if (state === 'stopping')
    return { kind: 'stopping', text: 'The router stops: clients are refused, and nothing leaves.' };
  if (state === 'up') {
    return {
      kind: 'unproven',
      text: `The tunnel is up, but nothing has come back through it yet. Nothing leaves past it${except}.`,
    };
  }
  const why = cause === undefined ? 'the next server is being tried' : cause.text;
  return {
    kind: 'blocked',
    text: `No tunnel: ${why}. Clients are refused, and nothing leaves.`,
    ...(cause === undefined ? {} : { hint: cause.hint }),
  };
}

function onlyTunnel(health: HealthReport, tunName: string): TunnelReport {
  const {
    ready: _,
    repairs: __,
    firewall: ___,
    hardening: ____,
    networks: _____,
    dns: ______,
    pastTunnel: _______,
    exitInterface: ________,
    tunnels: _________,
    ...report
  } = health;
  return { interface: tunName, isCarrying: true, ...report };
}

function renderRange({ first, last }: PortRange): string {
  return first === last ? `${first}` : `${first}-${last}`;
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}
