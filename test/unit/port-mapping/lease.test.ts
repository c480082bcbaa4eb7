import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Port } from '../../../src/net/address.ts';
import type { Answer } from '../../../src/port-mapping/codec.ts';
import {
  addAnswer,
  addSilence,
  type Lease,
  nextQuestion,
  portOf,
  startLease,
} from '../../../src/port-mapping/lease.ts';
import { port } from '../tunnel/endpoints.ts';

const inside = port(49_152);
const fresh = (settings: Partial<Lease> = {}) =>
  startLease({ protocol: 'natpmp', transports: ['tcp', 'udp'], inside, wish: 0, ...settings });

type Gateway = (lease: Lease, nowMs: number) => Answer | undefined;

/** Gives what is wished for, or this number, for so long. */
function giving(outside: number, { seconds = 60, epochMs = 0 } = {}): Gateway {
  return (lease, nowMs) => {
    const epochSeconds = Math.floor((nowMs - epochMs) / 1_000);
    const question = nextQuestion(lease, nowMs);
    if (question.kind === 'announce') return { kind: 'announce', epochSeconds };
    const { transport } = question;
    return { kind: 'map', epochSeconds, transport, inside, outside: outside as Port | 0, lifetimeSeconds: seconds };
  };
}

function ask(lease: Lease, gateway: Gateway, nowMs: number): Lease {
  const [question, answer] = [nextQuestion(lease, nowMs), gateway(lease, nowMs)];
  return answer === undefined ? addSilence(lease, question, nowMs) : addAnswer(lease, { question, answer, nowMs });
}

const both = (lease: Lease, gateway: Gateway, nowMs: number) => ask(ask(lease, gateway, nowMs), gateway, nowMs);

describe('a lease', () => {
  it('asks for each protocol in turn, the second by the number of the first, then for signs of a restart', () => {
    const start = fresh();
    assert.deepEqual(nextQuestion(start, 0), {
      kind: 'map',
      transport: 'tcp',
      inside,
      outside: 0,
      lifetimeSeconds: 60,
    });
    const half = ask(start, giving(4_000), 0);
    const question = nextQuestion(half, 0);
    assert.ok(question.kind === 'map' && question.transport === 'udp' && question.outside === 4_000);
    const whole = ask(half, giving(4_000), 0);
    assert.deepEqual(nextQuestion(whole, 0), { kind: 'announce' });
    assert.equal(portOf(whole), 4_000);
  });

  it('is renewed at its half, by the number that it has', () => {
    const held = both(fresh(), giving(4_000, { seconds: 30 }), 0);
    assert.equal(nextQuestion(held, 14_999).kind, 'announce');
    const question = nextQuestion(held, 15_000);
    assert.ok(question.kind === 'map' && question.outside === 4_000);
  });

  it('follows a number that changes', () => {
    const held = both(fresh(), giving(4_000), 0);
    assert.equal(portOf(both(held, giving(5_000), 30_000)), 5_000);
  });

  it('holds until its end while nobody answers, and not longer', () => {
    const held = both(fresh(), giving(4_000), 0);
    assert.equal(portOf(ask(held, () => undefined, 59_999)), 4_000);
    const lost = ask(held, () => undefined, 60_000);
    assert.equal(portOf(lost), undefined);
    assert.equal(lost.problem, 'the gateway does not answer');
    const question = nextQuestion(lost, 60_000);
    assert.ok(question.kind === 'map' && question.outside === 4_000, 'the number that it had is wished for');
  });

  it('takes silence about a restart for nothing', () => {
    const held = both(fresh(), giving(4_000), 0);
    assert.equal(ask(held, () => undefined, 10_000).problem, undefined);
  });

  it('says why it is refused, until it is given', () => {
    const refusing: Gateway = () => ({ kind: 'refusal', epochSeconds: 0, reason: 'no' });
    const refused = ask(fresh(), refusing, 0);
    assert.equal(refused.problem, 'no');
    assert.equal(both(refused, giving(4_000), 1_000).problem, undefined);
  });

  for (const protocol of ['natpmp', 'pcp'] as const) {
    it(`is asked for anew when the gateway's clock began anew (${protocol})`, () => {
      const held = both(fresh({ protocol }), giving(4_000), 100_000);
      const told = ask(held, giving(4_000, { epochMs: 104_000 }), 105_000);
      assert.equal(nextQuestion(told, 105_000).kind, 'map');
      assert.equal(portOf(told), 4_000);
    });

    it(`is left alone by a clock that is a little off (${protocol})`, () => {
      const held = both(fresh({ protocol }), giving(4_000), 100_000);
      for (const epochMs of [-1_000, 1_000]) {
        const told = ask(held, giving(4_000, { epochMs }), 105_000);
        assert.equal(nextQuestion(told, 105_000).kind, 'announce');
      }
    });
  }

  it('never holds a port that was not given or is over, whatever happens', () => {
    const anyStep = fc.record({
      afterMs: fc.integer({ min: 0, max: 90_000 }),
      outside: fc.integer({ min: 0, max: 3 }),
      seconds: fc.constantFrom(0, 1, 20, 7_200, 4_294_967_295),
      what: fc.constantFrom('give', 'silence', 'refuse', 'restart'),
    });
    fc.assert(
      fc.property(fc.array(anyStep, { maxLength: 30 }), (steps) => {
        let lease = fresh();
        let nowMs = 0;
        let epochMs = 0;
        for (const { afterMs, outside, seconds, what } of steps) {
          nowMs += afterMs;
          if (what === 'restart') epochMs = nowMs;
          const refusal: Answer = { kind: 'refusal', epochSeconds: 0, reason: 'no' };
          const gateway: Gateway =
            what === 'silence'
              ? () => undefined
              : what === 'refuse'
                ? () => refusal
                : giving(outside, { seconds, epochMs });
          lease = ask(lease, gateway, nowMs);
          for (const mapping of Object.values(lease.mappings)) {
            assert.ok(mapping.outside > 0 && mapping.endsAtMs > nowMs);
            assert.ok(mapping.renewAtMs < mapping.endsAtMs && mapping.endsAtMs <= nowMs + 86_400_000);
          }
        }
      }),
    );
  });
});
