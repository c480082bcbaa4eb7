import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { planRouter } from '../../../src/plan/router.ts';
import {
  type ObservedRoute,
  type ObservedRule,
  renderObservedRoute,
  renderObservedRule,
  renderRoute,
  renderRule,
} from '../../../src/system/iproute.ts';
import { context, facts, policies } from '../plan/scenarios.ts';

// What iproute2 6.1.0 printed (`ip -j rule show`, `ip -j route show table all`) in a namespace with these rules and routes.
const rulesOutput = `[
  {"priority":0,"src":"all","table":"local"},
  {"priority":100,"src":"172.22.0.0","srclen":24,"iif":"eth1","table":"7101"},
  {"priority":101,"src":"all","iif":"tun0","iif_detached":null,"table":"7102"},
  {"priority":105,"src":"all","iif":"eth1","action":"blackhole"},
  {"priority":110,"not":null,"src":"all","iif":"lo","action":"unreachable"},
  {"priority":120,"src":"all","table":"7100"},
  {"priority":130,"src":"all","action":"unreachable"},
  {"priority":32766,"src":"all","table":"main"},
  {"priority":32767,"src":"all","table":"default"}]`;

const routesOutput = `[
  {"dst":"172.22.0.0/24","dev":"eth1","table":"7100","scope":"link","flags":["linkdown"]},
  {"dst":"198.51.100.10","gateway":"203.0.113.1","dev":"eth0","table":"7100","flags":["onlink"]},
  {"type":"unreachable","dst":"198.51.100.10","table":"7100","metric":4278198272,"flags":[]},
  {"dst":"203.0.113.1","dev":"eth0","table":"7100","scope":"link","flags":[]},
  {"dst":"default","dev":"tun0","table":"7100","scope":"link","flags":[]},
  {"dst":"default","dev":"tun0","table":"7101","scope":"link","flags":[]},
  {"type":"unreachable","dst":"default","table":"7101","metric":4278198272,"flags":[]},
  {"dst":"172.22.0.0/24","dev":"eth1","table":"7102","scope":"link","flags":[]},
  {"type":"unreachable","dst":"default","table":"7102","metric":4278198272,"flags":[]},
  {"dst":"203.0.113.0/24","dev":"eth0","protocol":"kernel","scope":"link","prefsrc":"203.0.113.7","flags":[]},
  {"type":"local","dst":"203.0.113.7","dev":"eth0","table":"local","protocol":"kernel","scope":"host","prefsrc":"203.0.113.7","flags":[]}]`;

// What it printed for rules that somebody else made by adding a selector to one of ours.
const foreignRulesOutput = `[
  {"priority":100,"src":"10.0.0.0","srclen":8,"iif":"eth1","iif_detached":null,"table":"7101"},
  {"priority":100,"src":"10.0.0.1","iif":"eth1","iif_detached":null,"table":"7101"},
  {"priority":100,"src":"172.22.0.0","srclen":25,"iif":"eth1","table":"7101"},
  {"priority":100,"src":"172.22.0.0","srclen":24,"dst":"172.22.0.0","dstlen":24,"iif":"eth1","iif_detached":null,"table":"7101"},
  {"priority":110,"not":null,"src":"all","fwmark":"0x1","iif":"lo","action":"unreachable"},
  {"priority":120,"src":"all","fwmark":"0x1","fwmask":"0xff","table":"7100"},
  {"priority":120,"src":"all","oif":"eth0","oif_detached":null,"table":"7100"},
  {"priority":120,"src":"all","ipproto":"udp","dport":53,"table":"7100"},
  {"priority":120,"src":"all","ipproto":"udp","sport_start":53,"sport_end":60,"table":"7100"},
  {"priority":120,"src":"all","uid_start":0,"uid_end":900,"table":"7100"},
  {"priority":120,"src":"all","tos":"0x10","table":"7100"},
  {"priority":120,"src":"all","table":"7100","suppress_prefixlen":0},
  {"priority":120,"src":"all","goto":32766}]`;

const seenRules = JSON.parse(rulesOutput) as readonly ObservedRule[];
const foreignRules = JSON.parse(foreignRulesOutput) as readonly ObservedRule[];
const seenRoutes = JSON.parse(routesOutput) as readonly ObservedRoute[];
const ours = (text: string) => /table 710[012]$/.test(text);

describe('a routing rule', () => {
  it('reads the same when it is planned and when it is seen', () => {
    const planned = planRouter(context()).rules.map(renderRule);
    const seen = seenRules.filter(({ priority }) => priority >= 100 && priority <= 130).map(renderObservedRule);
    assert.deepEqual(seen, planned);
  });

  it("of the kernel's own reads as what it is", () => {
    assert.deepEqual(
      [seenRules[0], ...seenRules.slice(-2)].flatMap((rule) => (rule ? renderObservedRule(rule) : [])),
      [...['pref 0 from all lookup local', 'pref 32766 from all lookup main', 'pref 32767 from all lookup default']],
    );
  });

  it('for another interface, table or action does not read as ours', () => {
    const planned = new Set(planRouter(context()).rules.map(renderRule));
    const changed: readonly ObservedRule[] = [
      { priority: 100, src: '172.22.0.0', srclen: 24, iif: 'eth2', table: '7101' },
      { priority: 100, src: '172.22.0.0', srclen: 24, iif: 'eth1', table: 'main' },
      { priority: 100, src: 'all', iif: 'eth1', table: '7101' },
      { priority: 105, src: 'all', iif: 'eth1', action: 'unreachable' },
      { priority: 110, src: 'all', iif: 'lo', action: 'unreachable' },
      { priority: 110, src: 'all', not: null, iif: 'lo', table: 'main' },
      { priority: 130, src: 'all', table: 'main' },
      { priority: 99, src: 'all', iif: 'eth1', table: '7101' },
    ];
    for (const rule of changed) assert.ok(!planned.has(renderObservedRule(rule)), renderObservedRule(rule));
  });

  it("with a selector of somebody else's does not read as ours, and shows it", () => {
    const planned = new Set(planRouter(context()).rules.map(renderRule));
    const ours = new Set(['priority', 'src', 'srclen', 'not', 'iif', 'iif_detached', 'table', 'action']);
    for (const rule of foreignRules) {
      const text = renderObservedRule(rule);
      assert.ok(!planned.has(text), text);
      for (const [name, value] of Object.entries(rule)) {
        if (!ours.has(name) && value !== null) assert.ok(text.includes(`${value}`), `${text} hides ${name}`);
      }
      if (rule.src !== 'all') assert.ok(text.includes(rule.src), text);
    }
  });

  it('reads as ours when its interface is gone for a moment', () => {
    const planned = new Set(planRouter(context()).rules.map(renderRule));
    const seen = { priority: 100, src: '172.22.0.0', srclen: 24, iif: 'eth1', table: '7101' };
    const detached: ObservedRule = { ...seen, iif_detached: null };
    assert.ok(planned.has(renderObservedRule(detached)));
  });
});

describe('a route', () => {
  it('reads the same when it is planned and when it is seen', () => {
    const planned = planRouter(context()).routes.map(renderRoute);
    const seen = seenRoutes.map(renderObservedRoute).filter(ours);
    assert.deepEqual([...seen].sort(), [...planned].sort());
  });

  it('to one host reads the same with and without its length, as ip leaves it out', () => {
    const via = { kind: 'device', name: facts.uplink.name } as const;
    for (const destination of ['203.0.113.9', '203.0.113.9/32']) {
      const text = renderRoute({ table: 7100, destination, via, why: 'A test.' });
      assert.equal(text, renderObservedRoute({ dst: '203.0.113.9', dev: 'eth0', table: '7100' }));
    }
    const wide = renderRoute({ table: 7100, destination: '203.0.113.8/31', via, why: 'A test.' });
    assert.equal(wide, '203.0.113.8/31 dev eth0 scope link table 7100');
    const text = (destination: string) => renderRoute({ table: 7100, destination, via, why: 'A test.' });
    assert.equal(text('2001:db8:7::7/128'), '2001:db8:7::7 dev eth0 scope link table 7100');
    assert.equal(text('2001:db8::/32'), '2001:db8::/32 dev eth0 scope link table 7100');
  });

  it('of the state before is seen to be of no use any more', () => {
    const planned = new Set(planRouter(context({ policy: policies.lockdown })).routes.map(renderRoute));
    const stale = seenRoutes.map(renderObservedRoute).filter((text) => ours(text) && !planned.has(text));
    assert.deepEqual(stale, [
      '198.51.100.10 dev eth0 via 203.0.113.1 onlink table 7100',
      'unreachable 198.51.100.10 metric 4278198272 table 7100',
      'default dev tun0 scope link table 7100',
      'default dev tun0 scope link table 7101',
      '172.22.0.0/24 dev eth1 scope link table 7102',
    ]);
  });

  it('by another gateway, device or metric does not read as ours', () => {
    const planned = new Set(planRouter(context()).routes.map(renderRoute));
    const changed: readonly ObservedRoute[] = [
      { dst: '198.51.100.10', gateway: '203.0.113.2', dev: 'eth0', table: '7100' },
      { dst: '198.51.100.10', dev: 'eth0', table: '7100' },
      { dst: 'default', dev: 'eth0', table: '7101' },
      { dst: 'default', gateway: '203.0.113.1', dev: 'tun0', table: '7101' },
      { type: 'unreachable', dst: 'default', table: '7101', metric: 0 },
      { type: 'blackhole', dst: 'default', table: '7101', metric: 4_278_198_272 },
    ];
    for (const route of changed) assert.ok(!planned.has(renderObservedRoute(route)), renderObservedRoute(route));
  });
});
