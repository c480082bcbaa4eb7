import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Fault } from '../../../src/errors.ts';
import { contains, overlaps, renderCidr } from '../../../src/net/address.ts';
import { findInterfaces, type SeenDefault, type SeenInterface } from '../../../src/plan/interfaces.ts';
import { cidr, faultsOf, problemOf, valueFrom } from '../config/outcome.ts';
import { ipv4 } from '../tunnel/endpoints.ts';

const isolated: SeenInterface = { name: 'eth0', ipv4: ['172.22.0.3/24'] };
const uplink: SeenInterface = { name: 'eth1', ipv4: ['203.0.113.7/24'] };
const uplinkDefault: SeenDefault = { device: 'eth1', gateway: '203.0.113.1' };
/** What Docker gives the router when the isolated network comes first by name: a route to the router itself. */
const defaultThroughItself: SeenDefault = { device: 'eth0', gateway: '172.22.0.1' };

function find({
  interfaces = [isolated, uplink],
  defaults = [uplinkDefault],
  gateway = '172.22.0.1/24',
  uplinkGateway,
}: {
  readonly interfaces?: readonly SeenInterface[];
  readonly defaults?: readonly SeenDefault[];
  readonly gateway?: string;
  readonly uplinkGateway?: string;
} = {}) {
  return findInterfaces({
    gateway: cidr(gateway),
    interfaces,
    defaults,
    uplinkGateway: uplinkGateway === undefined ? undefined : ipv4(uplinkGateway),
  });
}

function foundBy(given: Parameters<typeof find>[0]): string {
  const { lan, uplink, gateways } = valueFrom(find(given));
  return `${lan.name} | ${uplink.name} ${uplink.cidr === undefined ? '' : renderCidr(uplink.cidr)} by ${gateways.join(' or ')}`;
}

function faultOf(given: Parameters<typeof find>[0]): Fault {
  const [fault, ...others] = faultsOf(find(given));
  assert.ok(fault !== undefined && others.length === 0);
  return fault;
}

describe('the isolated network', () => {
  it('is not the one that holds the gateway address alone, unless no other is in its subnet', () => {
    const strayed = { ...uplink, ipv4: ['203.0.113.7/24', '172.22.0.1/24'] };
    const found = 'eth0 | eth1 203.0.113.7/24 by 203.0.113.1';
    assert.equal(foundBy({ interfaces: [isolated, strayed] }), found);
    assert.equal(foundBy({ interfaces: [{ ...isolated, ipv4: ['172.22.0.1/24'] }, uplink] }), found);
  });

  it('is the one that IP_ADDR is in, whatever the names and the order', () => {
    const names = fc.uniqueArray(fc.stringMatching(/^[a-z][a-z0-9-]{0,14}$/), { minLength: 2, maxLength: 2 });
    fc.assert(
      fc.property(names, fc.boolean(), fc.boolean(), ([lan = '', wan = ''], isLanFirst, isDefaultOurs) => {
        const inOrder = [
          { ...isolated, name: lan },
          { ...uplink, name: wan },
        ];
        const found = foundBy({
          interfaces: isLanFirst ? inOrder : inOrder.toReversed(),
          defaults: [{ ...(isDefaultOurs ? defaultThroughItself : uplinkDefault), device: isDefaultOurs ? lan : wan }],
        });
        const gateways = isDefaultOurs ? '203.0.113.1 or 203.0.113.254' : '203.0.113.1';
        assert.equal(found, `${lan} | ${wan} 203.0.113.7/24 by ${gateways}`);
      }),
    );
  });

  it('is found when the router holds the gateway address already', () => {
    const claimed = { name: 'eth0', ipv4: ['172.22.0.3/24', '172.22.0.1/24'] };
    assert.equal(foundBy({ interfaces: [claimed, uplink] }), 'eth0 | eth1 203.0.113.7/24 by 203.0.113.1');
  });

  it('may not lie inside the subnet of the uplink', () => {
    const wide = { name: 'eth1', ipv4: ['172.22.128.9/16'] };
    for (const defaults of [[{ device: 'eth1', gateway: '172.22.255.254' }], []]) {
      assert.deepEqual(faultOf({ interfaces: [isolated, wide], defaults }), {
        name: 'IP_ADDR',
        value: '172.22.0.1/24',
        problem: 'the isolated network and the uplink eth1 172.22.128.9/16 share addresses',
        hint: 'give one of the two networks another subnet',
      });
    }
    const fault = faultOf({ interfaces: [isolated, wide], uplinkGateway: '172.22.255.254' });
    assert.equal(fault.problem, 'the isolated network and the uplink eth1 172.22.128.9/16 share addresses');
  });

  it('may lie beside the subnet of the uplink', () => {
    const next = { name: 'eth1', ipv4: ['172.22.1.9/24'] };
    assert.equal(
      foundBy({ interfaces: [isolated, next], defaults: [] }),
      'eth0 | eth1 172.22.1.9/24 by 172.22.1.1 or 172.22.1.254',
    );
  });

  it('never shares an address with the uplink that was found', () => {
    fc.assert(
      fc.property(fc.ipV4(), fc.integer({ min: 1, max: 30 }), (address, prefixBits) => {
        const text = `${address}/${prefixBits}`;
        const found = find({ interfaces: [isolated, { name: 'eth1', ipv4: [text] }], defaults: [] });
        if (found.kind === 'ok') assert.ok(!overlaps(found.value.uplink.cidr ?? assert.fail(), cidr('172.22.0.1/24')));
        else assert.ok(overlaps(cidr(text), cidr('172.22.0.1/24')));
      }),
    );
  });

  it('has the size that IP_ADDR says', () => {
    for (const prefixBits of [8, 16, 23, 25, 28, 30]) {
      assert.deepEqual(faultOf({ gateway: `172.22.0.1/${prefixBits}` }), {
        name: 'IP_ADDR',
        value: `172.22.0.1/${prefixBits}`,
        problem: 'the isolated network is 172.22.0.0/24, a subnet of another size',
        hint: 'use a free address of 172.22.0.0/24, with its prefix length',
      });
    }
  });

  it('has the size of the address that is in it, whatever else its interface has', () => {
    const interfaces = [{ name: 'eth0', ipv4: ['192.0.2.3/28', '172.22.0.3/24'] }, uplink];
    assert.equal(foundBy({ interfaces }), 'eth0 | eth1 203.0.113.7/24 by 203.0.113.1');
    assert.equal(
      faultOf({ interfaces, gateway: '172.22.0.1/28' }).hint,
      'use a free address of 172.22.0.0/24, with its prefix length',
    );
  });

  it('is missing when no interface is in the subnet, and all that were seen are listed', () => {
    const { name, value, problem } = faultOf({ gateway: '10.0.0.1/24' });
    assert.deepEqual([name, value], ['IP_ADDR', '10.0.0.1/24']);
    assert.equal(
      problem,
      'no interface of this container is in 10.0.0.0/24 (interfaces: eth0 172.22.0.3/24, eth1 203.0.113.7/24)',
    );
  });

  it('is missing when there is no interface at all', () => {
    assert.match(problemOf(find({ interfaces: [] })), /\(interfaces: none\)$/);
  });

  it('is ambiguous when the subnet of IP_ADDR holds two interfaces', () => {
    const inside = { name: 'eth1', ipv4: ['172.22.5.3/24'] };
    const fault = faultOf({ interfaces: [isolated, inside], gateway: '172.22.0.1/16' });
    assert.equal(fault.name, 'IP_ADDR');
    assert.match(fault.problem, /^more than one interface is in 172\.22\.0\.0\/16/);
  });
});

describe('the uplink', () => {
  it('is the other interface even when Docker put the default route on the isolated network', () => {
    assert.equal(
      foundBy({ defaults: [defaultThroughItself] }),
      'eth0 | eth1 203.0.113.7/24 by 203.0.113.1 or 203.0.113.254',
    );
  });

  it('is the one with a default route when there are several others', () => {
    const other = { name: 'eth2', ipv4: ['192.0.2.7/24'] };
    const interfaces = [isolated, other, uplink];
    assert.equal(foundBy({ interfaces }), 'eth0 | eth1 203.0.113.7/24 by 203.0.113.1');
    const both = [defaultThroughItself, uplinkDefault];
    assert.equal(foundBy({ interfaces, defaults: both }), 'eth0 | eth1 203.0.113.7/24 by 203.0.113.1');
  });

  it('is asked for when several others have a default route, or none', () => {
    const other = { name: 'eth2', ipv4: ['192.0.2.7/24'] };
    const interfaces = [isolated, uplink, other];
    const two = [uplinkDefault, { device: 'eth2', gateway: '192.0.2.1' }];
    for (const defaults of [two, [], [defaultThroughItself]]) {
      const { name, problem } = faultOf({ interfaces, defaults });
      assert.equal(name, 'UPLINK_GATEWAY');
      assert.match(problem, /^more than one interface could be the uplink .*eth1 203\.0\.113\.7\/24, eth2/);
    }
  });

  it('is the one that UPLINK_GATEWAY is in, whatever the default routes', () => {
    const other = { name: 'eth2', ipv4: ['192.0.2.7/24'] };
    const interfaces = [isolated, uplink, other];
    for (const defaults of [[], [uplinkDefault], [defaultThroughItself]]) {
      const found = foundBy({ interfaces, defaults, uplinkGateway: '192.0.2.99' });
      assert.equal(found, 'eth0 | eth2 192.0.2.7/24 by 192.0.2.99');
    }
  });

  it('is not found by an UPLINK_GATEWAY of nobody, or of the isolated network', () => {
    for (const uplinkGateway of ['198.51.100.1', '172.22.0.9']) {
      const { name, value, problem } = faultOf({ uplinkGateway });
      assert.deepEqual([name, value], ['UPLINK_GATEWAY', uplinkGateway]);
      assert.match(problem, /^no interface besides the isolated network's is in its subnet/);
    }
  });

  it('is missing when the isolated network is the only one', () => {
    for (const defaults of [[], [defaultThroughItself]]) {
      const { name, problem, hint } = faultOf({ interfaces: [isolated], defaults });
      assert.equal(name, 'networks');
      assert.match(problem, /^there is no uplink: the isolated network is the only one/);
      assert.match(hint, /^attach the router to a second network/);
    }
  });

  it('is not an interface without an IPv4 address', () => {
    const bare = { name: 'eth2', ipv4: [] };
    assert.equal(foundBy({ interfaces: [bare, isolated, uplink] }), 'eth0 | eth1 203.0.113.7/24 by 203.0.113.1');
    assert.equal(faultOf({ interfaces: [bare, isolated] }).name, 'networks');
  });
});

describe('the address of the uplink', () => {
  const two = { name: 'eth1', ipv4: ['192.0.2.7/24', '203.0.113.7/24'] };

  it('is the one whose subnet holds the gateway', () => {
    const interfaces = [isolated, two];
    assert.equal(foundBy({ interfaces }), 'eth0 | eth1 203.0.113.7/24 by 203.0.113.1');
    const other = [{ device: 'eth1', gateway: '192.0.2.1' }];
    assert.equal(foundBy({ interfaces, defaults: other }), 'eth0 | eth1 192.0.2.7/24 by 192.0.2.1');
    assert.equal(
      foundBy({ interfaces, defaults: other, uplinkGateway: '203.0.113.99' }),
      'eth0 | eth1 203.0.113.7/24 by 203.0.113.99',
    );
  });

  it('is the first where no gateway is known, or none of its subnets holds it', () => {
    const interfaces = [isolated, two];
    assert.equal(foundBy({ interfaces, defaults: [] }), 'eth0 | eth1 192.0.2.7/24 by 192.0.2.1 or 192.0.2.254');
    const away = [{ device: 'eth1', gateway: '198.51.100.1' }];
    assert.equal(foundBy({ interfaces, defaults: away }), 'eth0 | eth1 192.0.2.7/24 by 198.51.100.1');
  });
});

describe('the gateway of the uplink', () => {
  it('is the first of several default routes, as the kernel prefers it', () => {
    const defaults = [uplinkDefault, { device: 'eth1', gateway: '203.0.113.200' }];
    assert.equal(foundBy({ defaults }), 'eth0 | eth1 203.0.113.7/24 by 203.0.113.1');
  });

  it('is guessed as the first and then the last address of the subnet', () => {
    const guess = (address: string) => {
      const { gateways } = valueFrom(find({ interfaces: [isolated, { name: 'eth1', ipv4: [address] }], defaults: [] }));
      return gateways;
    };
    assert.deepEqual(guess('10.0.0.7/8'), ['10.0.0.1', '10.255.255.254']);
    assert.deepEqual(guess('203.0.113.130/25'), ['203.0.113.129', '203.0.113.254']);
    assert.deepEqual(guess('203.0.113.9/29'), ['203.0.113.14'], 'the first address is our own');
    assert.deepEqual(guess('203.0.113.14/29'), ['203.0.113.9'], 'the last address is our own');
    assert.deepEqual(guess('203.0.113.9/30'), ['203.0.113.10'], 'the narrowest subnet that is guessed in');
  });

  it('is asked for where the subnet has no room for a guess', () => {
    for (const text of ['203.0.113.10/31', '203.0.113.11/31', '203.0.113.10/32']) {
      const interfaces = [isolated, { name: 'eth1', ipv4: [text] }];
      assert.deepEqual(faultOf({ interfaces, defaults: [] }), {
        name: 'UPLINK_GATEWAY',
        problem: `the gateway of eth1 ${text} cannot be found out`,
        hint: 'set UPLINK_GATEWAY to the gateway address of the uplink network, which has to lie in its subnet',
      });
    }
  });

  it('is known in such a subnet by a default route, or by UPLINK_GATEWAY', () => {
    const pair = [isolated, { name: 'eth1', ipv4: ['203.0.113.10/31'] }];
    const defaults = [{ device: 'eth1', gateway: '203.0.113.11' }];
    assert.equal(foundBy({ interfaces: pair, defaults }), 'eth0 | eth1 203.0.113.10/31 by 203.0.113.11');
    assert.equal(
      foundBy({ interfaces: pair, defaults: [], uplinkGateway: '203.0.113.11' }),
      'eth0 | eth1 203.0.113.10/31 by 203.0.113.11',
    );
    const alone = [isolated, { name: 'eth1', ipv4: ['203.0.113.10/32'] }];
    assert.equal(foundBy({ interfaces: alone, defaults }), 'eth0 | eth1 203.0.113.10/32 by 203.0.113.11');
  });

  it('is not our own address, whoever says so', () => {
    const problem = '203.0.113.7 is the address of this container on eth1, not of a gateway';
    const hint = 'set UPLINK_GATEWAY to the gateway address of the uplink network, which has to lie in its subnet';
    const value = '203.0.113.7';
    assert.deepEqual(faultOf({ uplinkGateway: value }), { name: 'UPLINK_GATEWAY', value, problem, hint });
    const defaults = [{ device: 'eth1', gateway: value }];
    assert.deepEqual(faultOf({ defaults }), { name: 'UPLINK_GATEWAY', problem, hint });
  });

  it('is never our own address', () => {
    fc.assert(
      fc.property(fc.ipV4(), fc.integer({ min: 8, max: 30 }), (address, prefixBits) => {
        const text = `${address}/${prefixBits}`;
        fc.pre(!overlaps(cidr(text), cidr('172.22.0.1/24')));
        const found = find({ interfaces: [isolated, { name: 'eth1', ipv4: [text] }], defaults: [] });
        for (const gateway of valueFrom(found).gateways) {
          assert.notEqual(gateway, address);
          assert.ok(contains(cidr(text), gateway));
        }
      }),
    );
  });
});
