import { assertNever } from '../errors.ts';
import { isNonEmpty, type OneOrMore } from '../one-or-more.ts';
import { type Cause, silenceOf } from './cause.ts';
import { afterFailure, afterSuccess, type Course, newCourse, profileOf } from './course.ts';
import {
  authLimit,
  chooseFailback,
  type FailoverSettings,
  jittered,
  type ListedProfile,
  type Moment,
} from './failover.ts';
import type { Endpoint, Policy, TunnelLink } from './policy.ts';
import { renderEndpoint } from './policy.ts';

/**
 * One tunnel as a pure machine: (state, event, moment) → {state, effects}.
 *
 * Two promises hold in every reachable state and are tested as properties: hold is released only after the policy for
 * that very endpoint was confirmed in the kernel, and `forward` is asked for only in `up`.
 */
export type TunnelState =
  | Blocked
  | { readonly kind: 'resolving'; readonly course: Course }
  | Dialing
  | Up
  | { readonly kind: 'stopping' };

export interface Blocked {
  readonly kind: 'blocked';
  readonly course: Course;
  readonly cause: Cause;
  /** When the next attempt begins; absent before the start, and after every profile was given up. */
  readonly retryAtMs?: number;
}

export interface Dialing {
  readonly kind: 'dialing';
  readonly course: Course;
  readonly endpoint: Endpoint;
  /** What this attempt asked the kernel for; the confirmation of an earlier attempt's is not enough. */
  readonly policy: Policy;
  readonly isPolicyConfirmed: boolean;
  /** OpenVPN waits for our word. */
  readonly isHeld: boolean;
  /** `greeting`: the server has answered; `handshaking`: and its certificate was accepted. */
  readonly suspicion?: Cause;
  readonly phase: 'preparing' | 'contacting' | 'greeting' | 'handshaking';
}

export interface Up {
  readonly kind: 'up';
  readonly course: Course;
  readonly endpoint: Endpoint;
  readonly tun: TunnelLink;
  /** The kernel forwards clients. */
  readonly isForwarding: boolean;
  /** A probe came back through the tunnel. */
  readonly isProven: boolean;
  /** When this link was proven, and when clients last used it. */
  readonly provenMs: number;
  readonly busyMs: number;
}

export type TunnelEvent =
  | { readonly kind: 'start' }
  | { readonly kind: 'policy-confirmed'; readonly policy: Policy }
  | { readonly kind: 'policy-failed'; readonly policy: Policy; readonly text: string }
  | { readonly kind: 'resolved'; readonly epoch: number; readonly endpoints: OneOrMore<Endpoint> }
  | { readonly kind: 'resolve-failed'; readonly epoch: number; readonly text: string }
  | { readonly kind: 'held'; readonly epoch: number }
  | { readonly kind: 'answered'; readonly epoch: number }
  | { readonly kind: 'connected'; readonly epoch: number; readonly tun: TunnelLink }
  /** The server's certificate was accepted. */
  | { readonly kind: 'verified'; readonly epoch: number }
  /** What OpenVPN said would explain a failure, if it comes to one: a stranger's packet may be behind it. */
  | { readonly kind: 'suspected'; readonly epoch: number; readonly cause: Cause }
  /** OpenVPN gave the connection up, or its process ended. */
  | { readonly kind: 'failed'; readonly epoch: number; readonly cause: Cause }
  /** `clientPackets`: what else has come through the tunnel since the last answer. */
  | { readonly kind: 'probe-answered'; readonly epoch: number; readonly clientPackets: number }
  | { readonly kind: 'timer'; readonly timer: TimerName; readonly epoch: number }
  | { readonly kind: 'stop' };

export type TimerName = 'retry' | 'contact' | 'handshake';

export type TunnelEffect =
  | { readonly kind: 'apply'; readonly policy: Policy }
  | { readonly kind: 'resolve'; readonly epoch: number; readonly profileIndex: number }
  | { readonly kind: 'start-openvpn'; readonly epoch: number; readonly endpoint: Endpoint }
  | { readonly kind: 'release-hold'; readonly epoch: number }
  | { readonly kind: 'end-openvpn' }
  | { readonly kind: 'forget-flows' }
  | {
      readonly kind: 'start-probe';
      readonly epoch: number;
      readonly endpoint: Endpoint;
      readonly tun: TunnelLink;
    }
  | { readonly kind: 'stop-probe' }
  | { readonly kind: 'arm-timer'; readonly timer: TimerName; readonly epoch: number; readonly ms: number }
  /** The kernel does not take even the lockdown: the process must end, and its namespace with it. */
  | { readonly kind: 'halt'; readonly text: string };

export interface Step {
  readonly state: TunnelState;
  readonly effects: readonly TunnelEffect[];
}

/** Time a server has for its first answer. OpenVPN sends at 0, 1 and 3 s with `--tls-timeout 1`. */
export const contactMs = 4_000;
/** Time from the first answer to the server's certificate: a server that does not like our TLS says nothing more. */
export const greetingMs = 10_000;
/** Time from there to a configured tunnel; with 10 % loss all of it needed up to 6.1 s. */
export const handshakeMs = 20_000;

/** So few packets between two answers may be errors, strays and late answers of resolvers; more are clients at work. */
const idlePackets = 4;

/** The state before `start`. */
export function initialState(profiles: OneOrMore<ListedProfile>, settings: FailoverSettings): TunnelState {
  const course = newCourse(profiles, settings);
  return { kind: 'blocked', course, cause: { code: 'starting', text: 'the router is starting' } };
}

/** True for a tunnel that a probe has come back through. */
export function isProven(state: TunnelState): state is Up & { readonly isProven: true } {
  return state.kind === 'up' && state.isProven;
}

/** The next state, and what has to be done for it. */
export function step(state: TunnelState, event: TunnelEvent, at: Moment): Step {
  if (event.kind === 'policy-failed' && event.policy.kind === 'lockdown') {
    return { state, effects: [{ kind: 'halt', text: event.text }] };
  }
  if (state.kind === 'stopping') return stay(state);
  if (event.kind === 'stop') {
    return {
      state: { kind: 'stopping' },
      effects: [{ kind: 'apply', policy: { kind: 'lockdown' } }, { kind: 'stop-probe' }, { kind: 'end-openvpn' }],
    };
  }
  if (event.kind === 'policy-failed') {
    return block(state, { code: 'apply-failed', text: `the kernel did not take the rules: ${event.text}` }, at);
  }
  if ('epoch' in event && event.epoch !== state.course.epoch) return stay(state);
  switch (state.kind) {
    case 'blocked':
      if (event.kind === 'start') return nextAttempt(state.course);
      return event.kind === 'timer' && event.timer === 'retry' ? nextAttempt(state.course) : stay(state);
    case 'resolving':
      return whileResolving(state, event, at);
    case 'dialing':
      return whileDialing(state, event, at);
    case 'up':
      return whileUp(state, event, at);
    default:
      return assertNever(state);
  }
}

function whileResolving(state: Extract<TunnelState, { kind: 'resolving' }>, event: TunnelEvent, at: Moment): Step {
  switch (event.kind) {
    case 'policy-confirmed':
      return event.policy.kind === 'resolve' ? resolve(state) : stay(state);
    case 'resolved':
      return dial(state.course, event.endpoints);
    case 'resolve-failed':
      return block(state, { code: 'resolve-failed', text: event.text }, at);
    default:
      return stay(state);
  }
}

function whileDialing(state: Dialing, event: TunnelEvent, at: Moment): Step {
  switch (event.kind) {
    case 'policy-confirmed':
      return event.policy === state.policy ? release({ ...state, isPolicyConfirmed: true }) : stay(state);
    case 'held':
      // A second hold is OpenVPN starting over by itself; we start it anew instead.
      if (state.phase !== 'preparing') {
        return block(state, { code: 'openvpn-restarted', text: 'OpenVPN gave up the connection' }, at);
      }
      return release({ ...state, isHeld: true });
    case 'answered':
      if (state.phase !== 'contacting') return stay(state);
      return handshake({ ...state, phase: 'greeting' }, greetingMs);
    case 'verified':
      if (state.phase !== 'contacting' && state.phase !== 'greeting') return stay(state);
      return handshake({ ...state, phase: 'handshaking' }, handshakeMs);
    case 'connected': {
      if (state.phase === 'preparing') return stay(state);
      const { course, endpoint } = state;
      const { tun } = event;
      return {
        state: { kind: 'up', course, endpoint, tun, isForwarding: false, isProven: false, provenMs: 0, busyMs: 0 },
        effects: [{ kind: 'apply', policy: { kind: 'forward', endpoint, tun } }],
      };
    }
    case 'suspected':
      return state.suspicion === undefined ? stay({ ...state, suspicion: event.cause }) : stay(state);
    case 'failed':
      return block(state, event.cause, at);
    case 'timer':
      return dialTimer(state, event.timer, at);
    default:
      return stay(state);
  }
}

function handshake(state: Dialing, ms: number): Step {
  return { state, effects: [{ kind: 'arm-timer', timer: 'handshake', epoch: state.course.epoch, ms }] };
}

function dialTimer(state: Dialing, timer: TimerName, at: Moment): Step {
  if (timer === 'contact' && state.phase === 'preparing' && state.isHeld) {
    // OpenVPN is ready, and the kernel is not: ten thousand forwards take seconds. Loaded or refused, it will answer.
    const { epoch } = state.course;
    return { state, effects: [{ kind: 'arm-timer', timer: 'contact', epoch, ms: contactMs }] };
  }
  const server = renderEndpoint(state.endpoint);
  if (timer === 'contact' && (state.phase === 'preparing' || state.phase === 'contacting')) {
    const cause: Cause =
      state.phase === 'preparing'
        ? { code: 'openvpn-exited', text: 'OpenVPN did not report for work' }
        : (state.suspicion ?? silenceOf(server));
    return block(state, cause, at);
  }
  if (timer === 'handshake' && state.phase === 'greeting') {
    const text = `${server} answered, but broke off TLS before it showed its certificate`;
    return block(state, state.suspicion ?? { code: 'tls-mismatch', text }, at);
  }
  if (timer === 'handshake' && state.phase === 'handshaking') {
    const text = `${server} answered, but the handshake did not finish in ${handshakeMs / 1000} s`;
    return block(state, { code: 'handshake-timeout', text }, at);
  }
  return stay(state);
}

function whileUp(state: Up, event: TunnelEvent, at: Moment): Step {
  switch (event.kind) {
    case 'policy-confirmed':
      return event.policy.kind === 'forward' && event.policy.tun === state.tun
        ? {
            state: { ...state, isForwarding: true },
            effects: [{ kind: 'start-probe', epoch: state.course.epoch, endpoint: state.endpoint, tun: state.tun }],
          }
        : stay(state);
    case 'probe-answered':
      // One that was sent through the link before this one proves nothing of it.
      return state.isForwarding ? proven(state, event, at) : stay(state);
    case 'connected': {
      // The server changed the tunnel under us (PUSH_UPDATE, a new address): same endpoint, new link.
      const { endpoint } = state;
      const { tun } = event;
      return {
        state: { ...state, tun, isForwarding: false, isProven: false },
        effects: [{ kind: 'stop-probe' }, { kind: 'apply', policy: { kind: 'forward', endpoint, tun } }],
      };
    }
    case 'held':
      return block(state, { code: 'openvpn-restarted', text: 'OpenVPN gave up the connection' }, at);
    case 'failed':
      return block(state, event.cause, at);
    default:
      return stay(state);
  }
}

function release(state: Dialing): Step {
  // Once for each attempt: a policy that is confirmed again must not throw a handshake back to its start.
  if (!state.isPolicyConfirmed || !state.isHeld || state.phase !== 'preparing') return stay(state);
  const { epoch } = state.course;
  return {
    state: { ...state, phase: 'contacting' },
    effects: [
      { kind: 'release-hold', epoch },
      { kind: 'arm-timer', timer: 'contact', epoch, ms: contactMs },
    ],
  };
}

function resolve(state: Extract<TunnelState, { kind: 'resolving' }>): Step {
  const { epoch, profileIndex } = state.course;
  return { state, effects: [{ kind: 'resolve', epoch, profileIndex }] };
}

/** A probe came back: what failed before is forgotten, and a better profile may have its turn again. */
function proven(
  state: Up,
  { clientPackets }: Extract<TunnelEvent, { kind: 'probe-answered' }>,
  { nowMs, random }: Moment,
): Step {
  const provenMs = state.isProven ? state.provenMs : nowMs;
  const busyMs = clientPackets > idlePackets ? nowMs : state.busyMs;
  const course = afterSuccess(state.course, nowMs - provenMs);
  const { profiles, profileIndex, settings } = course;
  const { failback } = settings;
  const better = chooseFailback({ profiles, profileIndex, failback, provenMs, busyMs, nowMs });
  if (better === undefined) return stay({ ...state, isProven: true, provenMs, busyMs, course });
  return leave({
    before: state,
    course: { ...course, profileIndex: better, waiting: [] },
    cause: {
      code: 'failback',
      text: `${profiles[better]?.name} is tried again, as it stands before ${profileOf(course).name}`,
    },
    retry: { waitMs: jittered(failbackMs, { nowMs, random }), nowMs },
  });
}

/** Time to take the tunnel down in order. */
const failbackMs = 250;

function nextAttempt(course: Course): Step {
  const { source } = profileOf(course);
  if (isNonEmpty(course.waiting)) return dial(course, course.waiting);
  if (source.kind === 'addresses') return dial(course, source.endpoints);
  return {
    state: { kind: 'resolving', course },
    effects: [{ kind: 'apply', policy: { kind: 'resolve', scope: source.scope } }],
  };
}

function dial(course: Course, [endpoint, ...waiting]: OneOrMore<Endpoint>): Step {
  const epoch = course.epoch + 1;
  const policy = { kind: 'dial', endpoint } as const;
  return {
    state: {
      kind: 'dialing',
      course: { ...course, epoch, attempts: course.attempts + 1, waiting },
      endpoint,
      policy,
      isPolicyConfirmed: false,
      isHeld: false,
      phase: 'preparing',
    },
    effects: [
      { kind: 'apply', policy },
      { kind: 'start-openvpn', epoch, endpoint },
      { kind: 'arm-timer', timer: 'contact', epoch, ms: contactMs },
    ],
  };
}

/** An attempt failed: the next endpoint of the profile, or the next profile, after a wait. */
function block(before: Exclude<TunnelState, { kind: 'stopping' }>, cause: Cause, at: Moment): Step {
  const { course, waitMs } = afterFailure(before.course, cause, at);
  if (waitMs !== undefined) return leave({ before, course, cause, retry: { waitMs, nowMs: at.nowMs } });
  const end = `after ${authLimit} refused logins nothing is tried again until the router is started anew`;
  return leave({ before, course, cause: { ...cause, text: `${cause.text}; ${end}` } });
}

/** Locks down and ends what runs. */
function leave({
  before,
  course,
  cause,
  retry,
}: {
  readonly before: TunnelState;
  readonly course: Course;
  readonly cause: Cause;
  /** Absent: there is nothing left to try. */
  readonly retry?: { readonly waitMs: number; readonly nowMs: number };
}): Step {
  // A new epoch makes every event of the old process, probe and timer stale.
  const epoch = course.epoch + 1;
  const state: Blocked = { kind: 'blocked', course: { ...course, epoch }, cause };
  const effects: readonly TunnelEffect[] = [
    { kind: 'apply', policy: { kind: 'lockdown' } },
    { kind: 'stop-probe' },
    { kind: 'end-openvpn' },
    // An attempt that failed had none of clients, and what they have open past the tunnel would break.
    ...(before.kind === 'up' ? [{ kind: 'forget-flows' } as const] : []),
  ];
  if (retry === undefined) return { state, effects };
  const { waitMs, nowMs } = retry;
  return {
    state: { ...state, retryAtMs: nowMs + waitMs },
    effects: [...effects, { kind: 'arm-timer', timer: 'retry', epoch, ms: waitMs }],
  };
}

function stay(state: TunnelState): Step {
  return { state, effects: [] };
}
