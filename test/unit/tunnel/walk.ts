import fc from 'fast-check';
import type { CauseCode } from '../../../src/tunnel/cause.ts';
import type { EndpointSource, FailoverSettings } from '../../../src/tunnel/failover.ts';
import {
  step,
  type TimerName,
  type TunnelEffect,
  type TunnelEvent,
  type TunnelState,
} from '../../../src/tunnel/machine.ts';
import type { Endpoint, Policy, TunnelLink } from '../../../src/tunnel/policy.ts';
import { endpoint, startWith, tunnelLink } from './endpoints.ts';

/** What may happen next, told apart from the state that the machine will be in by then. */
export interface Happening {
  readonly what: (typeof happenings)[number];
  /** 0: of this attempt; otherwise of an older or of one to come. */
  readonly epochOffset: number;
  /** Chooses among what the happening leaves open: an endpoint, a cause, how far back. */
  readonly choice: number;
  /** Time since the happening before. */
  readonly afterMs: number;
  readonly random: number;
}

const happenings = [
  ...['all goes well', 'kernel takes up', 'kernel confirms', 'kernel refuses'],
  ...['old policy confirmed', 'strange policy confirmed', 'names resolved', 'names not resolved'],
  ...[
    'held',
    'answered',
    'verified',
    'suspected',
    'connected',
    'failed',
    'probe answered',
    'armed timer',
    'any timer',
    'start',
    'stop',
  ],
] as const;

/** A way through the life of a tunnel; half of the time all goes well, so that it gets somewhere. */
export const anyWalk: fc.Arbitrary<readonly Happening[]> = fc
  .array(
    fc.record({
      what: fc.oneof(fc.constant('all goes well' as const), fc.constantFrom(...happenings)),
      epochOffset: fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.integer() }),
      choice: fc.nat({ max: 7 }),
      afterMs: fc.oneof(fc.constantFrom(0, 1_500, 61_000), fc.nat({ max: 1_000_000 })),
      random: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    }),
    { maxLength: 100, size: 'max' },
  )
  .map((walk) => [{ what: 'start', epochOffset: 0, choice: 0, afterMs: 0, random: 0 }, ...walk]);

const anySource: fc.Arbitrary<EndpointSource> = fc.constantFrom<EndpointSource>(
  { kind: 'addresses', endpoints: [endpoint(1)] },
  { kind: 'addresses', endpoints: [endpoint(1), endpoint(2), endpoint(1)] },
  { kind: 'names', scope: { kind: 'any' } },
);

/** One profile, or several in an order, with every setting of it. */
export const anyStart: fc.Arbitrary<TunnelState> = fc
  .record({
    first: anySource,
    others: fc.array(anySource, { maxLength: 2 }),
    failback: fc.constantFrom<FailoverSettings['failback']>(
      { kind: 'idle' },
      { kind: 'off' },
      { kind: 'after', ms: 90_000 },
    ),
    authRetry: fc.constantFrom('slow' as const, 'stop' as const),
  })
  .map(({ first, others, ...settings }) => startWith([first, ...others], settings));

/** One event, and the world around it after its effects were taken up. */
export interface Turn {
  readonly nowMs: number;
  readonly before: TunnelState;
  readonly event: TunnelEvent;
  readonly after: TunnelState;
  readonly effects: readonly TunnelEffect[];
  readonly world: Readonly<World>;
}

export interface World {
  /** What the kernel holds for sure; undefined after an apply that failed. */
  kernelPolicy: Policy | undefined;
  /** The last policy that was asked for, and whether the kernel has answered for it. */
  wanted: Policy | undefined;
  isWantedSettled: boolean;
  /** Epochs of the look-ups that have not ended, oldest first. */
  lookUps: number[];
  /** The role has one timer for all names. */
  timer: { readonly timer: TimerName; readonly epoch: number } | undefined;
  probe: { readonly epoch: number; readonly endpoint: Endpoint; readonly tun: TunnelLink } | undefined;
  /** What the kernel works on; it cannot be called back. */
  inFlight: Policy | undefined;
  /** What the kernel has not begun with, oldest first. */
  queue: Policy[];
  /** All that was ever asked for, oldest first. */
  history: Policy[];
}

/**
 * Lets things happen to a machine. Its effects go to a world that keeps the role's contract: changes of the kernel one
 * after the other, outdated ones left out unless they lock down, each confirmed or refused when it is done. With
 * `doubtful` confirmations the kernel's answers also come twice, late, and for what nobody asked.
 */
export function* walk({
  start,
  happenings: chosen,
  confirmations,
}: {
  readonly start: TunnelState;
  readonly happenings: readonly Happening[];
  readonly confirmations: 'honest' | 'doubtful';
}): Generator<Turn> {
  let state = start;
  let nowMs = 0;
  const world: World = {
    ...{ kernelPolicy: { kind: 'lockdown' }, wanted: undefined, isWantedSettled: true, lookUps: [] },
    ...{ timer: undefined, probe: undefined, inFlight: undefined, queue: [], history: [] },
  };
  for (const happening of chosen) {
    nowMs += happening.afterMs;
    const event = eventOf(happening, { state, world, confirmations });
    if (event === undefined) continue;
    const before = state;
    const { state: after, effects } = step(before, event, { nowMs, random: happening.random });
    state = after;
    for (const effect of effects) takeUp(effect, world);
    yield { nowMs, before, event, after, effects, world };
    // The process ends, and its network namespace with it.
    if (effects.some(({ kind }) => kind === 'halt')) return;
  }
}

function eventOf(
  { what, epochOffset, choice }: Happening,
  { state, world, confirmations }: { state: TunnelState; world: World; confirmations: 'honest' | 'doubtful' },
): TunnelEvent | undefined {
  const epoch = (state.kind === 'stopping' ? 0 : state.course.epoch) + epochOffset;
  switch (what === 'all goes well' ? whatGoesWell(state, world) : what) {
    case 'kernel takes up':
      while (world.inFlight === undefined && world.queue.length > 0) {
        const policy = world.queue.shift();
        if (policy === world.wanted || policy?.kind === 'lockdown') world.inFlight = policy;
      }
      return undefined;
    case 'kernel confirms':
      return settle(world, 'policy-confirmed');
    case 'kernel refuses':
      return settle(world, 'policy-failed');
    case 'old policy confirmed': {
      const policy = world.history.at(-1 - choice);
      return confirmations === 'honest' || policy === undefined ? undefined : { kind: 'policy-confirmed', policy };
    }
    case 'strange policy confirmed':
      return confirmations === 'honest' ? undefined : { kind: 'policy-confirmed', policy: strangePolicy(choice) };
    case 'names resolved':
      return lookUp(world, {
        kind: 'resolved',
        endpoints: choice % 2 === 0 ? [endpoint(3)] : [endpoint(4), endpoint(3)],
      });
    case 'names not resolved':
      return lookUp(world, { kind: 'resolve-failed', text: 'no answer' });
    case 'held':
      return { kind: 'held', epoch };
    case 'answered':
      return { kind: 'answered', epoch };
    case 'verified':
      return { kind: 'verified', epoch };
    case 'suspected':
      return { kind: 'suspected', epoch, cause: { code: 'unreachable', text: 'no way' } };
    case 'connected':
      return { kind: 'connected', epoch, tun: tunnelLink(choice + 2) };
    case 'failed':
      return { kind: 'failed', epoch, cause: { code: causeCodes[choice] ?? 'server-silent', text: 'it failed' } };
    case 'probe answered':
      return { kind: 'probe-answered', epoch, clientPackets: choice * 3 };
    case 'armed timer': {
      const { timer } = world;
      world.timer = undefined;
      return timer && { kind: 'timer', ...timer };
    }
    case 'any timer': {
      const timer = (['retry', 'contact', 'handshake'] as const)[choice % 3] ?? 'retry';
      // A timer that is armed goes off once, like every other.
      if (timer === world.timer?.timer && epoch === world.timer.epoch) world.timer = undefined;
      return { kind: 'timer', timer, epoch };
    }
    case 'start':
      return { kind: 'start' };
    case 'stop':
      // Rare, because nothing comes after it.
      return choice === 0 && epochOffset === 0 ? { kind: 'stop' } : undefined;
    default:
      return undefined;
  }
}

const causeCodes: readonly CauseCode[] = ['server-silent', 'auth-failed', 'tun-gone', 'address-conflict'];

function settle(world: World, outcome: 'policy-confirmed' | 'policy-failed'): TunnelEvent | undefined {
  const policy = world.inFlight;
  if (policy === undefined) return undefined;
  world.inFlight = undefined;
  if (policy === world.wanted) world.isWantedSettled = true;
  world.kernelPolicy = outcome === 'policy-confirmed' ? policy : undefined;
  return outcome === 'policy-confirmed' ? { kind: outcome, policy } : { kind: outcome, policy, text: 'no room' };
}

type LookUpEvent = Extract<TunnelEvent, { kind: 'resolved' | 'resolve-failed' }>;

function lookUp(
  world: World,
  outcome: { [K in LookUpEvent['kind']]: Omit<Extract<LookUpEvent, { kind: K }>, 'epoch'> }[LookUpEvent['kind']],
): TunnelEvent | undefined {
  const epoch = world.lookUps.shift();
  return epoch === undefined ? undefined : { ...outcome, epoch };
}

/** What a tunnel that works would see next. */
function whatGoesWell(state: TunnelState, { inFlight, isWantedSettled }: World): Happening['what'] | undefined {
  if (inFlight !== undefined) return 'kernel confirms';
  if (!isWantedSettled) return 'kernel takes up';
  switch (state.kind) {
    case 'blocked':
      return 'armed timer';
    case 'resolving':
      return 'names resolved';
    case 'dialing':
      return ({ preparing: 'held', contacting: 'answered', greeting: 'verified', handshaking: 'connected' } as const)[
        state.phase
      ];
    case 'up':
      return 'probe answered';
    case 'stopping':
      return undefined;
  }
}

function takeUp(effect: TunnelEffect, world: World): void {
  switch (effect.kind) {
    case 'apply':
      world.wanted = effect.policy;
      world.isWantedSettled = false;
      world.queue.push(effect.policy);
      world.history.push(effect.policy);
      return;
    case 'resolve':
      world.lookUps.push(effect.epoch);
      return;
    case 'arm-timer':
      world.timer = { timer: effect.timer, epoch: effect.epoch };
      return;
    case 'start-probe':
      world.probe = { epoch: effect.epoch, endpoint: effect.endpoint, tun: effect.tun };
      return;
    case 'stop-probe':
      world.probe = undefined;
      return;
  }
}

/** What nobody asked for, or what was asked for with other words. */
function strangePolicy(choice: number): Policy {
  const strange: readonly Endpoint[] = [endpoint(1), endpoint(2), endpoint(99)];
  const one = strange[choice % strange.length] ?? endpoint(99);
  if (choice > 5) return { kind: 'resolve', scope: { kind: 'servers', servers: [] } };
  return choice > 3
    ? { kind: 'forward', endpoint: one, tun: tunnelLink(choice) }
    : choice > 2
      ? { kind: 'lockdown' }
      : { kind: 'dial', endpoint: one };
}
