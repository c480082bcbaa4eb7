import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type FailoverSettings, steadyMs } from '../../../src/tunnel/failover.ts';
import { contactMs, step, type TunnelEvent, type TunnelState } from '../../../src/tunnel/machine.ts';
import type { TunnelPolicy } from '../../../src/tunnel/policy.ts';
import { findRefused, newSelection, select } from '../../../src/tunnel/selection.ts';
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
  const selection = { carrier, startMs: nowMs - sinceStartMs, haveWorked: [] };
  return select({ selection, tunnels, failback, nowMs }).carrier;
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

describe('the selection', () => {
  const failback = { kind: 'off' } as const;
  const after = (selection: ReturnType<typeof newSelection>, ...tunnels: readonly TunnelState[]) =>
    select({ selection, tunnels, failback, nowMs: 1_000 });

  it('goes by the order no longer once a tunnel that worked is lost, until it begins anew', () => {
    const lost = after(
      after(newSelection(0), tunnel('proven'), tunnel('dialing')),
      tunnel('dialing'),
      tunnel('proven'),
    );
    assert.equal(lost.carrier, 1);
    assert.equal(after(lost, tunnel('proven'), tunnel('proven')).carrier, 1);
    const anew = after(newSelection(0), tunnel('dialing'), tunnel('proven'));
    assert.equal(anew.carrier, 1);
    assert.equal(after(anew, tunnel('proven'), tunnel('proven')).carrier, 0);
  });
});

describe('a policy that the kernel refuses', () => {
  const lockdown: TunnelPolicy = { kind: 'lockdown' };
  const dial: TunnelPolicy = { kind: 'dial', endpoint: server };
  const forward: TunnelPolicy = { kind: 'forward', endpoint: server, tun };
  const other: TunnelPolicy = { kind: 'forward', endpoint: endpoint(2), tun };

  it('is told to the tunnel that asked for it', () => {
    assert.deepEqual(findRefused({ parts: [forward], wanted: [forward], confirmed: [dial] }), [0]);
  });

  it('is told to nobody who wants something else by now', () => {
    assert.deepEqual(findRefused({ parts: [dial], wanted: [forward], confirmed: [dial] }), []);
    assert.deepEqual(findRefused({ parts: [dial, other], wanted: [forward, other], confirmed: [dial, dial] }), [1]);
  });

  it('is no matter of a tunnel whose part the kernel has held, while another part is new', () => {
    assert.deepEqual(
      findRefused({ parts: [forward, dial], wanted: [forward, dial], confirmed: [forward, other] }),
      [1],
    );
    const both = { parts: [forward, other], wanted: [forward, other], confirmed: [forward, other] };
    assert.deepEqual(findRefused(both), [0, 1]);
  });

  it('shuts the tunnel that is open when it was the lockdown of the other, and is the end when it was that of both', () => {
    const lost = { parts: [lockdown, other], wanted: [lockdown, other], confirmed: [forward, other] };
    assert.deepEqual(findRefused(lost), [1]);
    assert.deepEqual(findRefused({ parts: [lockdown, lockdown], wanted: [dial, lockdown], confirmed: [] }), [0, 1]);
  });
});
