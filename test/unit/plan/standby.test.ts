import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { IfName, Ipv4 } from '../../../src/net/address.ts';
import { tableIds } from '../../../src/plan/lockdown.ts';
import type { Plan } from '../../../src/plan/plan.ts';
import { planRouter } from '../../../src/plan/router.ts';
import type { Policy } from '../../../src/tunnel/policy.ts';
import { anyClosedPolicy, anyContext, anyForwardPolicy } from './any-context.ts';

const anyPolicy: fc.Arbitrary<Policy> = fc.oneof(anyClosedPolicy, anyForwardPolicy);
const standbyTunName = 'tun1' as IfName;

/** The same router with a tunnel that stands by, and without what that asks for. */
function withStandby(
  check: (plans: { readonly alone: Plan; readonly beside: Plan; readonly standby: Policy }) => void,
) {
  fc.assert(
    fc.property(anyContext(anyPolicy), anyPolicy, (context, other) => {
      const standby: Policy =
        other.kind === 'forward' ? { ...other, tun: { ...other.tun, name: standbyTunName } } : other;
      const facts = { ...context.facts, standbyTunName };
      const alone = planRouter({ ...context, facts });
      const beside = planRouter({ ...context, facts, policy: { ...context.policy, standby } });
      check({ alone, beside, standby });
    }),
  );
}

const chainsOf = ({ ruleset }: Plan, names: readonly string[]) =>
  ruleset.tables.flatMap(({ chains }) => chains).filter(({ name }) => names.includes(name));

describe('a tunnel that stands by', () => {
  it('changes nothing of what clients may do, and nothing of what is translated', () => {
    withStandby(({ alone, beside }) => {
      const names = ['refuse', 'forward', 'outbound', 'inbound', 'prerouting', 'postrouting', 'last'];
      assert.deepEqual(chainsOf(beside, names), chainsOf(alone, names));
    });
  });

  it('changes no route of clients', () => {
    withStandby(({ alone, beside }) => {
      const ofClients = ({ routes }: Plan) =>
        routes.filter(({ table }) => table === tableIds.clients || table === tableIds.tunnel);
      assert.deepEqual(ofClients(beside), ofClients(alone));
    });
  });

  it('opens its own server for OpenVPN only, and its own probe', () => {
    withStandby(({ alone, beside, standby }) => {
      const before = chainsOf(alone, ['output']).flatMap(({ rules }) => rules);
      const added = chainsOf(beside, ['output'])
        .flatMap(({ rules }) => rules)
        .filter(({ when }) => !before.some((rule) => JSON.stringify(rule.when) === JSON.stringify(when)));
      for (const { when } of added) {
        const isUser = when.some(({ kind }) => kind === 'socket-uid');
        const isTunnel = when.some((match) => match.kind === 'out' && match.names.includes(standbyTunName));
        assert.ok(isUser || isTunnel || standby.kind === 'resolve', JSON.stringify(when));
      }
    });
  });

  it('names no destination twice by devices, nor the same place twice at all', () => {
    withStandby(({ beside }) => {
      const places = beside.routes.map(({ table, destination, via }) => `${table} ${destination} ${via.kind}`);
      assert.equal(new Set(places).size, places.length, places.join('; '));
    });
  });

  it('has a way to its server that stays shut when the uplink is gone', () => {
    withStandby(({ beside, standby }) => {
      if (beside.tun.link === undefined || standby.kind !== 'dial') return;
      const { address } = standby.endpoint;
      assert.ok(beside.routes.some(({ destination, via }) => destination === address && via.kind === 'unreachable'));
    });
  });

  it('has its address on its own device, and packets of no other address in it', () => {
    withStandby(({ beside, standby }) => {
      const link = standby.kind === 'forward' ? standby.tun : undefined;
      assert.equal(beside.standbyTun?.name, standbyTunName);
      assert.equal(beside.standbyTun?.link?.address, link?.address as Ipv4 | undefined);
    });
  });
});
