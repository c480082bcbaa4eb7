// Needs root, iproute2 and nft: every reviewed ruleset is loaded in a network namespace of its own.
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import fc from 'fast-check';
import { planBootRules, planBootRuleset } from '../../src/plan/lockdown.ts';
import { planRouter } from '../../src/plan/router.ts';
import { renderNftChange } from '../../src/ruleset/change.ts';
import { compareTable } from '../../src/ruleset/drift.ts';
import type { Ruleset } from '../../src/ruleset/model.ts';
import { renderNft } from '../../src/ruleset/nft.ts';
import { renderObservedRoute, renderObservedRule, renderRoute, renderRule } from '../../src/system/iproute.ts';
import { anyClosedPolicy, anyForwardPolicy, anyIpv6Context, anyLanAllowances } from '../unit/plan/any-context.ts';
import { context, facts, forward, goldenPlans } from '../unit/plan/scenarios.ts';
import { makeNamespace, type Namespace, removeNamespace } from './lab/namespace.ts';

let ns: Namespace;

before(async () => {
  ns = await makeNamespace(`ub-golden-${process.pid}`);
});

after(() => removeNamespace(ns));

const pathOf = (name: string) => fileURLToPath(new URL(`../unit/golden/${name}.nft`, import.meta.url));

async function load(ruleset: Ruleset, text = renderNft(ruleset)): Promise<void> {
  await execa('ip', ['netns', 'exec', ns.name, 'nft', '-f', '-'], { input: text });
}

/** What differs between the kernel and a ruleset, one line each. */
async function drift(ruleset: Ruleset): Promise<readonly string[]> {
  const found = await Promise.all(
    ruleset.tables.map(async (desired) => {
      const { stdout } = await execa(
        'ip',
        ['netns', 'exec', ns.name, 'nft', '-s', 'list', 'table', desired.family, desired.name],
        { reject: false },
      );
      return compareTable({ desired, listing: stdout });
    }),
  );
  return found.flat().map(({ kind, line }) => `${kind}: ${line}`);
}

describe('a reviewed ruleset', () => {
  for (const [name, { ruleset }] of Object.entries(goldenPlans)) {
    it(`${name} is taken by nft, and listed as it was written`, async () => {
      await ns.run('nft', '-c', '-f', pathOf(name));
      await ns.run('nft', '-f', pathOf(name));
      assert.deepEqual(await drift(ruleset), []);
    });
  }

  it('takes the place of any other, and leaves nothing of it', async () => {
    const names = Object.keys(goldenPlans);
    for (const from of names) {
      for (const to of names) {
        await ns.run('nft', '-f', pathOf(from));
        await ns.run('nft', '-f', pathOf(to));
        assert.deepEqual(await drift(goldenPlans[to]?.ruleset ?? assert.fail()), [], `${from} → ${to}`);
      }
    }
  });
});

describe('the entrypoint', () => {
  it('replaces tables that an earlier start left behind', async () => {
    await ns.run('nft', '-f', pathOf('forward-ipv6'));
    const folder = mkdtempSync(`${tmpdir()}/entrypoint-`);
    try {
      cpSync(fileURLToPath(new URL('../../rootfs/usr/lib/underbridge', import.meta.url)), folder, { recursive: true });
      // In place of Node, which would load rules of its own.
      writeFileSync(`${folder}/run`, '#!/bin/sh\n');
      await ns.run(`${folder}/entrypoint`);
    } finally {
      rmSync(folder, { recursive: true });
    }
    assert.deepEqual(await drift(planBootRuleset()), []);
    const tables = await ns.run('nft', 'list', 'tables');
    assert.doesNotMatch(tables, /ip6 underbridge_nat/, 'of a start with IPV6: tunnel');
  });
});

describe('any ruleset', () => {
  it('is taken by nft, and listed as it was written', async () => {
    const anyPolicy = fc.oneof(anyClosedPolicy, anyForwardPolicy);
    await fc.assert(
      fc.asyncProperty(anyIpv6Context(anyPolicy), anyLanAllowances, async (given, lanAllowances) => {
        // Overlapping forwards are refused with the settings; a map would not take them.
        const { ruleset } = planRouter({
          ...given,
          config: { ...given.config, lanAllowances, forwards: given.config.forwards.slice(0, 1) },
        });
        await load(ruleset);
        assert.deepEqual(await drift(ruleset), []);
      }),
      { numRuns: 40 },
    );
  });

  it('becomes any other one by what differs alone', async () => {
    const anyPair = fc.tuple(anyIpv6Context(anyForwardPolicy), anyIpv6Context(anyForwardPolicy));
    await fc.assert(
      fc.asyncProperty(anyPair, fc.boolean(), async ([one, other], isSameRouter) => {
        const rulesetOf = (given: typeof one) =>
          planRouter({ ...given, config: { ...given.config, forwards: given.config.forwards.slice(0, 1) } }).ruleset;
        // Of one router, as when a container moves; or of another one, with which everything may differ.
        const next = isSameRouter ? { ...one, config: { ...one.config, forwards: other.config.forwards } } : other;
        const [before, after] = [rulesetOf(one), rulesetOf(next)];
        await load(before);
        const change = renderNftChange(before, after);
        if (change !== '') await load(after, change);
        assert.deepEqual(await drift(after), []);
      }),
      { numRuns: 15 },
    );
  });

  it('of 10,000 forwards is listed as it was written', async () => {
    const forwards = [forward({ outside: 1, inside: 10_001, count: 5_000 })];
    const { ruleset } = planRouter(context({ settings: { forwards } }));
    await load(ruleset);
    assert.deepEqual(await drift(ruleset), []);
  });
});

describe('a ruleset that somebody changes', () => {
  const { ruleset } = goldenPlans['forward-ports'] ?? assert.fail();
  const established = 'iifname "tun0" ct state established,related accept comment "in-tunnel"';

  const changes: readonly {
    readonly title: string;
    readonly commands: readonly string[];
    readonly expected: readonly (string | RegExp)[];
  }[] = [
    {
      title: 'by a new rule at the end',
      commands: ['add rule inet underbridge forward iifname "eth1" accept'],
      expected: ['unexpected: iifname "eth1" accept'],
    },
    {
      title: 'by a new rule at the beginning',
      commands: ['insert rule inet underbridge output accept'],
      expected: ['unexpected: accept'],
    },
    {
      title: 'by an empty chain',
      commands: ['flush chain inet underbridge last'],
      expected: [/^missing: .*"last-uplink"$/, /^missing: .*"last-forwarded"$/, /^missing: .*"last-tunnel"$/],
    },
    {
      title: 'by a new chain',
      commands: ['add chain inet underbridge mine'],
      expected: ['unexpected: chain mine {', 'unexpected: }'],
    },
    {
      title: 'by a chain that accepts by policy',
      commands: ['chain inet underbridge forward { policy accept; }'],
      expected: [/^missing: .*hook forward .* policy drop;$/, /^unexpected: .*hook forward .* policy accept;$/],
    },
    {
      title: 'by a new forward',
      commands: ['add element ip underbridge_nat forwards { tcp . 22 : 172.22.0.9 . 22 }'],
      expected: ['unexpected: element tcp . 22 : 172.22.0.9 . 22'],
    },
    {
      title: 'by a forward that is gone',
      commands: ['delete element ip underbridge_nat forwards { tcp . 4666 : 172.22.0.128 . 4666 }'],
      expected: ['missing: element tcp . 4666 : 172.22.0.128 . 4666'],
    },
    {
      title: 'by a table that sleeps',
      commands: ['table inet underbridge { flags dormant; }'],
      expected: ['unexpected: flags dormant'],
    },
    {
      title: 'by a table that is gone',
      commands: ['delete table ip underbridge_nat'],
      expected: [/^missing: table ip underbridge_nat \{$/, ...Array(21).fill(/^missing: /)],
    },
    {
      title: 'by a rule in another place',
      commands: [
        'insert rule inet underbridge input iifname "eth1" counter reject with icmpx admin-prohibited comment "in-lan-refuse"',
      ],
      expected: ['unexpected: iifname "eth1" counter reject with icmpx admin-prohibited comment "in-lan-refuse"'],
    },
  ];
  for (const { title, commands, expected } of changes) {
    it(`${title} differs in just that`, async () => {
      await load(ruleset);
      for (const command of commands) await ns.run('nft', command);
      const found = await drift(ruleset);
      assert.equal(found.length, expected.length, found.join('\n'));
      for (const [index, line] of expected.entries()) {
        if (typeof line === 'string') assert.equal(found[index], line);
        else assert.match(found[index] ?? '', line);
      }
      await load(ruleset);
      assert.deepEqual(await drift(ruleset), [], 'and is mended by loading it again');
    });
  }

  it('by a rule that is gone differs in just that', async () => {
    await load(ruleset);
    const listing = await ns.run('nft', '-a', 'list', 'chain', 'inet', 'underbridge', 'input');
    const [, handle = ''] = listing.match(/comment "in-tunnel" # handle (\d+)/) ?? [];
    await ns.run('nft', 'delete', 'rule', 'inet', 'underbridge', 'input', 'handle', handle);
    assert.deepEqual(await drift(ruleset), [`missing: ${established}`]);
  });
});

describe('the reviewed routes', () => {
  it('are taken by ip, and listed as they were written', async () => {
    // The entrypoint has made it, too.
    await ns.attempt('ip', 'link', 'del', facts.tunName);
    for (const name of [facts.lan.name, facts.uplink.name, facts.tunName, 'tun1']) {
      await ns.run('ip', 'tuntap', 'add', 'dev', name, 'mode', 'tap');
      await ns.run('ip', 'link', 'set', name, 'up');
    }
    await ns.run('ip', 'addr', 'add', '172.22.0.1/24', 'dev', facts.lan.name);
    await ns.run('ip', 'addr', 'add', '203.0.113.7/24', 'dev', facts.uplink.name);
    for (const [name, { rules: ipv4Rules, ipv6Rules, routes }] of Object.entries(goldenPlans)) {
      for (const [family, rules] of [
        ['-4', ipv4Rules],
        ['-6', ipv6Rules],
      ] as const) {
        for (const table of ['7100', '7101', '7102', '7103', '7104', '7105', '7106', '7107', '7108'])
          await ns.attempt('ip', family, 'route', 'flush', 'table', table);
        const preferences = new Set(rules.map(({ preference }) => preference));
        for (const preference of preferences) await ns.attempt('ip', family, 'rule', 'del', 'pref', `${preference}`);
        for (const rule of rules) await ns.run('ip', family, 'rule', 'add', ...renderRule(rule).split(' '));
        const seenRules = JSON.parse(await ns.run('ip', family, '-j', 'rule', 'show')).map(renderObservedRule);
        for (const rule of rules) assert.ok(seenRules.includes(renderRule(rule)), renderRule(rule));
      }
      for (const route of routes) await ns.run('ip', 'route', 'replace', ...renderRoute(route).split(' '));
      const seenRoutes = JSON.parse(await ns.run('ip', '-j', 'route', 'show', 'table', 'all')).map(renderObservedRoute);
      const ours = (text: string) => / table 710[0-8]$/.test(text);
      assert.deepEqual(seenRoutes.filter(ours).sort(), routes.map(renderRoute).sort(), name);
    }
  });

  it('before Node starts are those of lockdown.ip', async () => {
    const path = fileURLToPath(new URL('../../rootfs/usr/lib/underbridge/lockdown.ip', import.meta.url));
    for (const { preference } of planBootRules()) await ns.attempt('ip', 'rule', 'del', 'pref', `${preference}`);
    await ns.attempt('ip', 'link', 'del', facts.tunName);
    await ns.run('ip', '-batch', path);
    const seen = JSON.parse(await ns.run('ip', '-j', 'rule', 'show')).map(renderObservedRule);
    for (const rule of planBootRules()) assert.ok(seen.includes(renderRule(rule)), renderRule(rule));
  });
});
