import { type FailoverSettings, isTimeToGoBack, steadyMs } from './failover.ts';
import { contactMs, isProven, type TunnelState } from './machine.ts';

/**
 * Which of several tunnels carries the clients, by the order of their profiles. One that works is not left for another
 * that works, unless that one stands before it, has worked for a minute, and `failback` allows it. While none works,
 * the one that is up; while none is, the one that carried them last. In the first seconds the order alone counts: the
 * flows that a change breaks are as young. At a stop nothing changes.
 */
export function chooseCarrier({
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
