import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { PlanConfig } from '../../../src/plan/context.ts';
import { planRouter } from '../../../src/plan/router.ts';
import type { Ruleset } from '../../../src/ruleset/model.ts';
import { endpoint, ipv4, tunnelLink } from '../tunnel/endpoints.ts';
import { anyContext, anyForwardPolicy } from './any-context.ts';
import { refusalOf, ruleOf, rulesOf } from './rule-paths.ts';
import { context, forward } from './scenarios.ts';

function rulesetOf(settings: Partial<PlanConfig>, pushedDns: readonly string[] = []): Ruleset {
  const tun = tunnelLink(2, { pushedDns: pushedDns.map(ipv4) });
  return planRouter(context({ policy: { kind: 'forward', endpoint: endpoint(10), tun }, settings })).ruleset;
}

function entriesOf(ruleset: Ruleset): readonly string[] {
  const maps = ruleset.tables.flatMap((table) => table.maps);
  assert.ok(maps.length <= 1);
  return (maps[0]?.entries ?? []).map(
    ({ transport, outsidePort, target, targetPort }) => `${transport} ${outsidePort} → ${target}:${targetPort}`,
  );
}

describe('port forwards', () => {
  it('are one rule and one map, whatever their number', () => {
    for (const count of [1, 10, 10_000]) {
      const forwards = Array.from({ length: count }, (_, index) =>
        forward({ outside: index + 1, transports: ['tcp'] }),
      );
      const ruleset = rulesetOf({ forwards });
      assert.equal(rulesOf(ruleset).filter(({ verdict }) => verdict?.kind === 'dnat-by-map').length, 1);
      assert.equal(entriesOf(ruleset).length, count);
      assert.equal(rulesOf(ruleset).length, rulesOf(rulesetOf({ forwards: forwards.slice(0, 1) })).length);
    }
  });

  it('are no rule and no map when there are none', () => {
    const ruleset = rulesetOf({ forwards: [] });
    assert.deepEqual(entriesOf(ruleset), []);
    assert.equal(ruleOf(ruleset, 'nat-forwards'), undefined);
  });

  it('are reached from the inside by the public address, once where it is the tunnel’s own', () => {
    const seenAs = (publicAddress: string) => {
      const settings = {
        forwards: [forward({ outside: 80 })],
        hairpin: true,
        publicAddress: ipv4(publicAddress),
      } as const;
      return ruleOf(rulesetOf(settings), 'nat-hairpin')?.when.flatMap((match) =>
        match.kind === 'destination' ? match.addresses : [],
      );
    };
    assert.deepEqual(seenAs('203.0.113.99'), ['10.8.0.2', '203.0.113.99']);
    assert.deepEqual(seenAs('10.8.0.2'), ['10.8.0.2']);
  });

  it('are taken on the address of the tunnel only', () => {
    const rule = ruleOf(rulesetOf({ forwards: [forward({ outside: 80 })] }), 'nat-forwards');
    assert.deepEqual(rule?.when, [
      { kind: 'in', names: ['tun0'] },
      { kind: 'destination', addresses: ['10.8.0.2'] },
    ]);
  });

  it('carry both protocols, or the one that was named', () => {
    assert.deepEqual(entriesOf(rulesetOf({ forwards: [forward({ outside: 4666 })] })), [
      'tcp 4666 → 172.22.0.128:4666',
      'udp 4666 → 172.22.0.128:4666',
    ]);
    assert.deepEqual(entriesOf(rulesetOf({ forwards: [forward({ outside: 53, transports: ['udp'] })] })), [
      'udp 53 → 172.22.0.128:53',
    ]);
  });

  it('shift a range by the distance of its ends, up and down', () => {
    const up = forward({ outside: 5000, inside: 15_000, count: 3, transports: ['tcp'] });
    const down = forward({ outside: 65_534, inside: 1, count: 2, transports: ['udp'], target: '172.22.0.9' });
    assert.deepEqual(entriesOf(rulesetOf({ forwards: [up, down] })), [
      'tcp 5000 → 172.22.0.128:15000',
      'tcp 5001 → 172.22.0.128:15001',
      'tcp 5002 → 172.22.0.128:15002',
      'udp 65534 → 172.22.0.9:1',
      'udp 65535 → 172.22.0.9:2',
    ]);
  });

  it('map the ports of a range one to one, first to first and last to last', () => {
    fc.assert(
      fc.property(anyContext(anyForwardPolicy), (given) => {
        const expected = given.config.forwards.flatMap(({ transports, outside, inside, target }) =>
          transports.flatMap((transport) => {
            const count = outside.last - outside.first + 1;
            return Array.from(
              { length: count },
              (_, index) => `${transport} ${outside.first + index} → ${target}:${inside.last - (count - 1 - index)}`,
            );
          }),
        );
        assert.deepEqual([...entriesOf(planRouter(given).ruleset)].sort(), expected.sort());
      }),
    );
  });
});

describe('DNS', () => {
  const two = ['9.9.9.9', '1.1.1.1'];
  const refusals = ['outbound-foreign-dns', 'outbound-foreign-dot'] as const;

  const cases = [
    { title: 'of one resolver', settings: servers('9.9.9.9'), pushed: ['10.8.0.1'], resolvers: ['9.9.9.9'] },
    { title: 'of two resolvers', settings: servers('9.9.9.9', '1.1.1.1'), pushed: [], resolvers: two },
    { title: 'of the resolver that was pushed', settings: {}, pushed: ['10.8.0.1'], resolvers: ['10.8.0.1'] },
    { title: 'of two that were pushed', settings: {}, pushed: two, resolvers: two },
    {
      title: 'of one that was pushed beside one inside the isolated network',
      settings: {},
      ...{ pushed: ['172.22.0.53', '10.8.0.1'], resolvers: ['10.8.0.1'] },
    },
  ];
  for (const { title, settings, pushed, resolvers } of cases) {
    const ruleset = rulesetOf(settings, pushed);

    it(`${title}: whatever clients ask over udp or tcp goes there`, () => {
      const rule = ruleOf(ruleset, 'nat-dns');
      assert.deepEqual(rule?.verdict, { kind: 'dnat', targets: resolvers });
      assert.deepEqual(rule.when, [
        { kind: 'in', names: ['eth1'] },
        { kind: 'transport', transports: ['tcp', 'udp'], port: { side: 'destination', number: 53 } },
      ]);
    });

    it(`${title}: plain and encrypted DNS to anybody else is refused before known flows are accepted`, () => {
      for (const id of refusals) {
        const rule = ruleOf(ruleset, id);
        assert.deepEqual(rule?.when.at(-1), { kind: 'destination', addresses: resolvers, negate: true });
        assert.deepEqual(refusalOf(ruleset, id), { kind: 'reject' });
      }
      const ids = rulesOf(ruleset).map(({ id }) => id);
      for (const id of refusals) assert.ok(ids.indexOf(id) < ids.indexOf('outbound-established'));
    });
  }

  for (const { title, pushed } of [
    { title: 'of no resolver', pushed: [] },
    { title: 'of none but a pushed one inside the isolated network', pushed: ['172.22.0.53'] },
  ]) {
    it(`${title}: it is refused whoever is asked`, () => {
      const ruleset = rulesetOf({ dns: { kind: 'pushed' } }, pushed);
      assert.equal(ruleOf(ruleset, 'nat-dns'), undefined);
      for (const id of refusals) assert.ok(ruleOf(ruleset, id)?.when.every(({ kind }) => kind === 'transport'));
    });
  }
});

describe('the segment size of clients', () => {
  const sizes = (settings: Partial<PlanConfig>) =>
    rulesOf(rulesetOf(settings)).flatMap(({ id, clampMss }) => (clampMss === undefined ? [] : [`${id} ${clampMss}`]));

  it('is clamped to the path both ways', () =>
    assert.deepEqual(sizes({}), ['outbound-mss path-mtu', 'inbound-mss path-mtu']));

  it('is the one of MSS where that is set', () => {
    assert.deepEqual(sizes({ mssBytes: 1300 }), ['outbound-mss 1300', 'inbound-mss 1300']);
  });
});

function servers(...[first = '9.9.9.9', ...others]: readonly string[]): Partial<PlanConfig> {
  return { dns: { kind: 'servers', servers: [ipv4(first), ...others.map(ipv4)] } };
}
