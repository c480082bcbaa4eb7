import type { Cause } from '../../../src/tunnel/cause.ts';
import { step, type TimerName, type TunnelEvent, type TunnelState } from '../../../src/tunnel/machine.ts';
import type { Endpoint } from '../../../src/tunnel/policy.ts';
import { tunnelLink } from './endpoints.ts';

/** What a server does at a moment. `silent`: it takes every packet and answers none. */
export type Behaviour = 'well' | 'silent' | 'refuses login' | 'says goodbye';

export interface Simulation {
  /** Attempts at each endpoint, by the last number of its address, with their times. */
  readonly attempts: readonly { readonly atMs: number; readonly server: string }[];
  /** When which server began to carry clients, and when it ended. */
  readonly carried: readonly { readonly server: string; readonly fromMs: number; readonly untilMs: number }[];
  readonly state: TunnelState;
  readonly steps: number;
}

const kernelMs = 60;
const processMs = 6;
const handshakeMs = 30;
const probeEveryMs = 1_500;
const deadAfterMs = 4_500;

/**
 * Runs a machine by a clock of its own, with a kernel that confirms, processes that start, and servers that behave as
 * they are told. Nothing waits: hours take milliseconds.
 */
export function simulate({
  start,
  forMs,
  behaviour,
  clientPackets = () => 0,
  random,
}: {
  readonly start: TunnelState;
  readonly forMs: number;
  readonly behaviour: (server: string, atMs: number) => Behaviour;
  readonly clientPackets?: (atMs: number) => number;
  readonly random: () => number;
}): Simulation {
  let state = start;
  let nowMs = 0;
  let steps = 0;
  const agenda: { readonly atMs: number; readonly make: () => TunnelEvent | undefined }[] = [];
  let timer: { readonly timer: TimerName; readonly epoch: number; readonly atMs: number } | undefined;
  let probe: { readonly epoch: number; readonly endpoint: Endpoint; lastAnswerMs: number } | undefined;
  const attempts: { atMs: number; server: string }[] = [];
  const carried: { server: string; fromMs: number; untilMs: number }[] = [];

  const later = (ms: number, make: () => TunnelEvent | undefined) => void agenda.push({ atMs: nowMs + ms, make });
  const handle = (event: TunnelEvent) => {
    steps += 1;
    const before = state;
    const next = step(state, event, { nowMs, random: random() });
    state = next.state;
    if (before.kind !== 'up' && state.kind === 'up') {
      carried.push({ server: state.endpoint.address, fromMs: nowMs, untilMs: Number.POSITIVE_INFINITY });
    }
    const last = carried.at(-1);
    if (before.kind === 'up' && state.kind !== 'up' && last !== undefined) last.untilMs = nowMs;
    for (const effect of next.effects) {
      switch (effect.kind) {
        case 'apply':
          later(kernelMs, () => ({ kind: 'policy-confirmed', policy: effect.policy }));
          break;
        case 'start-openvpn': {
          const { epoch, endpoint } = effect;
          attempts.push({ atMs: nowMs, server: endpoint.address });
          later(processMs, () => ({ kind: 'held', epoch }));
          break;
        }
        case 'release-hold': {
          const { epoch } = effect;
          if (state.kind !== 'dialing') break;
          const { address } = state.endpoint;
          const refused: Cause = { code: 'auth-failed', text: 'refused' };
          later(handshakeMs, () => {
            const now = behaviour(address, nowMs);
            if (now === 'silent') return undefined;
            if (now === 'refuses login') return { kind: 'failed', epoch, cause: refused };
            return { kind: 'connected', epoch, tun: tunnelLink(2) };
          });
          break;
        }
        case 'start-probe': {
          const { epoch, endpoint } = effect;
          probe = { epoch, endpoint, lastAnswerMs: nowMs };
          later(1, () => look(epoch));
          break;
        }
        case 'stop-probe':
          probe = undefined;
          break;
        case 'arm-timer':
          timer = { timer: effect.timer, epoch: effect.epoch, atMs: nowMs + effect.ms };
          break;
      }
    }
  };
  const look = (epoch: number): TunnelEvent | undefined => {
    if (probe?.epoch !== epoch) return undefined;
    const now = behaviour(probe.endpoint.address, nowMs);
    later(now === 'silent' ? 100 : probeEveryMs, () => look(epoch));
    if (now === 'says goodbye') {
      return { kind: 'failed', epoch, cause: { code: 'server-closed', text: 'goodbye' } };
    }
    if (now !== 'silent') {
      probe.lastAnswerMs = nowMs;
      return { kind: 'probe-answered', epoch, clientPackets: clientPackets(nowMs) };
    }
    if (nowMs - probe.lastAnswerMs < deadAfterMs) return undefined;
    return { kind: 'failed', epoch, cause: { code: 'tunnel-dead', text: 'dead' } };
  };

  handle({ kind: 'start' });
  while (nowMs < forMs) {
    agenda.sort((one, other) => one.atMs - other.atMs);
    const next = agenda[0];
    if (timer !== undefined && (next === undefined || timer.atMs <= next.atMs)) {
      const { timer: name, epoch, atMs } = timer;
      timer = undefined;
      nowMs = atMs;
      handle({ kind: 'timer', timer: name, epoch });
    } else if (next !== undefined) {
      agenda.shift();
      nowMs = next.atMs;
      const event = next.make();
      if (event !== undefined) handle(event);
    } else break;
  }
  return { attempts, carried, state, steps };
}

/** Numbers from 0 to 1 that are the same in every run (mulberry32). */
export function seeded(seed: number): () => number {
  let word = seed;
  return () => {
    word = (word + 0x6d2b79f5) | 0;
    let mixed = Math.imul(word ^ (word >>> 15), 1 | word);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
