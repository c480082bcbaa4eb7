import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type HealthReport, reportHealth, type Snapshot } from '../../../src/health/report.ts';
import { describeHardening } from '../../../src/plan/hardening.ts';
import { hintOf } from '../../../src/tunnel/cause.ts';
import { step, type TunnelEvent, type TunnelState } from '../../../src/tunnel/machine.ts';
import { context } from '../plan/scenarios.ts';
import { endpoint, moment, startWith, tunnelLink } from '../tunnel/endpoints.ts';
import { anyStart, anyWalk, walk } from '../tunnel/walk.ts';

const server = endpoint(10);
const tun = tunnelLink(2);
const silence = { code: 'server-silent', text: '198.51.100.10:1194/udp does not answer' } as const;
const explained = { ...silence, hint: hintOf('server-silent') };
const sinceMs = Date.UTC(2026, 0, 2, 3, 4, 5, 678);
const now = { clockMs: 0, calendarMs: sinceMs };
const hardening = describeHardening(context());
const always = { sinceMs, repairs: 3, firewall: 'nft', hardening, wantsIpv6: false, now } as const;
const since = '2026-01-02T03:04:05.678Z';
const seen = { since, repairs: 3, firewall: 'nft', hardening };

const forwarded: TunnelEvent = { kind: 'policy-confirmed', policy: { kind: 'forward', endpoint: server, tun } };

function after(...events: readonly TunnelEvent[]): TunnelState {
  const start = startWith([{ kind: 'addresses', endpoints: [server] }]);
  return events.reduce((state, event) => step(state, event, moment()).state, start);
}

/** What a started attempt sees until its server has set the tunnel up. */
function connect(dialing: TunnelState): TunnelState {
  if (dialing.kind !== 'dialing') assert.fail(dialing.kind);
  const { policy, course } = dialing;
  const { epoch } = course;
  const events: readonly TunnelEvent[] = [
    { kind: 'policy-confirmed', policy },
    { kind: 'held', epoch },
    { kind: 'answered', epoch },
    { kind: 'connected', epoch, tun },
  ];
  return events.reduce((state, event) => step(state, event, moment()).state, dialing as TunnelState);
}

function report(tunnel: TunnelState, isServing = true): HealthReport {
  const { profiles: _, profile: __, ...rest } = reportHealth({ ...always, tunnel, isServing });
  return rest;
}

describe('the health report', () => {
  it('of a router that just starts says so', () => {
    assert.deepEqual(report(after(), false), {
      ...{ ...seen, healthy: false, ready: false, state: 'blocked', attempts: 0, failures: 0 },
      cause: { code: 'starting', text: 'the router is starting', hint: hintOf('starting') },
    });
  });

  it('of a blocked router says why', () => {
    const state = after({ kind: 'start' }, { kind: 'failed', epoch: 1, cause: silence });
    assert.deepEqual(report(state), {
      ...{ ...seen, healthy: false, ready: true, state: 'blocked', attempts: 1, failures: 1 },
      ...{ cause: explained, nextTry: '2026-01-02T03:04:05.928Z' },
    });
  });

  it('of a router that dials names the server, and why the attempt before failed', () => {
    const retry: TunnelEvent = { kind: 'timer', timer: 'retry', epoch: 2 };
    assert.deepEqual(report(after({ kind: 'start' }, { kind: 'failed', epoch: 1, cause: silence }, retry)), {
      ...{ ...seen, healthy: false, ready: true, state: 'dialing', attempts: 2, failures: 1 },
      ...{ cause: explained, remote: '198.51.100.10:1194/udp' },
    });
  });

  it('of a router that resolves has no remote yet', () => {
    const names = startWith([{ kind: 'names', scope: { kind: 'any' } }]);
    assert.deepEqual(report(step(names, { kind: 'start' }, moment()).state), {
      ...{ ...seen, healthy: false, ready: true, state: 'resolving', attempts: 0, failures: 0 },
    });
  });

  it('names the exit once clients are forwarded, but is healthy only with a probe that came back', () => {
    const connected = connect(after({ kind: 'start' }));
    const up = {
      ready: true,
      state: 'up',
      since,
      repairs: 3,
      firewall: 'nft',
      hardening,
      attempts: 1,
      failures: 0,
      remote: '198.51.100.10:1194/udp',
    };
    assert.deepEqual(report(connected), { ...up, healthy: false });
    const exit = { exitInterface: 'tun0', tunnelAddress: '10.8.0.2' };
    const forwarding = step(connected, forwarded, moment()).state;
    assert.deepEqual(report(forwarding), { ...up, ...exit, healthy: false });
    const proven = step(forwarding, { kind: 'probe-answered', epoch: 1, clientPackets: 0 }, moment()).state;
    assert.deepEqual(report(proven), { ...up, ...exit, healthy: true });
  });

  it('tells each profile of a list: which is tried, which cools down and until when', () => {
    const [a, b] = [endpoint(1), endpoint(2, { profileIndex: 1 })];
    const sources = [a, b].map((one) => ({ kind: 'addresses', endpoints: [one] }) as const);
    const start = startWith([sources[0] ?? assert.fail(), ...sources.slice(1)]);
    const dialing = step(start, { kind: 'start' }, moment()).state;
    const tunnel = step(dialing, { kind: 'failed', epoch: 1, cause: silence }, moment()).state;
    const { profile, profiles, nextTry } = reportHealth({ ...always, tunnel, isServing: true });
    assert.equal(profile, '2.ovpn');
    assert.equal(nextTry, '2026-01-02T03:04:05.928Z');
    assert.deepEqual(profiles, [
      { name: '1.ovpn', state: 'cooling', failures: 1, coolsUntil: '2026-01-02T03:04:35.678Z' },
      { name: '2.ovpn', state: 'trying', failures: 0 },
    ]);
  });

  it('of a stopping router is neither healthy nor ready', () => {
    assert.deepEqual(report(after({ kind: 'start' }, { kind: 'stop' })), {
      ...{ healthy: false, ready: false, state: 'stopping', since, repairs: 3, firewall: 'nft', hardening },
    });
  });

  it('is ready only while the gateway address is served', () => {
    assert.equal(report(after({ kind: 'start' }), false).ready, false);
    assert.equal(report(after({ kind: 'start' }), true).ready, true);
  });

  it('is healthy exactly when clients are forwarded and a probe has come back', () => {
    overWalks((snapshot) => {
      const { tunnel } = snapshot;
      const isProven = tunnel.kind === 'up' && tunnel.isForwarding && tunnel.isProven;
      assert.equal(reportHealth(snapshot).healthy, isProven);
    });
  });
});

describe('the body of /healthz', () => {
  const known = {
    healthy: /^(true|false)$/,
    ready: /^(true|false)$/,
    state: /^(blocked|resolving|dialing|up|stopping)$/,
    since: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
    remote: /^[\d.]+:\d+\/(udp|tcp)$/,
    exitInterface: /^tun\d$/,
    tunnelAddress: /^[\d.]+$/,
    attempts: /^\d+$/,
    failures: /^\d+$/,
    profile: /^\d\.ovpn$/,
    nextTry: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
    repairs: /^\d+$/,
    firewall: /^(nft|iptables-nft|iptables-legacy)$/,
  };

  it('has fields of known names and shapes, so that nothing else finds a way in', () => {
    overWalks((snapshot) => {
      const { cause, profiles, hardening: layers, ...fields } = JSON.parse(JSON.stringify(reportHealth(snapshot)));
      assert.deepEqual(layers, hardening);
      if (cause !== undefined) assert.deepEqual(Object.keys(cause).sort(), ['code', 'hint', 'text']);
      for (const profile of profiles ?? []) {
        assert.deepEqual(
          Object.keys(profile).filter((name) => !['name', 'state', 'failures', 'coolsUntil'].includes(name)),
          [],
        );
      }
      for (const [name, value] of Object.entries(fields)) {
        assert.match(`${value}`, known[name as keyof typeof known] ?? assert.fail(`${name} is not a known field`));
      }
    });
  });

  it('says nothing of what the server pushed, or of the profile', () => {
    overWalks((snapshot) => {
      assert.doesNotMatch(
        JSON.stringify(reportHealth(snapshot)),
        /pushedDns|peer|mtuBytes|source"|scope|waiting|epoch|restUntilMs|refusals/,
      );
    });
  });
});

function overWalks(check: (snapshot: Snapshot) => void) {
  fc.assert(
    fc.property(anyStart, anyWalk, fc.boolean(), (start, happenings, isServing) => {
      for (const { after: tunnel } of walk({ start, happenings, confirmations: 'doubtful' })) {
        check({ ...always, tunnel, isServing });
      }
    }),
  );
}
