import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { renderSubnet } from '../../../src/net/address.ts';
import { freePorts, planMasquerade } from '../../../src/plan/source-ports.ts';
import { renderTable } from '../../../src/ruleset/nft.ts';
import { ifName } from '../tunnel/endpoints.ts';
import { config, forward } from './scenarios.ts';

const span = (first: number, last: number) => ({ first, last });

describe('the source ports of clients', () => {
  it('are all from 1024 on when nothing is forwarded', () => assert.deepEqual(freePorts([]), span(1024, 65_535)));

  it('are the larger part beside a forwarded port', () => {
    assert.deepEqual(freePorts([forward({ outside: 4_666 })]), span(4_667, 65_535));
    assert.deepEqual(freePorts([forward({ outside: 60_000 })]), span(1_024, 59_999));
    assert.deepEqual(freePorts([forward({ outside: 80 })]), span(1_024, 65_535));
  });

  it('are the most in a row that nobody has, whatever is forwarded', () => {
    const anyForwards = fc.array(
      fc
        .record({ outside: fc.integer({ min: 1, max: 65_000 }), count: fc.integer({ min: 1, max: 500 }) })
        .map((one) => forward({ ...one, inside: 1 })),
      { maxLength: 12 },
    );
    fc.assert(
      fc.property(anyForwards, (forwards) => {
        const isTaken = (port: number) => forwards.some(({ outside }) => outside.first <= port && port <= outside.last);
        let longest = 0;
        let run = 0;
        for (let port = 1_024; port <= 65_535; port += 1) {
          run = isTaken(port) ? 0 : run + 1;
          longest = Math.max(longest, run);
        }
        const { first, last } = freePorts(forwards);
        assert.equal(last - first + 1, longest);
        for (let port = first; port <= last; port += 1) assert.ok(!isTaken(port));
      }),
      { numRuns: 20 },
    );
  });

  it('are those that are forwarded to a container, when it sends from them itself', () => {
    const forwards = [
      forward({ outside: 5_003, count: 2 }),
      forward({ outside: 5_000, count: 3 }),
      forward({ outside: 7_000, transports: ['udp'] }),
      forward({ outside: 8_080, inside: 80 }),
      forward({ outside: 5_001, transports: ['tcp'], target: '172.22.0.9' }),
    ];
    const rules = planMasquerade({
      forwards,
      subnet: renderSubnet(config.gateway),
      tunName: ifName('tun0'),
      suffix: '',
    });
    const text = renderTable({ family: 'ip', name: 't', maps: [], chains: [{ name: 'c', rules }] });
    assert.deepEqual(
      [...text.matchAll(/saddr (\S+) (.*) masquerade(?: to (\S+))?/g)].map(([, ...found]) => found.join(' ').trim()),
      [
        '172.22.0.128 meta l4proto { tcp, udp } th sport 5000-5004',
        '172.22.0.128 udp sport 7000',
        '172.22.0.9 tcp sport 5001',
        '172.22.0.0/24 meta l4proto { tcp, udp } :8081-65535',
      ],
    );
  });
});
