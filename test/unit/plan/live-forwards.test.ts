import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseRouterConfig } from '../../../src/config/env.ts';
import type { Ip } from '../../../src/net/address.ts';
import type { ContainerName } from '../../../src/net/container-name.ts';
import { ownPortOf, type Places, planForwards } from '../../../src/plan/live-forwards.ts';
import { addAnswer, nextQuestion, startLease } from '../../../src/port-mapping/lease.ts';
import { valueFrom } from '../config/outcome.ts';
import { ipv4, port } from '../tunnel/endpoints.ts';
import { forward } from './scenarios.ts';

const configOf = (env: Readonly<Record<string, string>>) =>
  valueFrom(parseRouterConfig({ IP_ADDR: '172.22.0.1/24', ...env })).config;
const at = (places: Readonly<Record<string, readonly string[]>>): Places =>
  new Map(Object.entries(places).map(([name, all]) => [name as ContainerName, all as readonly Ip[]]));

function leaseOf(config: ReturnType<typeof configOf>, outside: number) {
  const lease = startLease({ protocol: 'natpmp', transports: ['tcp'], inside: ownPortOf(config), wish: 0 });
  const answer = {
    kind: 'map',
    epochSeconds: 0,
    transport: 'tcp',
    inside: lease.inside,
    outside: port(outside),
    lifetimeSeconds: 60,
    address: ipv4('203.0.113.9'),
  } as const;
  return addAnswer(lease, { question: nextQuestion(lease, 0), answer, nowMs: 0 });
}

describe('the forwards at a moment', () => {
  it('lead to a name where its container is, by each family, and nowhere while it is absent', () => {
    const config = configOf({ PORT_FWD: '172.22.0.9:1 web:2-3 8080:db:80/tcp' });
    const fixed = forward({ outside: 1, target: '172.22.0.9' });
    assert.deepEqual(planForwards(config, at({}), undefined), { forwards: [fixed] });
    const places = at({ web: ['172.22.0.7', 'fd00::7'] });
    assert.deepEqual(planForwards(config, places, undefined).forwards, [
      fixed,
      forward({ outside: 2, count: 2, target: '172.22.0.7' }),
      forward({ outside: 2, count: 2, target: 'fd00::7' }),
    ]);
  });

  it('lead from the given port and from the one that the gateway was told, to the port inside', () => {
    const config = configOf({ PORT_FWD_DYNAMIC: 'natpmp:172.22.0.9:80' });
    const one = { inside: 80, target: '172.22.0.9', transports: ['tcp'] as const };
    assert.deepEqual(planForwards(config, at({}), leaseOf(config, 4_000)), {
      forwards: [forward({ ...one, outside: 4_000 }), forward({ ...one, outside: 49_152 })],
      publicAddress: '203.0.113.9',
    });
    const same = configOf({ PORT_FWD_DYNAMIC: 'natpmp:172.22.0.9:inside=same' });
    const insides = planForwards(same, at({}), leaseOf(same, 4_000)).forwards.map(({ inside }) => inside.first);
    assert.deepEqual(insides, [4_000, 4_000]);
  });

  it('leave to PORT_FWD what is its own', () => {
    const config = configOf({ PORT_FWD: 'web:4000 web:49152-49153/udp', PORT_FWD_DYNAMIC: 'natpmp:172.22.0.9:80' });
    assert.equal(ownPortOf(config), 49_154);
    const outsides = planForwards(config, at({}), leaseOf(config, 4_000)).forwards.map(({ outside }) => outside.first);
    assert.deepEqual(outsides, [49_154]);
  });

  it('open the hook where its container is, and only then', () => {
    const config = configOf({ PORT_FWD_DYNAMIC: 'natpmp:web:80', PORT_FWD_HOOK: 'http://app:81/{port}' });
    assert.equal(planForwards(config, at({}), undefined).hookAt, undefined);
    const hookAt = { address: '172.22.0.7', port: 81 };
    assert.deepEqual(planForwards(config, at({ app: ['172.22.0.7'] }), undefined).hookAt, hookAt);
  });
});
