import { type FailoverSettings, isTimeToGoBack, steadyMs } from './failover.ts';
import { isProven, type TunnelState } from './machine.ts';

/**
 * Which of several tunnels carries the clients, by the order of their profiles. One that works is not left for another
 * that works, unless that one stands before it, has worked for a minute, and `failback` allows it. While none works,
 * the one that is up; while none is, the one that carried them last.
 */
export function chooseCarrier({
  tunnels,
  carrier,
  failback,
  nowMs,
}: {
  readonly tunnels: readonly TunnelState[];
  /** Index of the tunnel that carries them now. */
  readonly carrier: number;
  readonly failback: FailoverSettings['failback'];
  readonly nowMs: number;
}): number {
  const current = tunnels[carrier];
  if (current !== undefined && isProven(current)) {
    const { provenMs, busyMs } = current;
    if (!isTimeToGoBack({ failback, provenMs, busyMs, nowMs })) return carrier;
    const isSteady = (tunnel: TunnelState) => isProven(tunnel) && nowMs - tunnel.provenMs >= steadyMs;
    const earlier = tunnels.slice(0, carrier).findIndex(isSteady);
    return earlier >= 0 ? earlier : carrier;
  }
  const working = tunnels.findIndex(isProven);
  if (working >= 0) return working;
  if (current?.kind === 'up') return carrier;
  const up = tunnels.findIndex(({ kind }) => kind === 'up');
  return up >= 0 ? up : carrier;
}
