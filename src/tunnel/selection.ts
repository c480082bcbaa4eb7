import { type FailoverSettings, isTimeToGoBack, steadyMs } from './failover.ts';
import { contactMs, isProven, type TunnelState } from './machine.ts';
import type { TunnelPolicy } from './policy.ts';

/** Which of several tunnels carries clients, and what the choice of the next one depends on. */
export interface Selection {
  readonly carrier: number;
  /** When the first attempts began; long ago once a tunnel that worked was lost. */
  readonly startMs: number;
  readonly haveWorked: readonly boolean[];
}

/** The selection before the first attempts, which begin now. */
export function newSelection(nowMs: number): Selection {
  return { carrier: 0, startMs: nowMs, haveWorked: [] };
}

/** The selection after something happened to a tunnel. */
export function select({
  selection,
  tunnels,
  failback,
  nowMs,
}: {
  readonly selection: Selection;
  readonly tunnels: readonly TunnelState[];
  readonly failback: FailoverSettings['failback'];
  readonly nowMs: number;
}): Selection {
  const { carrier } = selection;
  const isLost = tunnels.some((tunnel, index) => selection.haveWorked[index] === true && !isProven(tunnel));
  const startMs = isLost ? Number.NEGATIVE_INFINITY : selection.startMs;
  const haveWorked = tunnels.map((tunnel, index) => selection.haveWorked[index] === true || isProven(tunnel));
  return { carrier: chooseCarrier({ tunnels, carrier, failback, startMs, nowMs }), startMs, haveWorked };
}

/**
 * The places of the tunnels that a refused policy is told to. What a tunnel does not want any more is outdated: what it
 * wants instead is still to come. What has been in the kernel before is not why, while another part is new. And the
 * lockdown of one tunnel cannot be refused while another is open: the whole was.
 */
export function findRefused({
  parts,
  wanted,
  confirmed,
}: {
  /** Of the policy that was refused. */
  readonly parts: readonly TunnelPolicy[];
  /** The last that each tunnel asked for, and the last of those that the kernel has confirmed. */
  readonly wanted: readonly TunnelPolicy[];
  readonly confirmed: readonly (TunnelPolicy | undefined)[];
}): readonly number[] {
  const places = [...parts.keys()];
  if (parts.every(({ kind }) => kind === 'lockdown')) return places;
  const refused = places.filter((place) => parts[place]?.kind !== 'lockdown' && wanted[place] === parts[place]);
  const isNew = (place: number) => confirmed[place] !== parts[place];
  return refused.some(isNew) ? refused.filter(isNew) : refused;
}

/**
 * Which of several tunnels carries the clients, by the order of their profiles. One that works is not left for another
 * that works, unless that one stands before it, has worked for a minute, and `failback` allows it. While none works,
 * the one that is up; while none is, the one that carried them last. In the first seconds the order alone counts: the
 * flows that a change breaks are as young. At a stop nothing changes.
 */
function chooseCarrier({
  tunnels,
  carrier,
  failback,
  startMs,
  nowMs,
}: {
  readonly tunnels: readonly TunnelState[];
  /** Index of the tunnel that carries them now. */
  readonly carrier: number;
  readonly failback: FailoverSettings['failback'];
  /** When the first attempts began. */
  readonly startMs: number;
  readonly nowMs: number;
}): number {
  const current = tunnels[carrier];
  if (current?.kind === 'stopping') return carrier;
  const working = tunnels.findIndex(isProven);
  if (working >= 0 && nowMs - startMs < contactMs) return working;
  if (current !== undefined && isProven(current)) {
    const { provenMs, busyMs } = current;
    if (!isTimeToGoBack({ failback, provenMs, busyMs, nowMs })) return carrier;
    const isSteady = (tunnel: TunnelState) => isProven(tunnel) && nowMs - tunnel.provenMs >= steadyMs;
    const earlier = tunnels.slice(0, carrier).findIndex(isSteady);
    return earlier >= 0 ? earlier : carrier;
  }
  if (working >= 0) return working;
  if (current?.kind === 'up') return carrier;
  const up = tunnels.findIndex(({ kind }) => kind === 'up');
  return up >= 0 ? up : carrier;
}
