import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { compareRules } from '../../../src/host/diff.ts';
import type { HostConfig } from '../../../src/host/host-config.ts';
import type { HostRules } from '../../../src/host/rules.ts';
import { parseSave, type SavedTable } from '../../../src/ruleset/iptables-restore.ts';
import { container, dockerRules, type Given, plan, port, restored } from './machine.ts';

type Saved = ReadonlyMap<string, SavedTable>;

const published: Partial<HostConfig> = {
  published: { place: '', interfaces: ['tailscale0'], hairpin: true },
  isolated: [{ place: '', network: 'underbridge' }],
  allow: [{ place: '', from: '10.0.0.1', to: '10.0.0.2' }],
};
const web = (address: string, ...ports: readonly string[]) =>
  container('web', { apps: address }, { ports: ports.map(port) });

function wanted(given: Given): HostRules {
  return plan(given).rules[0] ?? assert.fail('no rules');
}

const isForeign = (text: string) => !text.includes('UNDERBRIDGE-');

/** All that is not ours, in its order. */
function foreign(saved: Saved): unknown {
  return [...saved]
    .map(([name, { chains }]) => [name, [...chains].filter(([chain]) => isForeign(chain)).map(withoutJumps)])
    .filter(([, chains]) => (chains?.length ?? 0) > 0);
}

function withoutJumps([chain, rules]: readonly [string, readonly string[]]) {
  return [chain, rules.filter(isForeign)];
}

const anyForeignRule = fc.constantFrom(
  '-j RETURN',
  '-j DOCKER',
  '-i eth0 -j DROP',
  '-j ACCEPT',
  '-s 10.0.0.0/8 -j LOG',
);
const anyForeignChain = fc.array(anyForeignRule, { maxLength: 5 });
const anySaved = fc
  .record({
    forward: anyForeignChain,
    isReached: fc.boolean(),
    user: fc.option(anyForeignChain, { nil: undefined }),
    input: anyForeignChain,
    prerouting: anyForeignChain,
  })
  .map(({ forward, isReached, user, input, prerouting }) => {
    const chains = (of: Readonly<Record<string, readonly string[] | undefined>>) => ({
      policies: new Map(),
      chains: new Map(Object.entries(of).flatMap(([name, rules]) => (rules === undefined ? [] : [[name, rules]]))),
    });
    const jump = isReached && user !== undefined ? ['-j DOCKER-USER'] : [];
    return new Map([
      ['filter', chains({ INPUT: input, FORWARD: [...jump, ...forward], OUTPUT: [], 'DOCKER-USER': user })],
      ['nat', chains({ PREROUTING: prerouting, INPUT: [], OUTPUT: [], POSTROUTING: ['-j DOCKER'] })],
    ]);
  });

const anyConfig = fc
  .record({
    ports: fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { maxLength: 4 }),
    isIsolated: fc.boolean(),
    isAllowed: fc.boolean(),
    hairpin: fc.boolean(),
    isLocal: fc.boolean(),
  })
  .map(({ ports, isIsolated, isAllowed, hairpin, isLocal }): Given => {
    const interfaces = isLocal ? 'local' : ['tailscale0', 'wg0'];
    return {
      config: {
        published: { place: '', interfaces, hairpin },
        isolated: isIsolated ? (published.isolated ?? []) : [],
        allow: isAllowed ? (published.allow ?? []) : [],
      },
      docker: { containers: [web('10.90.0.10', ...ports.map((number) => `${number}:${number}`))] },
    };
  });

describe('the difference between wanted rules and a machine’s', () => {
  it('is nothing once it has been restored, wherever others have put their rules; theirs stay as they were', () => {
    fc.assert(
      fc.property(anySaved, fc.array(anyConfig, { minLength: 1, maxLength: 4 }), (start, walk) => {
        let saved: Saved = start;
        for (const given of walk) {
          const rules = wanted({ ...given, kernel: { saved: { ipv4: saved } } });
          saved = restored(saved, compareRules(rules, saved).restore);
          const again = wanted({ ...given, kernel: { saved: { ipv4: saved } } });
          assert.equal(compareRules(again, saved).restore, '');
          assert.deepEqual(foreign(saved), foreign(fill(start, saved)));
        }
        const clean = restored(saved, compareRules({ family: 'ipv4', tables: [] }, saved).restore);
        assert.ok(![...clean.values()].some(({ chains }) => [...chains.keys()].some((name) => !isForeign(name))));
        assert.deepEqual(foreign(clean), foreign(fill(start, clean)));
      }),
    );
  });

  it('names no chain of others but to set or take a jump to ours', () => {
    fc.assert(
      fc.property(anySaved, anyConfig, (saved, given) => {
        const { restore } = compareRules(wanted({ ...given, kernel: { saved: { ipv4: saved } } }), saved);
        for (const line of restore.split('\n')) {
          assert.match(line, /^$|^\*|^COMMIT$|^(:|-[AFX] )UNDERBRIDGE-|^-[ID] [A-Z-]+ .*-j UNDERBRIDGE-\w+$/);
        }
      }),
    );
  });

  it('puts locks before all others, and accepts after the user’s own rules', () => {
    const user = '*filter\n:FORWARD DROP [0:0]\n:INPUT ACCEPT [0:0]\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\n';
    const saved = parseSave(`${user}-A DOCKER-USER -i eth0 -j DROP\n-A DOCKER-USER -j RETURN\nCOMMIT\n`);
    const after = restored(
      saved,
      compareRules(wanted({ config: published, kernel: { saved: { ipv4: saved } } }), saved).restore,
    );
    assert.deepEqual(after.get('filter')?.chains.get('DOCKER-USER'), [
      '-j UNDERBRIDGE-FORWARD',
      '-i eth0 -j DROP',
      '-j UNDERBRIDGE-ACCEPT',
      '-j RETURN',
    ]);
  });

  it('puts back a jump that was moved or doubled, and a rule that was changed', () => {
    const given = { config: published, docker: { containers: [web('10.90.0.10', '80:80')] } };
    const start = parseSave(dockerRules);
    const rules = wanted(given);
    const saved = restored(start, compareRules(rules, start).restore);
    for (const harm of [
      '-D PREROUTING -j UNDERBRIDGE-PREROUTING',
      '-I PREROUTING 1 -j KUBE',
      '-A PREROUTING -j UNDERBRIDGE-PREROUTING',
      '-F UNDERBRIDGE-LOCAL',
      '-I UNDERBRIDGE-LOCAL 1 -j RETURN',
      ':UNDERBRIDGE-OLD - [0:0]',
    ]) {
      const harmed = restored(saved, `*nat\n${harm}\nCOMMIT\n`);
      const { restore, lines } = compareRules(rules, harmed);
      assert.notEqual(restore, '', harm);
      const mended = restored(harmed, restore);
      assert.deepEqual(compareRules(rules, mended), { restore: '', lines: [], translations: [] }, harm);
      if (!harm.startsWith(':')) assert.ok(lines.length > 0, harm);
    }
  });

  it('tells which translations went and came, for what was tracked by them', () => {
    const of = (address: string) =>
      wanted({ config: published, docker: { containers: [web(address, '53:5353/udp')] } });
    const saved = restored(parseSave(dockerRules), compareRules(of('10.90.0.10'), parseSave(dockerRules)).restore);
    const { translations } = compareRules(of('10.90.0.11'), saved);
    const seen = translations.map((one) => `${one.change} ${one.protocol} ${one.port} ${one.target}`);
    assert.deepEqual(seen, ['gone udp 53 10.90.0.10', 'new udp 53 10.90.0.11']);
  });

  it('tells of a translation whose rule begins with its protocol', () => {
    const of = (address: string) =>
      wanted({
        config: { published: { place: '', interfaces: 'local', hairpin: true } },
        docker: { containers: [web(address, '53:5353/udp')] },
        // Without Docker's proxy.
        kernel: {
          links: [
            { name: 'br-apps', addresses: ['10.90.0.1/24'] },
            { name: 'veth1', addresses: [], reflectedBy: 'br-apps' },
          ],
        },
      });
    const start = parseSave(dockerRules.replace(':POSTROUTING', ':OUTPUT ACCEPT [0:0]\n:POSTROUTING'));
    const saved = restored(start, compareRules(of('10.90.0.10'), start).restore);
    assert.match(saved.get('nat')?.chains.get('UNDERBRIDGE-LOCAL')?.[0] ?? '', /^-p udp /);
    const { translations } = compareRules(of('10.90.0.11'), saved);
    assert.deepEqual(
      translations.map(({ change, target }) => `${change} ${target}`),
      ['gone 10.90.0.10', 'new 10.90.0.11'],
    );
  });

  it('takes no rule of others for a jump, whatever its comment says', () => {
    const said = '-m comment --comment "was \\"-j X\\" -j UNDERBRIDGE-FORWARD" -j ACCEPT';
    const saved = parseSave(`*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n-A FORWARD ${said}\nCOMMIT\n`);
    assert.equal(compareRules({ family: 'ipv4', tables: [] }, saved).restore, '');
  });

  it('forgets no connection by a rule that only says the same otherwise', () => {
    const docker = { containers: [web('10.90.0.10', '80:80')] };
    const rules = wanted({ config: published, docker });
    const saved = restored(parseSave(dockerRules), compareRules(rules, parseSave(dockerRules)).restore);
    const other = { published: { place: '', interfaces: ['tailscale0', 'wg0'], hairpin: false } };
    const { restore, translations } = compareRules(wanted({ config: other, docker }), saved);
    assert.notEqual(restore, '');
    assert.deepEqual(translations, []);
  });
});

/** The start, with the built-in chains that a table of ours brought along. */
function fill(start: Saved, now: Saved): Saved {
  return new Map(
    [...now].map(([name, { policies, chains }]) => {
      const before = start.get(name)?.chains;
      const own = [...chains.keys()].filter(isForeign).map((chain) => [chain, before?.get(chain) ?? []] as const);
      return [name, { policies, chains: new Map(own) }];
    }),
  );
}
