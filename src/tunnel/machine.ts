import { assertNever } from '../errors.ts';
import { backoffMs, type Cause } from './cause.ts';
import type { Endpoint, Policy, ResolverScope, TunnelLink } from './policy.ts';
import { renderEndpoint } from './policy.ts';

/**
 * One tunnel as a pure machine: (state, event) → {state, effects}.
 *
 * Two promises hold in every reachable state and are tested as properties: hold is released only after the policy for
 * that very endpoint was confirmed in the kernel, and `forward` is asked for only in `up`.
 */
export type TunnelState =
  | { readonly kind: 'blocked'; readonly course: Course; readonly cause: Cause; readonly retryMs: number }
  | { readonly kind: 'resolving'; readonly course: Course }
  | Dialing
  | Up
  | { readonly kind: 'stopping' };

export interface Dialing {
  readonly kind: 'dialing';
  readonly course: Course;
  readonly endpoint: Endpoint;
  /** What this attempt asked the kernel for; the confirmation of an earlier attempt's is not enough. */
  readonly policy: Policy;
  readonly isPolicyConfirmed: boolean;
  /** OpenVPN waits for our word. */
  readonly isHeld: boolean;
  readonly phase: 'preparing' | 'contacting' | 'handshaking';
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
}

/** Where the attempts stand. */
export interface Course {
  /** Grows with every start and end of an attempt; events that carry another one are stale. */
  readonly epoch: number;
  /** OpenVPN processes started so far. */
  readonly attempts: number;
  /** Attempts that failed since the tunnel last worked. */
  readonly failures: number;
  /** Why the last attempt failed, until a tunnel works again. */
  readonly lastCause?: Cause;
  /** Endpoints still to be tried in this round. */
  readonly waiting: readonly Endpoint[];
  readonly source: EndpointSource;
}

/** Where a round's endpoints come from: a profile of addresses, or names that are looked up before every round. */
export type EndpointSource =
  | { readonly kind: 'addresses'; readonly endpoints: OneOrMore<Endpoint> }
  | { readonly kind: 'names'; readonly scope: ResolverScope };

type OneOrMore<T> = readonly [T, ...T[]];

export type TunnelEvent =
  | { readonly kind: 'start' }
  | { readonly kind: 'policy-confirmed'; readonly policy: Policy }
  | { readonly kind: 'policy-failed'; readonly policy: Policy; readonly text: string }
  | { readonly kind: 'resolved'; readonly endpoints: OneOrMore<Endpoint> }
  | { readonly kind: 'resolve-failed'; readonly text: string }
  | { readonly kind: 'held'; readonly epoch: number }
  | { readonly kind: 'answered'; readonly epoch: number }
  | { readonly kind: 'connected'; readonly epoch: number; readonly tun: TunnelLink }
  /** OpenVPN gave the connection up, or its process ended. */
  | { readonly kind: 'failed'; readonly epoch: number; readonly cause: Cause }
  | { readonly kind: 'probe-answered'; readonly epoch: number }
  | { readonly kind: 'timer'; readonly timer: TimerName; readonly epoch: number }
  | { readonly kind: 'stop' };

export type TimerName = 'retry' | 'contact' | 'handshake';

export type TunnelEffect =
  | { readonly kind: 'apply'; readonly policy: Policy }
  | { readonly kind: 'resolve' }
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
/** Time from the first answer to a configured tunnel; 10 % loss needed up to 6.1 s. */
export const handshakeMs = 20_000;

/** The state before `start`. */
export function initialState(source: EndpointSource): TunnelState {
  const course = { epoch: 0, attempts: 0, failures: 0, waiting: [], source };
  return { kind: 'blocked', course, cause: { code: 'starting', text: 'the router is starting' }, retryMs: 0 };
}

/** The next state, and what has to be done for it. */
export function step(state: TunnelState, event: TunnelEvent): Step {
  if (state.kind === 'stopping') return stay(state);
  if (event.kind === 'stop') {
    return {
      state: { kind: 'stopping' },
      effects: [{ kind: 'apply', policy: { kind: 'lockdown' } }, { kind: 'stop-probe' }, { kind: 'end-openvpn' }],
    };
  }
  if (event.kind === 'policy-failed') return policyFailed(state, event);
  if ('epoch' in event && event.epoch !== state.course.epoch) return stay(state);
  switch (state.kind) {
    case 'blocked':
      if (event.kind === 'start') return nextAttempt(state.course);
      return event.kind === 'timer' && event.timer === 'retry' ? nextAttempt(state.course) : stay(state);
    case 'resolving':
      return whileResolving(state, event);
    case 'dialing':
      return whileDialing(state, event);
    case 'up':
      return whileUp(state, event);
    default:
      return assertNever(state);
  }
}

function policyFailed(
  state: Exclude<TunnelState, { kind: 'stopping' }>,
  { policy, text }: Extract<TunnelEvent, { kind: 'policy-failed' }>,
): Step {
  if (policy.kind === 'lockdown') return { state, effects: [{ kind: 'halt', text }] };
  return block(state.course, { code: 'apply-failed', text: `the kernel did not take the rules: ${text}` });
}

function whileResolving(state: Extract<TunnelState, { kind: 'resolving' }>, event: TunnelEvent): Step {
  switch (event.kind) {
    case 'policy-confirmed':
      return event.policy.kind === 'resolve' ? { state, effects: [{ kind: 'resolve' }] } : stay(state);
    case 'resolved':
      return dial(state.course, event.endpoints);
    case 'resolve-failed':
      return block(state.course, { code: 'resolve-failed', text: event.text });
    default:
      return stay(state);
  }
}

function whileDialing(state: Dialing, event: TunnelEvent): Step {
  switch (event.kind) {
    case 'policy-confirmed':
      return event.policy === state.policy ? release({ ...state, isPolicyConfirmed: true }) : stay(state);
    case 'held':
      // A second hold is OpenVPN starting over by itself; we start it anew instead.
      if (state.phase !== 'preparing') {
        return block(state.course, { code: 'openvpn-restarted', text: 'OpenVPN gave up the connection' });
      }
      return release({ ...state, isHeld: true });
    case 'answered':
      if (state.phase !== 'contacting') return stay(state);
      return {
        state: { ...state, phase: 'handshaking' },
        effects: [{ kind: 'arm-timer', timer: 'handshake', epoch: state.course.epoch, ms: handshakeMs }],
      };
    case 'connected': {
      if (state.phase === 'preparing') return stay(state);
      const { course, endpoint } = state;
      const { tun } = event;
      return {
        state: { kind: 'up', course, endpoint, tun, isForwarding: false, isProven: false },
        effects: [{ kind: 'apply', policy: { kind: 'forward', endpoint, tun } }],
      };
    }
    case 'failed':
      return block(state.course, event.cause);
    case 'timer':
      return dialTimer(state, event.timer);
    default:
      return stay(state);
  }
}

function dialTimer(state: Dialing, timer: TimerName): Step {
  const server = renderEndpoint(state.endpoint);
  if (timer === 'contact' && state.phase !== 'handshaking') {
    const cause: Cause =
      state.phase === 'preparing'
        ? { code: 'openvpn-exited', text: 'OpenVPN did not report for work' }
        : { code: 'server-silent', text: `${server} does not answer` };
    return block(state.course, cause);
  }
  if (timer === 'handshake' && state.phase === 'handshaking') {
    return block(state.course, {
      code: 'handshake-timeout',
      text: `${server} answered, but the handshake did not finish in ${handshakeMs / 1000} s`,
    });
  }
  return stay(state);
}

function whileUp(state: Up, event: TunnelEvent): Step {
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
      if (!state.isForwarding) return stay(state);
      return stay({ ...state, isProven: true, course: worked(state.course) });
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
      return block(state.course, { code: 'openvpn-restarted', text: 'OpenVPN gave up the connection' });
    case 'failed':
      return block(state.course, event.cause);
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

function nextAttempt(course: Course): Step {
  if (isNonEmpty(course.waiting)) return dial(course, course.waiting);
  if (course.source.kind === 'addresses') return dial(course, course.source.endpoints);
  return {
    state: { kind: 'resolving', course },
    effects: [{ kind: 'apply', policy: { kind: 'resolve', scope: course.source.scope } }],
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

function block(course: Course, cause: Cause): Step {
  const failures = course.failures + 1;
  // A new epoch makes every event of the old process, probe and timer stale.
  const epoch = course.epoch + 1;
  const retryMs = backoffMs({ code: cause.code, failures });
  return {
    state: { kind: 'blocked', course: { ...course, epoch, failures, lastCause: cause }, cause, retryMs },
    effects: [
      { kind: 'apply', policy: { kind: 'lockdown' } },
      { kind: 'stop-probe' },
      { kind: 'end-openvpn' },
      { kind: 'forget-flows' },
      { kind: 'arm-timer', timer: 'retry', epoch, ms: retryMs },
    ],
  };
}

function worked({ lastCause: _, ...course }: Course): Course {
  return { ...course, failures: 0 };
}

function stay(state: TunnelState): Step {
  return { state, effects: [] };
}

function isNonEmpty<T>(values: readonly T[]): values is OneOrMore<T> {
  return values.length > 0;
}
