import { Resolver } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import type { Ipv4, Port } from '../net/address.ts';
import type { TunnelLink } from '../tunnel/policy.ts';

/** Where a probe goes; `resolvers` are asked in turn. */
export type Target =
  | { readonly kind: 'resolvers'; readonly servers: readonly [Ipv4, ...Ipv4[]] }
  | { readonly kind: 'tcp'; readonly address: Ipv4; readonly port: Port }
  /** Nothing is known to answer: packets of clients' flows are the proof, and OpenVPN's own ping ends a dead tunnel. */
  | { readonly kind: 'none' };

export type ProbeOutcome = 'answered' | 'dead' | 'device-gone';

const idleMs = 1_500;
const answerMs = 1_000;
/** Lost probes in a row that make a tunnel dead: with two idle waits before them, 6 s at the most. */
const missesUntilDead = 3;

/**
 * Watches a tunnel until it is dead or stopped. Packets that arrive prove it; a probe is sent only when none do, so a
 * busy tunnel is never asked, and a full queue that delays probes does not look like a loss.
 */
export function startProbe({
  tun,
  target,
  onOutcome,
}: {
  readonly tun: TunnelLink;
  readonly target: Target;
  readonly onOutcome: (outcome: ProbeOutcome) => void;
}): { readonly stop: () => void } {
  let timer: NodeJS.Timeout | undefined;
  let isStopped = false;
  let misses = 0;
  let sent = 0;
  // Where nothing can be asked, what arrives is the only proof.
  let isProven = target.kind === 'none';
  let device: DeviceCounters | undefined;

  const again = (ms: number) => {
    if (!isStopped) timer = setTimeout(() => void watch(), ms);
  };
  const report = (outcome: ProbeOutcome) => {
    if (!isStopped) onOutcome(outcome);
  };
  const watch = async (): Promise<void> => {
    const seen = await readCounters(tun.name);
    if (isStopped) return;
    if (seen === undefined || (device !== undefined && device.ifindex !== seen.ifindex)) return report('device-gone');
    const isCarrying = isProven && device !== undefined && seen.receivedPackets !== device.receivedPackets;
    device = seen;
    if (target.kind === 'none' && !isCarrying) return again(idleMs);
    if (isCarrying || target.kind === 'none' || (await ask({ tun, target, turn: sent++ }))) {
      // Its answer was received on the device too, and must not count as traffic of its own the next time.
      device = (await readCounters(tun.name)) ?? device;
      misses = 0;
      isProven = true;
      report('answered');
      return again(idleMs);
    }
    misses += 1;
    if (misses >= missesUntilDead) return report('dead');
    again(0);
  };
  void watch();
  return {
    stop: () => {
      isStopped = true;
      clearTimeout(timer);
    },
  };
}

interface DeviceCounters {
  readonly ifindex: string;
  readonly receivedPackets: string;
}

async function readCounters(name: string): Promise<DeviceCounters | undefined> {
  const read = (file: string) => readFile(`/sys/class/net/${name}/${file}`, 'utf8');
  try {
    const [ifindex, receivedPackets] = await Promise.all([read('ifindex'), read('statistics/rx_packets')]);
    return { ifindex, receivedPackets };
  } catch (error) {
    if (error instanceof Error && 'code' in error) return undefined;
    throw error;
  }
}

function ask({
  tun,
  target,
  turn,
}: {
  readonly tun: TunnelLink;
  readonly target: Exclude<Target, { kind: 'none' }>;
  readonly turn: number;
}): Promise<boolean> {
  if (target.kind === 'tcp') return connects({ tun, ...target });
  const server = target.servers[turn % target.servers.length] ?? target.servers[0];
  return resolves({ tun, server });
}

/** Any reply proves the way there and back, also a refusal. */
async function resolves({ tun, server }: { tun: TunnelLink; server: Ipv4 }): Promise<boolean> {
  // A new resolver each time: it would answer a second look-up from its cache.
  const resolver = new Resolver({ timeout: answerMs, tries: 1 });
  resolver.setServers([server]);
  resolver.setLocalAddress(tun.address);
  const deadline = setTimeout(() => resolver.cancel(), answerMs);
  try {
    await resolver.resolveNs('.');
    return true;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    return (
      code === 'ENOTFOUND' ||
      code === 'ENODATA' ||
      code === 'ESERVFAIL' ||
      code === 'EREFUSED' ||
      code === 'ENOTIMP' ||
      code === 'EFORMERR'
    );
  } finally {
    clearTimeout(deadline);
  }
}

function connects({ tun, address, port }: { tun: TunnelLink; address: Ipv4; port: Port }): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port, localAddress: tun.address, timeout: answerMs });
    const finish = (isAlive: boolean) => {
      socket.destroy();
      resolve(isAlive);
    };
    socket.on('connect', () => finish(true));
    socket.on('timeout', () => finish(false));
    socket.on('error', (error) => finish('code' in error && error.code === 'ECONNREFUSED'));
  });
}
