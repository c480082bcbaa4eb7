import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  addPassed,
  addRefused,
  addToTally,
  type Count,
  clientsOf,
  emptyTally,
  foldPassed,
  foldRefused,
  nothingPassed,
  nothingRefused,
  others,
  type Reading,
  type RefusedCounts,
  refusalsOf,
  sumOf,
  tellApart,
} from '../../../src/health/counts.ts';

const count = (packets: number): Count => ({ packets, bytes: packets * 60 });

function read(generation: string, packets: number): Reading<RefusedCounts> {
  return {
    generation,
    counts: {
      rules: new Map([
        ['in-lan-reset', count(packets)],
        ['early-ipv6', count(0)],
      ]),
      clients: new Map([['172.22.0.9', { 'in-lan-reset': packets }]]),
    },
  };
}

function refusedIn(...readings: readonly Reading<RefusedCounts>[]): RefusedCounts {
  const tally = readings.reduce((sum, reading) => addToTally(sum, reading, addRefused), emptyTally(nothingRefused));
  return sumOf(tally, addRefused);
}

const passed = {
  sent: new Map([
    ['172.22.0.128', count(7)],
    ['172.22.0.20', count(1)],
  ]),
  received: new Map([['172.22.0.128', count(5)]]),
  opened: new Map([['172.22.0.128', count(2)]]),
  total: { sent: count(8), received: count(5) },
  past: { sent: count(4), received: count(3) },
};

describe('the tally of refused packets', () => {
  it('follows the counters of one ruleset', () => {
    assert.deepEqual(refusalsOf(refusedIn(read('a', 3), read('a', 5))), [
      { reason: 'in-lan-reset', packets: 5, bytes: 300 },
    ]);
  });

  it('goes on when a ruleset that was loaded anew counts from 0, also where it has counted more by now', () => {
    const refused = refusedIn(read('a', 5), read('b', 0), read('b', 2), read('c', 9));
    assert.deepEqual(
      refusalsOf(refused).map(({ packets }) => packets),
      [5 + 2 + 9],
    );
    assert.deepEqual(clientsOf(nothingPassed, refused), [
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
    const clients = clientsOf(passed, refusedIn(read('a', 3)));
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

describe('the tally of what passed', () => {
  it('goes on when its table is loaded anew, each client and the whole', () => {
    const tally = ['a', 'a', 'b'].reduce(
      (sum, generation) => addToTally(sum, { generation, counts: passed }, addPassed),
      emptyTally(nothingPassed),
    );
    const { sent, total, past } = sumOf(tally, addPassed);
    assert.deepEqual([sent.get('172.22.0.128'), total.sent], [count(14), count(16)]);
    assert.deepEqual(past, { sent: count(8), received: count(6) });
  });
});

describe('clients without end', () => {
  const from = (first: number, many: number) =>
    Array.from({ length: many }, (_, index) => `10.0.${(first + index) >> 8}.${(first + index) & 255}`);

  it('are told apart up to 1,024, who stay the same whoever comes; the rest is one, the last of all', () => {
    let known = tellApart(new Set(), from(0, 700));
    known = tellApart(known, from(60_000, 10_000));
    assert.deepEqual([known.size, tellApart(known, from(5_000, 9_000))], [1_024, known]);
    const sent = new Map(from(0, 3_000).map((address) => [address, count(2)]));
    const refused = new Map(from(0, 3_000).map((address) => [address, { 'refuse-tcp': 3 }]));
    const clients = clientsOf(
      foldPassed({ ...nothingPassed, sent }, known),
      foldRefused({ rules: new Map(), clients: refused }, known),
    );
    assert.equal(clients.length, 701);
    assert.deepEqual(
      [clients[0]?.address, clients[0]?.sentPackets, clients[0]?.refused],
      ['10.0.0.0', 2, { 'refuse-tcp': 3 }],
    );
    const last = clients.at(-1);
    assert.deepEqual(
      [last?.address, last?.sentPackets, last?.refused],
      [others, 2 * 2_300, { 'refuse-tcp': 3 * 2_300 }],
    );
  });
});
