import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type HealthReport, reportHealth, type Snapshot } from '../../../src/health/report.ts';
import { initialState, step, type TunnelEvent, type TunnelState } from '../../../src/tunnel/machine.ts';
import { endpoint, tunnelLink } from '../tunnel/endpoints.ts';
import { anySource, anyWalk, walk } from '../tunnel/walk.ts';

const server = endpoint(10);
const tun = tunnelLink(2);
const silence = { code: 'server-silent', text: '198.51.100.10:1194/udp does not answer' } as const;
const sinceMs = Date.UTC(2026, 0, 2, 3, 4, 5, 678);
const since = '2026-01-02T03:04:05.678Z';

const forwarded: TunnelEvent = { kind: 'policy-confirmed', policy: { kind: 'forward', endpoint: server, tun } };

function after(...events: readonly TunnelEvent[]): TunnelState {
  const start = initialState({ kind: 'addresses', endpoints: [server] });
  return events.reduce((state, event) => step(state, event).state, start);
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
  return events.reduce((state, event) => step(state, event).state, dialing as TunnelState);
}

function report(tunnel: TunnelState, isServing = true): HealthReport {
  return reportHealth({ tunnel, sinceMs, isServing, repairs: 3, firewall: 'nft' });
}

describe('the health report', () => {
  it('of a router that just starts says so', () => {
    assert.deepEqual(report(after(), false), {
      ...{
        healthy: false,
        ready: false,
        state: 'blocked',
        since,
        repairs: 3,
        firewall: 'nft',
        attempts: 0,
        failures: 0,
      },
      cause: { code: 'starting', text: 'the router is starting' },
    });
  });

  it('of a blocked router says why', () => {
    const state = after({ kind: 'start' }, { kind: 'failed', epoch: 1, cause: silence });
    assert.deepEqual(report(state), {
      ...{
        healthy: false,
        ready: true,
        state: 'blocked',
        since,
        repairs: 3,
        firewall: 'nft',
        attempts: 1,
        failures: 1,
        cause: silence,
      },
    });
  });

  it('of a router that dials names the server, and why the attempt before failed', () => {
    const retry: TunnelEvent = { kind: 'timer', timer: 'retry', epoch: 2 };
    assert.deepEqual(report(after({ kind: 'start' }, { kind: 'failed', epoch: 1, cause: silence }, retry)), {
      ...{
        healthy: false,
        ready: true,
        state: 'dialing',
        since,
        repairs: 3,
        firewall: 'nft',
        attempts: 2,
        failures: 1,
      },
      ...{ cause: silence, remote: '198.51.100.10:1194/udp' },
    });
  });

  it('of a router that resolves has no remote yet', () => {
    const names = initialState({ kind: 'names', scope: { kind: 'any' } });
    assert.deepEqual(report(step(names, { kind: 'start' }).state), {
      ...{
        healthy: false,
        ready: true,
        state: 'resolving',
        since,
        repairs: 3,
        firewall: 'nft',
        attempts: 0,
        failures: 0,
      },
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
      attempts: 1,
      failures: 0,
      remote: '198.51.100.10:1194/udp',
    };
    assert.deepEqual(report(connected), { ...up, healthy: false });
    const exit = { exitInterface: 'tun0', tunnelAddress: '10.8.0.2' };
    const forwarding = step(connected, forwarded).state;
    assert.deepEqual(report(forwarding), { ...up, ...exit, healthy: false });
    const proven = step(forwarding, { kind: 'probe-answered', epoch: 1 }).state;
    assert.deepEqual(report(proven), { ...up, ...exit, healthy: true });
  });

  it('of a stopping router is neither healthy nor ready', () => {
    assert.deepEqual(report(after({ kind: 'start' }, { kind: 'stop' })), {
      ...{ healthy: false, ready: false, state: 'stopping', since, repairs: 3, firewall: 'nft' },
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
    repairs: /^\d+$/,
    firewall: /^(nft|iptables-nft|iptables-legacy)$/,
  };

  it('has fields of known names and shapes, so that nothing else finds a way in', () => {
    overWalks((snapshot) => {
      const { cause, ...fields } = JSON.parse(JSON.stringify(reportHealth(snapshot)));
      if (cause !== undefined) assert.deepEqual(Object.keys(cause).sort(), ['code', 'text']);
      for (const [name, value] of Object.entries(fields)) {
        assert.match(`${value}`, known[name as keyof typeof known] ?? assert.fail(`${name} is not a known field`));
      }
    });
  });

  it('says nothing of what the server pushed, or of the profile', () => {
    overWalks((snapshot) => {
      assert.doesNotMatch(JSON.stringify(reportHealth(snapshot)), /pushedDns|peer|mtuBytes|source|scope|waiting|epoch/);
    });
  });
});

function overWalks(check: (snapshot: Snapshot) => void) {
  fc.assert(
    fc.property(anySource, anyWalk, fc.boolean(), (source, happenings, isServing) => {
      for (const { after: tunnel } of walk({ source, happenings, confirmations: 'doubtful' })) {
        check({ tunnel, sinceMs, isServing, repairs: 0, firewall: 'nft' });
      }
    }),
  );
}
