import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  addToTally,
  type Count,
  clientsOf,
  emptyTally,
  type RefusedCounts,
  refusalsOf,
} from '../../../src/health/counts.ts';

const count = (packets: number): Count => ({ packets, bytes: packets * 60 });

function read(generation: string, packets: number): RefusedCounts {
  return {
    generation,
    rules: new Map([
      ['in-lan-reset', count(packets)],
      ['early-ipv6', count(0)],
    ]),
    clients: new Map([['172.22.0.9', { 'in-lan-reset': packets }]]),
  };
}

const passed = {
  sent: new Map([
    ['172.22.0.128', count(7)],
    ['172.22.0.20', count(1)],
  ]),
  received: new Map([['172.22.0.128', count(5)]]),
  opened: new Map([['172.22.0.128', count(2)]]),
  total: { sent: count(8), received: count(5) },
};

describe('the tally of refused packets', () => {
  it('follows the counters of one ruleset', () => {
    const tally = [read('a', 3), read('a', 5)].reduce(addToTally, emptyTally);
    assert.deepEqual(refusalsOf(tally), [{ reason: 'in-lan-reset', packets: 5, bytes: 300 }]);
  });

  it('goes on when a ruleset that was loaded anew counts from 0, also where it has counted more by now', () => {
    const tally = [read('a', 5), read('b', 0), read('b', 2), read('c', 9)].reduce(addToTally, emptyTally);
    assert.deepEqual(
      refusalsOf(tally).map(({ packets }) => packets),
      [5 + 2 + 9],
    );
    assert.deepEqual(clientsOf({ ...passed, sent: new Map(), received: new Map() }, tally), [
      {
        address: '172.22.0.9',
        sentBytes: 0,
        sentPackets: 0,
        receivedBytes: 0,
        receivedPackets: 0,
        openings: 0,
        refused: { 'in-lan-reset': 16 },
      },
    ]);
  });

  it('names every client, in the order of numbers', () => {
    const clients = clientsOf(passed, addToTally(emptyTally, read('a', 3)));
    assert.deepEqual(
      clients.map(({ address }) => address),
      ['172.22.0.9', '172.22.0.20', '172.22.0.128'],
    );
    assert.deepEqual(clients[2], {
      address: '172.22.0.128',
      sentBytes: 420,
      sentPackets: 7,
      receivedBytes: 300,
      receivedPackets: 5,
      openings: 2,
      refused: {},
    });
  });
});
