import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Cause, silenceOf } from '../../../src/tunnel/cause.ts';
import { type EndpointSource, steadyMs } from '../../../src/tunnel/failover.ts';
import {
  contactMs,
  greetingMs,
  handshakeMs,
  step,
  type TunnelEffect,
  type TunnelEvent,
  type TunnelState,
} from '../../../src/tunnel/machine.ts';
import type { Policy } from '../../../src/tunnel/policy.ts';
import { endpoint, moment, startWith, tunnelLink } from './endpoints.ts';

const [first, second] = [endpoint(1), endpoint(2)];
const addresses: EndpointSource = { kind: 'addresses', endpoints: [first, second] };
const names: EndpointSource = { kind: 'names', scope: { kind: 'any' } };
const tun = tunnelLink(2);
const silence: Cause = silenceOf('198.51.100.1:1194/udp');

/**
 * Every kind of event, for an attempt's epoch and its own apply of the dial. Sub-kinds that the machine tells apart
 * stand by themselves.
 */
const events = {
  start: () => ({ kind: 'start' }),
  'lockdown confirmed': () => ({ kind: 'policy-confirmed', policy: { kind: 'lockdown' } }),
  'resolve confirmed': () => ({ kind: 'policy-confirmed', policy: { kind: 'resolve', scope: { kind: 'any' } } }),
  'dial confirmed': (_, policy) => ({ kind: 'policy-confirmed', policy }),
  'equal dial confirmed': (_, policy) => ({ kind: 'policy-confirmed', policy: { ...policy } }),
  'other dial confirmed': () => ({ kind: 'policy-confirmed', policy: { kind: 'dial', endpoint: second } }),
  'forward confirmed': () => ({ kind: 'policy-confirmed', policy: { kind: 'forward', endpoint: first, tun } }),
  'other forward confirmed': () => ({
    kind: 'policy-confirmed',
    policy: { kind: 'forward', endpoint: first, tun: tunnelLink(3) },
  }),
  'lockdown failed': () => ({ kind: 'policy-failed', policy: { kind: 'lockdown' }, text: 'no room' }),
  'dial failed': () => ({ kind: 'policy-failed', policy: { kind: 'dial', endpoint: first }, text: 'no room' }),
  resolved: (epoch) => ({ kind: 'resolved', epoch, endpoints: [first, second] }),
  'resolve-failed': (epoch) => ({ kind: 'resolve-failed', epoch, text: 'vpn.example cannot be resolved (ENOTFOUND)' }),
  held: (epoch) => ({ kind: 'held', epoch }),
  answered: (epoch) => ({ kind: 'answered', epoch }),
  verified: (epoch) => ({ kind: 'verified', epoch }),
  connected: (epoch) => ({ kind: 'connected', epoch, tun }),
  suspected: (epoch) => ({ kind: 'suspected', epoch, cause: silence }),
  failed: (epoch) => ({ kind: 'failed', epoch, cause: silence }),
  'probe-answered': (epoch) => ({ kind: 'probe-answered', epoch, clientPackets: 0 }),
  'retry timer': (epoch) => ({ kind: 'timer', timer: 'retry', epoch }),
  'contact timer': (epoch) => ({ kind: 'timer', timer: 'contact', epoch }),
  'handshake timer': (epoch) => ({ kind: 'timer', timer: 'handshake', epoch }),
  stop: () => ({ kind: 'stop' }),
} as const satisfies Record<string, (epoch: number, policy: Policy) => TunnelEvent>;

type EventName = keyof typeof events;
const eventNames = Object.keys(events) as EventName[];

const dialUp = ['start', 'held', 'dial confirmed', 'answered', 'verified', 'connected'] as const;
const course = (source: EndpointSource, ...path: readonly EventName[]) => ({ source, path });

/** Each state, by the events that lead there from the start. */
const courses = {
  'new, addresses': course(addresses),
  'new, names': course(names),
  blocked: course(addresses, 'start', 'failed'),
  resolving: course(names, 'start'),
  preparing: course(addresses, 'start'),
  'preparing, confirmed': course(addresses, 'start', 'dial confirmed'),
  'preparing, held': course(addresses, 'start', 'held'),
  contacting: course(addresses, 'start', 'dial confirmed', 'held'),
  greeting: course(addresses, 'start', 'held', 'dial confirmed', 'answered'),
  handshaking: course(addresses, 'start', 'held', 'dial confirmed', 'answered', 'verified'),
  up: course(addresses, ...dialUp),
  forwarding: course(addresses, ...dialUp, 'forward confirmed'),
  proven: course(addresses, ...dialUp, 'forward confirmed', 'probe-answered'),
  stopping: course(addresses, 'start', 'stop'),
};

type StateName = keyof typeof courses;
const stateNames = Object.keys(courses) as StateName[];

const dial = 'preparing: apply dial, start-openvpn, arm contact';
const block = 'blocked: apply lockdown, stop-probe, end-openvpn, arm retry';
const lose = 'blocked: apply lockdown, stop-probe, end-openvpn, forget-flows, arm retry';
const release = 'contacting: release-hold, arm contact';
const always = {
  'lockdown failed': 'SAME: halt',
  'dial failed': block,
  stop: 'stopping: apply lockdown, stop-probe, end-openvpn',
};
const wait = { ...always, start: dial, 'retry timer': dial };
const give = { ...always, failed: block, 'contact timer': block, suspected: 'SAME: nothing' };
const carry = { ...always, 'dial failed': lose, failed: lose, held: lose, connected: 'up: stop-probe, apply forward' };

/** State × event → next state and effects, in their order. What is not listed changes nothing and does nothing. */
const table: Readonly<Record<StateName, Partial<Record<EventName, string>>>> = {
  'new, addresses': wait,
  'new, names': { ...always, start: 'resolving: apply resolve', 'retry timer': 'resolving: apply resolve' },
  blocked: wait,
  resolving: { ...always, 'resolve confirmed': 'resolving: resolve', resolved: dial, 'resolve-failed': block },
  preparing: { ...give, 'dial confirmed': 'preparing, confirmed: nothing', held: 'preparing, held: nothing' },
  'preparing, confirmed': { ...give, held: release },
  'preparing, held': { ...give, 'dial confirmed': release, 'contact timer': 'preparing, held: arm contact' },
  contacting: {
    ...give,
    held: block,
    answered: 'greeting: arm handshake',
    verified: 'handshaking: arm handshake',
    connected: 'up: apply forward',
  },
  greeting: {
    ...always,
    suspected: 'SAME: nothing',
    failed: block,
    held: block,
    'handshake timer': block,
    verified: 'handshaking: arm handshake',
    connected: 'up: apply forward',
  },
  handshaking: {
    ...always,
    suspected: 'SAME: nothing',
    failed: block,
    held: block,
    'handshake timer': block,
    connected: 'up: apply forward',
  },
  up: { ...carry, 'forward confirmed': 'forwarding: start-probe' },
  forwarding: { ...carry, 'forward confirmed': 'forwarding: start-probe', 'probe-answered': 'proven: nothing' },
  proven: { ...carry, 'forward confirmed': 'proven: start-probe' },
  stopping: { 'lockdown failed': 'SAME: halt' },
};

describe('the tunnel machine', () => {
  for (const name of stateNames) {
    const { state } = arrive(name);
    for (const event of eventNames) {
      const expected = table[name][event]?.replace('SAME', name.replace(/^new, .*/, 'new'));
      it(`${name} × ${event} → ${expected ?? 'no change'}`, () => {
        const next = happen(state, event);
        if (expected !== undefined) return assert.equal(`${nameOf(next.state)}: ${listOf(next.effects)}`, expected);
        assert.deepEqual(next, { state, effects: [] });
      });
    }
    it(`${name} ignores events of another attempt`, () => {
      for (const event of eventNames) {
        for (const offset of [-2, -1, 1]) {
          const stale: TunnelEvent = events[event](epochOf(state) + offset, dialOf(state));
          if ('epoch' in stale) assert.deepEqual(step(state, stale, moment()), { state, effects: [] });
        }
      }
    });
  }
});

describe('an attempt', () => {
  it('gives a server its time for the first answer, and then for the handshake', () => {
    const armed = (...path: EventName[]) => reach(addresses, ...path).effects.at(-1);
    const epoch = 1;
    const contact = { kind: 'arm-timer', timer: 'contact', epoch, ms: contactMs };
    assert.deepEqual(armed('start'), contact);
    assert.deepEqual(armed('start', 'dial confirmed', 'held'), contact);
    const greeting = { kind: 'arm-timer', timer: 'handshake', epoch, ms: greetingMs };
    assert.deepEqual(armed('start', 'dial confirmed', 'held', 'answered'), greeting);
    assert.deepEqual(armed('start', 'dial confirmed', 'held', 'answered', 'verified'), {
      ...greeting,
      ms: handshakeMs,
    });
  });

  it('says what went wrong in one sentence', () => {
    const cause = (...path: EventName[]) => {
      const { state } = reach(addresses, 'start', ...path);
      return state.kind === 'blocked' ? `${state.cause.code}: ${state.cause.text}` : state.kind;
    };
    assert.equal(cause('contact timer'), 'openvpn-exited: OpenVPN did not report for work');
    assert.equal(
      cause('held', 'dial confirmed', 'contact timer'),
      'server-silent: 198.51.100.1:1194/udp does not answer: it is down, something blocks the way, or the profile has a wrong port or tls-auth or tls-crypt key',
    );
    assert.equal(
      cause('held', 'dial confirmed', 'answered', 'handshake timer'),
      'tls-mismatch: 198.51.100.1:1194/udp answered, but broke off TLS before it showed its certificate',
    );
    assert.equal(
      cause('held', 'dial confirmed', 'answered', 'verified', 'handshake timer'),
      'handshake-timeout: 198.51.100.1:1194/udp answered, but the handshake did not finish in 20 s',
    );
    assert.equal(
      cause('held', 'dial confirmed', 'answered', 'held'),
      'openvpn-restarted: OpenVPN gave up the connection',
    );
    assert.equal(cause('dial failed'), 'apply-failed: the kernel did not take the rules: no room');
  });

  it('takes what OpenVPN said for the reason, once a deadline has passed', () => {
    const suspicion: Cause = { code: 'tls-mismatch', text: 'another key' };
    const { state } = reach(addresses, 'start', 'held', 'dial confirmed');
    const suspected = step(state, { kind: 'suspected', epoch: 1, cause: suspicion }, moment());
    assert.deepEqual(suspected.effects, []);
    const { state: later } = step(suspected.state, { kind: 'suspected', epoch: 1, cause: silence }, moment());
    const { state: blocked } = happen(later, 'contact timer');
    assert.ok(blocked.kind === 'blocked');
    assert.deepEqual(blocked.cause, suspicion);
  });

  it('remembers the very policy that it asks for', () => {
    const { state, effects } = reach(addresses, 'start');
    assert.ok(state.kind === 'dialing');
    assert.deepEqual(state.policy, { kind: 'dial', endpoint: first });
    assert.equal(dialIn(effects), state.policy);
  });

  it('goes on by the confirmation of its own policy, not of an earlier attempt at the same server', () => {
    const only: EndpointSource = { kind: 'addresses', endpoints: [first] };
    const earlier = reach(only, 'start');
    const { state: failed } = happen(earlier.state, 'failed');
    const again = happen(failed, 'retry timer');
    const { state } = happen(again.state, 'held');
    assert.deepEqual(dialIn(earlier.effects), dialIn(again.effects));
    const late: TunnelEvent = { kind: 'policy-confirmed', policy: dialIn(earlier.effects) };
    assert.deepEqual(step(state, late, moment()), { state, effects: [] });
    const confirmed = step(state, { kind: 'policy-confirmed', policy: dialIn(again.effects) }, moment());
    assert.equal(`${nameOf(confirmed.state)}: ${listOf(confirmed.effects)}`, release);
  });

  it('has its tunnel probed with all that a probe has to know', () => {
    assert.deepEqual(reach(addresses, ...courses.forwarding.path).effects, [
      { kind: 'start-probe', epoch: 1, endpoint: first, tun },
    ]);
  });

  it('tries the endpoints in their order, round after round', () => {
    const tried = dialed(addresses, 'start', 'failed', 'retry timer', 'failed', 'retry timer', 'failed', 'retry timer');
    assert.deepEqual(tried, [first, second, first, second]);
  });

  it('looks names up anew for every round, not for every endpoint', () => {
    const { state } = reach(names, 'start', 'resolved', 'failed', 'retry timer', 'failed', 'retry timer');
    assert.equal(state.kind, 'resolving');
    assert.deepEqual(dialed(names, 'start', 'resolved', 'failed', 'retry timer'), [first, second]);
  });

  it('follows a loss by a dial of the next endpoint', () => {
    assert.deepEqual(dialed(addresses, ...courses.proven.path, 'failed', 'retry timer'), [first, second]);
  });
});

describe('the count of failures', () => {
  it('makes the wait grow until probes come back, and each answer halves it', () => {
    const waits: number[] = [];
    let state = reach(addresses, 'start').state;
    const fail = () => {
      const { state: blocked, effects } = happen(state, 'failed');
      waits.push(...effects.flatMap((effect) => (effect.kind === 'arm-timer' ? [effect.ms] : [])));
      state = happen(blocked, 'retry timer').state;
    };
    for (let round = 0; round < 5; round += 1) fail();
    state = prove(state);
    fail();
    state = happen(prove(state), 'probe-answered').state;
    fail();
    state = happen(prove(state), 'probe-answered', steadyMs).state;
    fail();
    assert.deepEqual(waits, [250, 500, 1_000, 1_000, 1_000, 1_000, 250, 250]);
  });

  it('is not forgotten by a mere connection', () => {
    const only: EndpointSource = { kind: 'addresses', endpoints: [first] };
    const [, ...up] = courses.forwarding.path;
    const { state } = reach(only, 'start', 'failed', 'retry timer', ...up, 'failed');
    assert.ok(state.kind === 'blocked' && state.course.failures === 2 && state.retryAtMs === 500);
  });

  it('goes with the last cause, which stays until the tunnel is proven', () => {
    const [, ...up] = courses.forwarding.path;
    let { state } = reach({ kind: 'addresses', endpoints: [first] }, 'start', 'failed', 'retry timer', ...up);
    assert.equal(state.kind === 'up' && state.course.lastCause, silence);
    state = happen(state, 'probe-answered').state;
    assert.ok(state.kind === 'up' && !('lastCause' in state.course) && state.course.failures === 0);
    assert.equal(state.course.attempts, 2);
  });
});

describe('a server that changes the tunnel while it is up', () => {
  it('gets the new link into the kernel, and a new proof', () => {
    const { state } = arrive('proven');
    const moved = tunnelLink(9);
    const next = step(state, { kind: 'connected', epoch: epochOf(state), tun: moved }, moment());
    assert.deepEqual(next.effects.at(-1), { kind: 'apply', policy: { kind: 'forward', endpoint: first, tun: moved } });
    const { state: late } = step(next.state, events['forward confirmed'](), moment());
    assert.ok(late.kind === 'up' && !late.isForwarding, 'a confirmation of the old link does not count');
  });

  it('is not proven by an answer that came before the kernel forwards by the new link', () => {
    const { state } = arrive('proven');
    const moved = tunnelLink(9);
    const changed = step(state, { kind: 'connected', epoch: epochOf(state), tun: moved }, moment()).state;
    assert.deepEqual(happen(changed, 'probe-answered'), { state: changed, effects: [] });
    const policy: Policy = { kind: 'forward', endpoint: first, tun: moved };
    const forwarding = step(changed, { kind: 'policy-confirmed', policy }, moment());
    assert.ok(forwarding.state.kind === 'up' && forwarding.state.isForwarding && !forwarding.state.isProven);
    assert.deepEqual(forwarding.effects, [{ kind: 'start-probe', epoch: epochOf(state), endpoint: first, tun: moved }]);
    const { state: proven } = happen(forwarding.state, 'probe-answered');
    assert.ok(proven.kind === 'up' && proven.isProven);
  });
});

function arrive(name: StateName) {
  const { source, path } = courses[name];
  return reach(source, ...path);
}

function reach(source: EndpointSource, ...path: readonly EventName[]) {
  return path.reduce((reached, event) => happen(reached.state, event), {
    state: startWith([source]),
    effects: [] as readonly TunnelEffect[],
  });
}

function dialed(source: EndpointSource, ...path: readonly EventName[]) {
  return path.flatMap((_, index) =>
    reach(source, ...path.slice(0, index + 1)).effects.flatMap((effect) =>
      effect.kind === 'start-openvpn' ? [effect.endpoint] : [],
    ),
  );
}

function prove(dialing: TunnelState): TunnelState {
  const path = ['held', 'dial confirmed', 'connected', 'forward confirmed', 'probe-answered'] as const;
  const proven = path.reduce((state, event) => happen(state, event).state, dialing);
  assert.equal(nameOf(proven), 'proven');
  return proven;
}

function happen(state: TunnelState, event: EventName, nowMs = 0) {
  return step(state, events[event](epochOf(state), dialOf(state)), moment(nowMs));
}

/** The very policy that an attempt asked for; where there is no attempt, one that it could have asked for. */
function dialOf(state: TunnelState): Policy {
  return state.kind === 'dialing' ? state.policy : { kind: 'dial', endpoint: first };
}

/** The dial that was asked for. */
function dialIn(effects: readonly TunnelEffect[]): Policy {
  const policies = effects.flatMap((effect) => (effect.kind === 'apply' ? [effect.policy] : []));
  const [policy, ...others] = policies.filter(({ kind }) => kind === 'dial');
  assert.ok(policy !== undefined && others.length === 0);
  return policy;
}

function epochOf(state: TunnelState): number {
  return state.kind === 'stopping' ? 1 : state.course.epoch;
}

function nameOf(state: TunnelState): string {
  switch (state.kind) {
    case 'blocked':
      return state.cause.code === 'starting' ? 'new' : 'blocked';
    case 'dialing': {
      if (state.phase !== 'preparing') return state.phase;
      return `preparing${state.isPolicyConfirmed ? ', confirmed' : ''}${state.isHeld ? ', held' : ''}`;
    }
    case 'up':
      return state.isForwarding ? (state.isProven ? 'proven' : 'forwarding') : state.isProven ? 'up, proven' : 'up';
    default:
      return state.kind;
  }
}

function listOf(effects: readonly TunnelEffect[]): string {
  const one = (effect: TunnelEffect) =>
    effect.kind === 'apply'
      ? `apply ${effect.policy.kind}`
      : effect.kind === 'arm-timer'
        ? `arm ${effect.timer}`
        : effect.kind;
  return effects.map(one).join(', ') || 'nothing';
}
