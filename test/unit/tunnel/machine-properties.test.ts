import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { backoffMs } from '../../../src/tunnel/cause.ts';
import { authLimit, steadyMs } from '../../../src/tunnel/failover.ts';
import type { TunnelEffect, TunnelEvent, TunnelState } from '../../../src/tunnel/machine.ts';
import type { Policy } from '../../../src/tunnel/policy.ts';
import { anyStart, anyWalk, type Turn, type World, walk } from './walk.ts';

type Confirmations = Parameters<typeof walk>[0]['confirmations'];

/** Checks every turn of every walk. `check` is made anew for each walk, so that it may remember. */
function always(confirmations: Confirmations, makeCheck: () => (turn: Turn) => void) {
  fc.assert(
    fc.property(anyStart, anyWalk, (start, happenings) => {
      const check = makeCheck();
      for (const turn of walk({ start, happenings, confirmations })) check(turn);
    }),
    { numRuns: 1_000 },
  );
}

const worlds = ['honest', 'doubtful'] as const;

describe('hold', () => {
  it("is released only while the kernel holds this attempt's own policy for that very endpoint", () => {
    always('honest', () => ({ effects, after, world }) => {
      if (!effects.some(({ kind }) => kind === 'release-hold')) return;
      assert.ok(after.kind === 'dialing');
      assert.deepEqual(world.kernelPolicy, { kind: 'dial', endpoint: after.endpoint });
      // The same words from an earlier attempt will not do: its change was undone in between.
      assert.equal(world.kernelPolicy, world.wanted);
      assert.equal(world.kernelPolicy, after.policy);
    });
  });

  it("is released only after the confirmation of this attempt's own apply, whoever confirms what", () => {
    always('doubtful', () => {
      let asked: { readonly policy: Policy; readonly epoch: number | undefined } | undefined;
      let isConfirmed = false;
      return ({ event, effects, after }) => {
        if (event.kind === 'policy-confirmed' && event.policy === asked?.policy) isConfirmed = true;
        for (const effect of effects) {
          if (effect.kind === 'apply') {
            asked = { policy: effect.policy, epoch: after.kind === 'stopping' ? undefined : after.course.epoch };
            isConfirmed = false;
          }
          if (effect.kind !== 'release-hold') continue;
          assert.ok(after.kind === 'dialing' && effect.epoch === after.course.epoch);
          assert.ok(isConfirmed);
          assert.equal(asked?.epoch, after.course.epoch);
          assert.deepEqual(asked.policy, { kind: 'dial', endpoint: after.endpoint });
        }
      };
    });
  });

  it('is released once for each process, and only to the one that runs and waits', () => {
    always('doubtful', () => {
      let waiting: number | undefined;
      let started: number | undefined;
      return ({ event, effects }) => {
        if (event.kind === 'held' && event.epoch === started) waiting = event.epoch;
        for (const effect of effects) {
          if (effect.kind === 'start-openvpn') started = effect.epoch;
          if (effect.kind === 'end-openvpn') started = waiting = undefined;
          if (effect.kind !== 'release-hold') continue;
          assert.equal(effect.epoch, waiting);
          waiting = started = undefined;
        }
      };
    });
  });
});

describe('every state', () => {
  for (const world of worlds) {
    it(`asks for its own policy and no other, with ${world} confirmations`, () => {
      always(world, () => ({ after, effects }) => {
        for (const policy of appliedBy(effects)) assert.deepEqual(policy, policyOf(after));
      });
    });
  }

  it('has asked for the policy that it needs, whatever was asked for before', () => {
    always('doubtful', () => ({ after, world }) => {
      if (after.kind === 'blocked' && after.course.attempts === 0 && after.course.failures === 0) return;
      assert.deepEqual(world.wanted, policyOf(after));
    });
  });

  it('waits for something that will come', () => {
    always('honest', () => ({ after, effects, world }) => {
      if (effects.some(({ kind }) => kind === 'halt')) return;
      assert.ok(hasPromise(after, world), `nothing will wake ${JSON.stringify(after)}`);
    });
  });
});

describe('clients', () => {
  it('are forwarded only as far as the kernel has confirmed for this very tunnel', () => {
    always('honest', () => ({ after, world }) => {
      if (after.kind !== 'up' || !after.isForwarding) return;
      assert.deepEqual(world.kernelPolicy, policyOf(after));
    });
  });

  it('are forwarded before a probe counts, so that none of another link proves this one', () => {
    always('doubtful', () => ({ before, event, after, effects }) => {
      if (after.kind === 'up' && after.isProven) assert.ok(after.isForwarding);
      if (event.kind !== 'probe-answered' || before.kind !== 'up' || before.isForwarding) return;
      assert.equal(after, before);
      assert.deepEqual(effects, []);
    });
  });

  it('are forwarded by the link that a probe is started for, to the server that it is told of', () => {
    always('doubtful', () => ({ after, effects }) => {
      for (const effect of effects) {
        if (effect.kind !== 'start-probe') continue;
        assert.ok(after.kind === 'up' && after.isForwarding);
        const { course, endpoint, tun } = after;
        assert.deepEqual(effect, { kind: 'start-probe', epoch: course.epoch, endpoint, tun });
      }
    });
  });

  it('lose the tunnel first when it is left, before anything else is done', () => {
    always('doubtful', () => ({ before, after, effects }) => {
      if (before.kind !== 'up' || after.kind === 'up') return;
      assert.deepEqual(effects[0], { kind: 'apply', policy: { kind: 'lockdown' } });
    });
  });

  it('get their flows forgotten after the lockdown, whenever a tunnel is lost, and at no other time', () => {
    always('doubtful', () => ({ before, after, effects }) => {
      const kinds = effects.map(({ kind }) => kind);
      if (before.kind !== 'up' || after.kind !== 'blocked') return assert.ok(!kinds.includes('forget-flows'));
      assert.ok(kinds.indexOf('forget-flows') > kinds.indexOf('apply'));
    });
  });
});

describe('an apply that fails', () => {
  it('ends in lockdown, and in a halt when it was the lockdown', () => {
    always('doubtful', () => ({ before, event, after, effects }) => {
      if (event.kind !== 'policy-failed') return;
      if (event.policy.kind === 'lockdown') {
        assert.deepEqual(effects, [{ kind: 'halt', text: event.text }]);
        return;
      }
      if (before.kind === 'stopping') return;
      assert.equal(after.kind, 'blocked');
      assert.deepEqual(effects[0], { kind: 'apply', policy: { kind: 'lockdown' } });
    });
  });

  it('is the only reason to halt', () => {
    always('doubtful', () => ({ event, effects }) => {
      if (effects.some(({ kind }) => kind === 'halt')) assert.equal(event.kind, 'policy-failed');
    });
  });
});

describe('OpenVPN', () => {
  it('runs at most once at a time, each time for a new epoch', () => {
    always('doubtful', () => {
      let isRunning = false;
      let lastEpoch = 0;
      return ({ after, effects }) => {
        for (const effect of effects) {
          if (effect.kind === 'end-openvpn') isRunning = false;
          if (effect.kind !== 'start-openvpn') continue;
          assert.ok(!isRunning && effect.epoch > lastEpoch);
          isRunning = true;
          lastEpoch = effect.epoch;
        }
        assert.equal(isRunning, after.kind === 'dialing' || after.kind === 'up');
      };
    });
  });

  it('is started for the endpoint whose policy was just asked for', () => {
    always('doubtful', () => ({ effects, world }) => {
      for (const effect of effects) {
        if (effect.kind !== 'start-openvpn') continue;
        assert.deepEqual(world.wanted, { kind: 'dial', endpoint: effect.endpoint });
      }
    });
  });
});

describe('the wait before the next attempt', () => {
  it('is never nothing and never above the cap of its cause', () => {
    always('doubtful', () => ({ nowMs, after, effects }) => {
      for (const effect of effects) {
        if (effect.kind !== 'arm-timer') continue;
        assert.ok(effect.ms > 0);
        if (effect.timer !== 'retry') continue;
        assert.ok(after.kind === 'blocked' && after.retryAtMs === nowMs + effect.ms);
        // Another profile may have to rest for longer than the one that failed.
        const caps = [after.cause.code, 'auth-failed' as const].map((code) => backoffMs({ code, failures: 1_000 }));
        const isLocked = after.course.profiles.some(({ refusals }) => refusals >= authLimit);
        assert.ok(effect.ms <= 1.25 * (isLocked ? 600_000 : Math.max(...caps)));
      }
    });
  });

  it('lies between an attempt that failed and the next one, unless somebody starts it by hand', () => {
    always('doubtful', () => ({ before, event, after }) => {
      if (before.kind !== 'blocked' || after.kind === 'blocked' || after.kind === 'stopping') return;
      assert.ok(event.kind === 'start' || (event.kind === 'timer' && event.timer === 'retry'));
    });
  });
});

describe('a list of profiles', () => {
  it('is left for an earlier profile only by a tunnel that has worked for a minute, and if it is idle, that long', () => {
    always('doubtful', () => {
      let provenMs = 0;
      let busyMs = 0;
      return ({ nowMs, before, event, after }) => {
        if (event.kind === 'probe-answered' && before.kind === 'up' && event.epoch === before.course.epoch) {
          if (!before.isProven) provenMs = nowMs;
          if (event.clientPackets > 4) busyMs = nowMs;
        }
        if (after.kind !== 'blocked' || before.kind !== 'up' || after.cause.code !== 'failback') return;
        const { settings, profileIndex } = before.course;
        assert.ok(after.course.profileIndex < profileIndex);
        assert.notEqual(settings.failback.kind, 'off');
        assert.ok(nowMs - provenMs >= steadyMs);
        if (settings.failback.kind === 'idle') assert.ok(nowMs - busyMs >= steadyMs);
        if (settings.failback.kind === 'after') assert.ok(nowMs - provenMs >= settings.failback.ms);
      };
    });
  });

  it('dials only endpoints of the profile whose turn it is', () => {
    always('honest', () => ({ after, effects }) => {
      for (const effect of effects) {
        if (effect.kind !== 'resolve') continue;
        assert.ok(after.kind === 'resolving' && effect.profileIndex === after.course.profileIndex);
      }
    });
  });

  it('never comes back to a profile that was given up', () => {
    always('doubtful', () => ({ after }) => {
      if (after.kind === 'stopping' || after.kind === 'blocked') return;
      const record = after.course.profiles[after.course.profileIndex];
      assert.equal(record?.isGivenUp, false);
    });
  });
});

describe('the course', () => {
  it('counts failures up one by one, and back to none only by a probe of a tunnel that is up', () => {
    always('doubtful', () => ({ before, event, after }) => {
      if (before.kind === 'stopping' || after.kind === 'stopping') return;
      const [was, is] = [before.course.failures, after.course.failures];
      if (is > was) assert.ok(is === was + 1 && after.kind === 'blocked');
      if (is >= was) return;
      assert.ok(is === 0 && before.kind === 'up' && event.kind === 'probe-answered');
      assert.equal(event.epoch, before.course.epoch);
    });
  });

  it('never goes back in epochs or attempts', () => {
    always('doubtful', () => ({ before, after }) => {
      if (before.kind === 'stopping' || after.kind === 'stopping') return;
      assert.ok(after.course.epoch >= before.course.epoch && after.course.attempts >= before.course.attempts);
    });
  });

  it('gets a new epoch with every attempt and every failure, so that nothing old is heard again', () => {
    always('doubtful', () => ({ before, event, after, effects }) => {
      if (before.kind === 'stopping' || after.kind === 'stopping') return;
      const isFailure =
        after.kind === 'blocked' && (before.kind !== 'blocked' || after.course.failures > before.course.failures);
      const isStart = effects.some(({ kind }) => kind === 'start-openvpn');
      if (isFailure || isStart) assert.ok(after.course.epoch > before.course.epoch, event.kind);
      else assert.equal(after.course.epoch, before.course.epoch);
    });
  });

  it('is not moved by an event of another epoch', () => {
    always('doubtful', () => ({ before, event, after, effects }) => {
      if (before.kind === 'stopping' || !('epoch' in event) || event.epoch === before.course.epoch) return;
      assert.equal(after, before);
      assert.deepEqual(effects, []);
    });
  });
});

describe('a stop', () => {
  it('locks down, ends what runs, and nothing is done after it but a halt', () => {
    always('doubtful', () => {
      let isStopped = false;
      return ({ event, after, effects }) => {
        if (isStopped) {
          assert.deepEqual(after, { kind: 'stopping' });
          assert.deepEqual(
            effects.filter(({ kind }) => kind !== 'halt'),
            [],
          );
        } else if (event.kind === 'stop') {
          isStopped = true;
          assert.deepEqual(
            effects.map(({ kind }) => kind),
            ['apply', 'stop-probe', 'end-openvpn'],
          );
          assert.deepEqual(appliedBy(effects), [{ kind: 'lockdown' }]);
        }
      };
    });
  });
});

describe('the walks', () => {
  it('get into every state, and every kind of event and effect happens', () => {
    const seen = new Set<string>();
    for (const [start, happenings] of fc.sample(fc.tuple(anyStart, anyWalk), { numRuns: 300, seed: 1 })) {
      for (const { event, after, effects } of walk({ start, happenings, confirmations: 'honest' })) {
        seen.add(after.kind).add(event.kind);
        for (const { kind } of effects) seen.add(kind);
        if (after.kind === 'up' && after.isForwarding && after.isProven) seen.add('proven');
      }
    }
    const expected: readonly (TunnelState['kind'] | TunnelEvent['kind'] | TunnelEffect['kind'] | 'proven')[] = [
      ...(['blocked', 'resolving', 'dialing', 'up', 'proven', 'stopping'] as const),
      ...([
        'start',
        'policy-confirmed',
        'policy-failed',
        'resolved',
        'resolve-failed',
        'held',
        'answered',
        'verified',
        'suspected',
      ] as const),
      ...(['connected', 'failed', 'probe-answered', 'timer', 'stop', 'apply', 'resolve', 'start-openvpn'] as const),
      ...(['release-hold', 'end-openvpn', 'forget-flows', 'start-probe', 'stop-probe', 'arm-timer', 'halt'] as const),
    ];
    assert.deepEqual([...seen].sort(), [...new Set(expected)].sort());
  });
});

function appliedBy(effects: readonly TunnelEffect[]): readonly Policy[] {
  return effects.flatMap((effect) => (effect.kind === 'apply' ? [effect.policy] : []));
}

/** The one policy that a state may ask for. */
function policyOf(state: TunnelState): Policy {
  switch (state.kind) {
    case 'blocked':
    case 'stopping':
      return { kind: 'lockdown' };
    case 'resolving': {
      const source = state.course.profiles[state.course.profileIndex]?.source;
      if (source?.kind !== 'names') assert.fail('addresses are not resolved');
      return { kind: 'resolve', scope: source.scope };
    }
    case 'dialing':
      return { kind: 'dial', endpoint: state.endpoint };
    case 'up':
      return { kind: 'forward', endpoint: state.endpoint, tun: state.tun };
  }
}

/** Something is on its way that will bring an event this state acts upon. */
function hasPromise(state: TunnelState, { timer, probe, lookUps, isWantedSettled }: Readonly<World>): boolean {
  switch (state.kind) {
    case 'blocked':
      if (state.course.profiles.every(({ isGivenUp }) => isGivenUp)) return true;
      return timer?.timer === 'retry' && timer.epoch === state.course.epoch;
    case 'resolving':
      return !isWantedSettled || lookUps.includes(state.course.epoch);
    case 'dialing': {
      const hasAnswered = state.phase === 'greeting' || state.phase === 'handshaking';
      const awaited = hasAnswered ? 'handshake' : 'contact';
      return timer?.timer === awaited && timer.epoch === state.course.epoch;
    }
    case 'up':
      if (!isWantedSettled) return true;
      return probe?.epoch === state.course.epoch && probe.endpoint === state.endpoint && probe.tun === state.tun;
    case 'stopping':
      return true;
  }
}
