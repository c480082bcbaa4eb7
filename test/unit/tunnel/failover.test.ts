import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { authLimit, type EndpointSource, type FailoverSettings } from '../../../src/tunnel/failover.ts';
import { endpoint, startWith } from './endpoints.ts';
import { type Behaviour, seeded, simulate } from './simulation.ts';

const [a, b, c] = ['198.51.100.1', '198.51.100.2', '198.51.100.3'];
const minuteMs = 60_000;
const hourMs = 60 * minuteMs;

/** One profile for each, with these servers. */
function profiles(...servers: readonly (readonly number[])[]): readonly [EndpointSource, ...EndpointSource[]] {
  const sources = servers.map((lasts, profileIndex): EndpointSource => {
    const [first, ...others] = lasts.map((last, remoteIndex) => endpoint(last, { profileIndex, remoteIndex }));
    if (first === undefined) throw new TypeError('a profile has a server');
    return { kind: 'addresses', endpoints: [first, ...others] };
  });
  const [first, ...others] = sources;
  if (first === undefined) throw new TypeError('there is a profile');
  return [first, ...others];
}

function run({
  sources,
  forMs,
  behaviour,
  clientPackets,
  ...settings
}: {
  readonly sources: readonly [EndpointSource, ...EndpointSource[]];
  readonly forMs: number;
  readonly behaviour: (server: string, atMs: number) => Behaviour;
  readonly clientPackets?: (atMs: number) => number;
} & Partial<FailoverSettings>) {
  const start = startWith(sources, settings);
  return simulate({
    start,
    forMs,
    behaviour,
    random: seeded(7),
    ...(clientPackets === undefined ? {} : { clientPackets }),
  });
}

const serversOf = (attempts: readonly { readonly server: string }[]) => attempts.map(({ server }) => server);

describe('a list of profiles', () => {
  it('is tried in its order, each with all its servers, until one works', () => {
    const { attempts, carried } = run({
      sources: profiles([1, 2], [3]),
      forMs: minuteMs,
      behaviour: (server) => (server === c ? 'well' : 'silent'),
    });
    assert.deepEqual(serversOf(attempts), [a, b, c]);
    assert.equal(carried.length, 1);
  });

  it('is gone through in turn while nothing answers, with a wait before every attempt', () => {
    const { attempts } = run({ sources: profiles([1], [2], [3]), forMs: 5 * minuteMs, behaviour: () => 'silent' });
    assert.deepEqual(serversOf(attempts.slice(0, 9)), [a, b, c, a, b, c, a, b, c]);
    // Four seconds of silence, and at most a second and a quarter of waiting.
    assert.ok(attempts.length >= 300 / 5.3 && attempts.length <= 300 / 4.1, `${attempts.length}`);
  });

  it('moves on at once from a profile whose login is refused, and rests that one', () => {
    const { attempts } = run({
      sources: profiles([1, 2], [3]),
      forMs: minuteMs,
      behaviour: (server) => (server === c ? 'well' : 'refuses login'),
    });
    assert.deepEqual(serversOf(attempts), [a, c]);
    assert.ok((attempts[1]?.atMs ?? 0) < 1_000);
  });

  it('comes back to the first profile when it is well and clients are idle', () => {
    const { carried, attempts } = run({
      sources: profiles([1], [2]),
      forMs: 10 * minuteMs,
      behaviour: (server, atMs) => (server === a && atMs < 3 * minuteMs ? 'silent' : 'well'),
    });
    assert.equal(carried.at(0)?.server, b);
    assert.equal(carried.at(-1)?.server, a);
    assert.ok((carried.at(-1)?.fromMs ?? 0) < 5 * minuteMs, JSON.stringify(carried));
    for (const { server, fromMs, untilMs } of carried.filter(({ server }) => server === b)) {
      assert.ok(untilMs - fromMs >= minuteMs, `${server} was left after ${untilMs - fromMs} ms`);
    }
    assert.ok(attempts.length < 10);
  });

  it('stays with a later profile for as long as clients use it, unless a time is set', () => {
    const options = {
      sources: profiles([1], [2]),
      forMs: hourMs,
      behaviour: (server: string, atMs: number): Behaviour => (server === a && atMs < minuteMs ? 'silent' : 'well'),
      clientPackets: () => 100,
    };
    const carriersOf = (failback: FailoverSettings['failback']) => run({ ...options, failback }).carried;
    assert.deepEqual(serversOf(carriersOf({ kind: 'idle' })), [b]);
    assert.deepEqual(serversOf(carriersOf({ kind: 'off' })), [b]);
    const timed = carriersOf({ kind: 'after', ms: 20 * minuteMs });
    assert.deepEqual(serversOf(timed), [b, a]);
    assert.ok((timed[0]?.untilMs ?? 0) >= 20 * minuteMs);
  });

  it('asks less and less often whether a dead first profile is well', () => {
    const { attempts } = run({
      sources: profiles([1], [2]),
      forMs: 24 * hourMs,
      behaviour: (server) => (server === a ? 'silent' : 'well'),
    });
    const asked = attempts.filter(({ server }) => server === a).length;
    // Once in a quarter of an hour and less, after the first few.
    assert.ok(asked > 60 && asked < 110, `${asked}`);
  });
});

describe('refused logins', () => {
  const refused = { sources: profiles([1]), forMs: 24 * hourMs, behaviour: (): Behaviour => 'refuses login' };

  it('are tried again every ten minutes after the first five', () => {
    const { attempts } = run(refused);
    assert.ok(attempts.length >= authLimit + 110 && attempts.length <= authLimit + 195, `${attempts.length}`);
  });

  it('end every attempt after five where the user wants that, and say so', () => {
    const { attempts, state } = run({ ...refused, authRetry: 'stop' });
    assert.equal(attempts.length, authLimit);
    assert.ok(state.kind === 'blocked' && state.retryAtMs === undefined);
    assert.match(state.cause.text, /nothing is tried again until the router is started anew/);
  });

  it('end one profile and not the others', () => {
    const { attempts, state } = run({
      sources: profiles([1], [2]),
      forMs: hourMs,
      behaviour: (server) => (server === a ? 'refuses login' : 'silent'),
      authRetry: 'stop',
    });
    assert.equal(serversOf(attempts).filter((server) => server === a).length, authLimit);
    assert.ok(serversOf(attempts).filter((server) => server === b).length > 500);
    assert.notEqual(state.kind, 'stopping');
  });
});

describe('24 hours of a flapping server', () => {
  for (const [name, down] of [
    ['goes silent', 'silent'],
    ['says goodbye', 'says goodbye'],
  ] as const) {
    it(`that ${name} every 20 seconds take a bounded number of attempts, and the last is like the first`, () => {
      const { attempts, steps, state } = run({
        sources: profiles([1]),
        forMs: 24 * hourMs,
        behaviour: (_, atMs) => (atMs % 20_000 < 10_000 ? 'well' : down),
      });
      // Never more than one in 750 ms on average of an hour, and as many in the last hour as in the second.
      const inHour = (hour: number) => attempts.filter(({ atMs }) => Math.floor(atMs / hourMs) === hour).length;
      assert.ok(attempts.length < (24 * hourMs) / 1_300, `${attempts.length} attempts`);
      assert.ok(Math.abs(inHour(23) - inHour(1)) <= 0.05 * inHour(1) + 2, `${inHour(1)} then ${inHour(23)}`);
      assert.ok(steps < 24 * hourMs);
      assert.ok(JSON.stringify(state).length < 2_000, 'the state does not grow');
      const gaps = attempts.slice(1).map(({ atMs }, index) => atMs - (attempts[index]?.atMs ?? 0));
      assert.ok(Math.min(...gaps) >= 187, `${Math.min(...gaps)} ms between two attempts`);
    });
  }
});
