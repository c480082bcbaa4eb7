import { connect } from 'node:net';
import type { Ipv4, Port } from '../net/address.ts';
import type { TunnelLink } from '../tunnel/policy.ts';
import { readDevice } from './device.ts';
import { questionCode } from './dns-question.ts';

/** Where a probe goes. */
export type Target =
  /** All are asked at once; one that answers is enough. */
  | { readonly kind: 'resolvers'; readonly servers: readonly [Ipv4, ...Ipv4[]] }
  | { readonly kind: 'tcp'; readonly address: Ipv4; readonly port: Port }
  /** Connected to all at once; one that answers or refuses is enough. */
  | { readonly kind: 'sockets'; readonly sockets: readonly { readonly address: Ipv4; readonly port: Port }[] }
  /** The server's end of the tunnel, which may well answer nobody: its silence counts only after it has answered. */
  | { readonly kind: 'peer'; readonly address: Ipv4 }
  /** Nothing is known to answer: what arrives is the only proof, and OpenVPN's own ping ends a dead tunnel. */
  | { readonly kind: 'none' };

/** Why a probe ended by itself. */
export type ProbeEnd = 'dead' | 'device-gone';

/** How soon a dead tunnel has to be noticed. */
export type ProbePace = keyof typeof paces;

/**
 * Wait between two answers; time for an answer: three times what the last one took, within bounds, and the first gets
 * the most; lost probes in a row that make a tunnel dead. Usual: with the idle wait before them 4.5 s, 6 s after a busy
 * look. Fast: 0.6 s on a near link.
 */
const paces = {
  usual: { idleMs: 1_500, leastMs: 1_000, mostMs: 3_000, missesUntilDead: 3 },
  fast: { idleMs: 200, leastMs: 200, mostMs: 1_000, missesUntilDead: 2 },
} as const;

/** So many packets in one look are flows of clients: a few may as well be errors about them, or the probe's own. */
const busyPackets = 20;
/** A busy tunnel is asked all the same, but seldom. */
const busyAskMs = 6_000;

/**
 * Watches a tunnel until it is dead or stopped. While clients' flows are busy a lost probe is no sign: a full queue
 * delays it. Otherwise three lost ones are.
 */
export function startProbe({
  tun,
  target,
  pace,
  onAnswer,
  onEnd,
}: {
  readonly tun: TunnelLink;
  readonly target: Target;
  readonly pace: ProbePace;
  /** Something came back; so many packets of clients with it since the last answer. */
  readonly onAnswer: (clientPackets: number) => void;
  readonly onEnd: (end: ProbeEnd) => void;
}): { readonly stop: () => void } {
  let timer: NodeJS.Timeout | undefined;
  let isStopped = false;
  let misses = 0;
  let hasAnswered = false;
  let askedMs = 0;
  const { idleMs, leastMs, mostMs, missesUntilDead } = paces[pace];
  let waitMs: number = mostMs;
  let before: DeviceCounters | undefined;

  const again = (ms: number) => {
    if (!isStopped) timer = setTimeout(() => void watch(), ms);
  };
  const report = (end: ProbeEnd) => {
    if (!isStopped) onEnd(end);
  };
  /** Packets since the last look; undefined when the device is gone, or another one. */
  const look = (): number | undefined => {
    const seen = readCounters(tun.name);
    if (seen === undefined || (before !== undefined && before.ifindex !== seen.ifindex)) return undefined;
    const packets = before === undefined ? 0 : seen.receivedPackets - before.receivedPackets;
    before = seen;
    return packets;
  };
  const prove = (clientPackets: number) => {
    misses = 0;
    if (!isStopped) onAnswer(clientPackets);
    again(idleMs);
  };
  const watch = async (): Promise<void> => {
    const packets = look();
    if (isStopped) return;
    if (packets === undefined) return report('device-gone');
    if (target.kind === 'none') return packets > 0 ? prove(packets) : again(idleMs);
    const startMs = performance.now();
    if (hasAnswered && packets >= busyPackets && startMs - askedMs < busyAskMs) return prove(packets);
    askedMs = startMs;
    const isAnswered = await ask({ tun, target, waitMs });
    // Looked at again, so that answers and errors of this probe are not taken for traffic by the next look.
    const meanwhile = look();
    if (isStopped) return;
    if (isAnswered) {
      hasAnswered = true;
      const tookMs = performance.now() - startMs;
      // The resolver takes whole milliseconds only.
      waitMs = Math.round(Math.min(mostMs, Math.max(leastMs, 3 * tookMs)));
      return prove(packets);
    }
    if (hasAnswered && (meanwhile ?? 0) >= busyPackets) return prove(packets);
    if (target.kind === 'peer' && !hasAnswered) return packets > 0 ? prove(packets) : again(idleMs);
    misses += 1;
    if (misses >= missesUntilDead) return report('dead');
    // Without a route it fails at once; somebody took that route away, and it may be put right before the next question.
    again(Math.max(0, leastMs - (performance.now() - startMs)));
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
  readonly receivedPackets: number;
}

function readCounters(name: string): DeviceCounters | undefined {
  const [ifindex, receivedPackets] = ['ifindex', 'statistics/rx_packets'].map((file) =>
    readDevice(`/sys/class/net/${name}/${file}`),
  );
  if (ifindex === undefined || receivedPackets === undefined) return undefined;
  return { ifindex, receivedPackets: Number(receivedPackets) };
}

interface Question {
  readonly tun: TunnelLink;
  readonly waitMs: number;
}

/** What most hosts answer or refuse; the peer's port does not matter, only that it says something. */
export const peerPort = 53 as Port;

async function ask({ target, ...question }: Question & { readonly target: Exclude<Target, { kind: 'none' }> }) {
  switch (target.kind) {
    case 'tcp':
      return connects({ ...question, ...target });
    case 'peer':
      return connects({ ...question, address: target.address, port: peerPort });
    case 'sockets':
      return isAnyTrue(target.sockets.map((socket) => connects({ ...question, ...socket })));
    case 'resolvers':
      return isAnyTrue(target.servers.slice(0, maxResolvers).map((server) => resolves({ ...question, server })));
  }
}

const maxResolvers = 4;

/** Resolves as soon as one of them is true. */
function isAnyTrue(answers: readonly Promise<boolean>[]): Promise<boolean> {
  return new Promise((resolve, reject) => {
    for (const answer of answers) answer.then((isTrue) => isTrue && resolve(true), reject);
    void Promise.allSettled(answers).then(() => resolve(false));
  });
}

/** Answers that are none to the question. */
const refusals: ReadonlySet<unknown> = new Set([
  'ENOTFOUND',
  'ENODATA',
  'ESERVFAIL',
  'EREFUSED',
  'ENOTIMP',
  'EFORMERR',
]);

/** Any reply proves the way there and back, also a refusal. */
async function resolves({ tun, waitMs, server }: Question & { readonly server: Ipv4 }): Promise<boolean> {
  const code = await questionCode({
    server,
    localAddress: tun.address,
    waitMs,
    ask: (resolver) => resolver.resolveNs('.'),
  });
  return code === undefined || refusals.has(code);
}

function connects({
  tun,
  waitMs,
  address,
  port,
}: Question & { readonly address: Ipv4; readonly port: Port }): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port, localAddress: tun.address, timeout: waitMs });
    const finish = (isAlive: boolean) => {
      socket.destroy();
      resolve(isAlive);
    };
    socket.on('connect', () => finish(true));
    socket.on('timeout', () => finish(false));
    socket.on('error', (error) => finish('code' in error && error.code === 'ECONNREFUSED'));
  });
}
