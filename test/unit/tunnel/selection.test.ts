import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type FailoverSettings, steadyMs } from '../../../src/tunnel/failover.ts';
import { contactMs, step, type TunnelEvent, type TunnelState } from '../../../src/tunnel/machine.ts';
import { chooseCarrier } from '../../../src/tunnel/selection.ts';
import { endpoint, moment, startWith, tunnelLink } from './endpoints.ts';

const tun = tunnelLink(2);
const server = endpoint(1);

/** A tunnel after these steps of a life that goes well; probes answer at `provenMs`. */
function tunnel(progress: 'dialing' | 'up' | 'proven', provenMs = 0, clientPackets = 0): TunnelState {
  const started = step(startWith([{ kind: 'addresses', endpoints: [server] }]), { kind: 'start' }, moment()).state;
  if (started.kind !== 'dialing' || progress === 'dialing') return started;
  const up: readonly TunnelEvent[] = [
    { kind: 'held', epoch: 1 },
    { kind: 'policy-confirmed', policy: started.policy },
    { kind: 'connected', epoch: 1, tun },
    { kind: 'policy-confirmed', policy: { kind: 'forward', endpoint: server, tun } },
  ];
  const proof: TunnelEvent = { kind: 'probe-answered', epoch: 1, clientPackets };
  return [...up, ...(progress === 'proven' ? [proof] : [])].reduce<TunnelState>(
    (state, event) => step(state, event, moment(provenMs)).state,
    started,
  );
}

function choose(
  tunnels: readonly TunnelState[],
  carrier: number,
  nowMs = 0,
  failback: FailoverSettings['failback'] = { kind: 'idle' },
  sinceStartMs = contactMs,
) {
  return chooseCarrier({ tunnels, carrier, failback, startMs: nowMs - sinceStartMs, nowMs });
}

describe('the tunnel that carries clients', () => {
  it('stays while it works, also when another one works too', () => {
    assert.equal(choose([tunnel('proven'), tunnel('proven')], 0), 0);
    assert.equal(choose([tunnel('proven'), tunnel('proven')], 1), 1);
  });

  it('is the first that works while the router starts, whatever FAILBACK says', () => {
    const both = [tunnel('proven'), tunnel('proven')];
    for (const kind of ['idle', 'off'] as const) {
      assert.equal(choose(both, 1, 0, { kind }, contactMs - 1), 0);
      assert.equal(choose(both, 1, 0, { kind }, contactMs), 1);
    }
    assert.equal(choose([tunnel('dialing'), tunnel('proven')], 0, 0, { kind: 'idle' }, 0), 1);
  });

  it('stays what it is while the router stops', () => {
    assert.equal(choose([{ kind: 'stopping' }, tunnel('proven')], 0), 0);
  });

  it('gives them to one that works when it is lost', () => {
    assert.equal(choose([tunnel('dialing'), tunnel('proven')], 0), 1);
    assert.equal(choose([tunnel('proven'), tunnel('dialing')], 1), 0);
    assert.equal(choose([tunnel('up'), tunnel('proven')], 0), 1);
  });

  it('is the one that is up while none is proven, and the same as before while none is up', () => {
    assert.equal(choose([tunnel('dialing'), tunnel('up')], 0), 1);
    assert.equal(choose([tunnel('up'), tunnel('up')], 1), 1);
    assert.equal(choose([tunnel('dialing'), tunnel('dialing')], 1), 1);
  });

  it('is an earlier one again when that has worked for a minute, and clients were idle as long', () => {
    const both = [tunnel('proven', 0), tunnel('proven', 0)];
    assert.equal(choose(both, 1, steadyMs - 1), 1);
    assert.equal(choose(both, 1, steadyMs), 0);
    assert.equal(choose([tunnel('proven', 5_000), tunnel('proven')], 1, steadyMs), 1);
    assert.equal(choose([tunnel('proven'), tunnel('proven', 5_000, 100)], 1, steadyMs), 1);
    assert.equal(choose(both, 1, 10 * steadyMs, { kind: 'off' }), 1);
    assert.equal(choose(both, 1, 10 * steadyMs, { kind: 'after', ms: 11 * steadyMs }), 1);
    assert.equal(choose(both, 1, 11 * steadyMs, { kind: 'after', ms: 11 * steadyMs }), 0);
  });
});
