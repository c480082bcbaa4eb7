import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { planRouter } from '../../../src/plan/router.ts';
import { translateRuleset } from '../../../src/ruleset/iptables.ts';
import { compareSave, parseSave, renderRestore } from '../../../src/ruleset/iptables-restore.ts';
import type { Rule } from '../../../src/ruleset/model.ts';
import { anyContext, anyForwardPolicy } from '../plan/any-context.ts';
import { context, forward } from '../plan/scenarios.ts';
import { ifName, ipv4 } from '../tunnel/endpoints.ts';

const byIptables = { firewall: 'iptables-legacy', extras: [], canRejectBeforeRouting: false } as const;
const { ruleset } = planRouter(
  context({
    settings: {
      dns: { kind: 'servers', servers: [ipv4('1.1.1.1'), ipv4('9.9.9.9')] },
      forwards: [forward({ outside: 8080, inside: 80, transports: ['tcp'] })],
    },
    seen: byIptables,
  }),
);
const wanted = translateRuleset(ruleset, 'ipv4');
const empty = new Map();

/** The lines of one chain. */
function chain(name: string, family: 'ipv4' | 'ipv6' = 'ipv4'): readonly string[] {
  const chains = translateRuleset(ruleset, family).flatMap((table) => table.chains);
  return chains.find((candidate) => candidate.name === name)?.rules ?? assert.fail(`no chain ${name}`);
}

/** What one rule becomes in a chain that accepts what it does not match. */
function lines(rule: Pick<Rule, 'when'> & Partial<Rule>): readonly string[] {
  const hook = { type: 'filter', at: 'prerouting', priority: 'raw', policy: 'accept' } as const;
  const rules = [{ id: 'it', why: '', verdict: { kind: 'drop' }, ...rule } as const];
  const tables = translateRuleset(
    { tables: [{ family: 'inet', name: 't', maps: [], chains: [{ name: 'c', hook, rules }] }] },
    'ipv4',
  );
  return tables.flatMap((table) => table.chains).flatMap((one) => one.rules);
}

/** What `iptables-save` says after this input was restored into an empty kernel. */
function saved(input: string): string {
  return input
    .replace(/^-I (\S+) 1 /gm, '-A $1 ')
    .replace(/^(\*nat)$/gm, '$1\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]')
    .replace(/^(\*raw)$/gm, '$1\n:PREROUTING ACCEPT [0:0]')
    .replace(/^(\*mangle)$/gm, '$1\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]');
}

describe('a rule for iptables', () => {
  it('is several where nftables has a set', () => {
    const names = [ifName('eth0'), ifName('tun0')] as const;
    assert.deepEqual(
      lines({
        when: [
          { kind: 'in', names },
          { kind: 'transport', transports: ['tcp', 'udp'] },
        ],
      }),
      [
        '-i eth0 -p tcp -m comment --comment it -j DROP',
        '-i eth0 -p udp -m comment --comment it -j DROP',
        '-i tun0 -p tcp -m comment --comment it -j DROP',
        '-i tun0 -p udp -m comment --comment it -j DROP',
      ],
    );
  });

  it('returns from a chain of its own for each of several excluded addresses', () => {
    const addresses = [ipv4('1.1.1.1'), ipv4('9.9.9.9')] as const;
    assert.deepEqual(lines({ when: [{ kind: 'destination', addresses, negate: true }] }), [
      '-m comment --comment it -j ub-it',
      '-d 1.1.1.1/32 -j RETURN',
      '-d 9.9.9.9/32 -j RETURN',
      '-j DROP',
    ]);
  });

  it('spreads new flows over several resolvers', () => {
    const dns = chain('ub-prerouting').filter((line) => line.includes('nat-dns') && line.includes('-p udp'));
    assert.deepEqual(
      dns.map((line) => line.replace(/^.*--dport 53 /, '').replace('-m comment --comment nat-dns ', '')),
      [
        '-m statistic --mode nth --every 2 --packet 0 -j DNAT --to-destination 1.1.1.1',
        '-j DNAT --to-destination 9.9.9.9',
      ],
    );
  });

  it('forwards a port by its own rule', () => {
    assert.ok(
      chain('ub-prerouting').includes(
        '-d 10.8.0.2/32 -i tun0 -p tcp -m tcp --dport 8080 -m comment --comment nat-forwards -j DNAT --to-destination 172.22.0.128:80',
      ),
    );
  });
});

describe('masquerade for iptables', () => {
  it('keeps to its range of ports, and knows source ports one range after the other', () => {
    const among = [
      { first: 4666, last: 4666 },
      { first: 5000, last: 5010 },
    ] as const;
    const port = { side: 'source', among } as const;
    assert.deepEqual(
      lines({
        when: [{ kind: 'transport', transports: ['udp'], port }],
        verdict: { kind: 'masquerade', ports: { first: 1024, last: 4665 } },
      }),
      [
        '-p udp -m udp --sport 4666 -m comment --comment it -j MASQUERADE --to-ports 1024-4665',
        '-p udp -m udp --sport 5000:5010 -m comment --comment it -j MASQUERADE --to-ports 1024-4665',
      ],
    );
  });
});

describe('a ruleset for iptables', () => {
  it('closes the filter table before any other is touched', () => {
    assert.match(renderRestore({ wanted, saved: empty }), /^\*filter\n:INPUT DROP .*\n:FORWARD DROP .*\n:OUTPUT DROP /);
  });

  it('ends each closed chain with a drop, so that no foreign rule behind it is asked', () => {
    for (const name of ['ub-input', 'ub-forward', 'ub-output']) assert.equal(chain(name).at(-1), '-j DROP');
  });

  it('lets IPv6 do nothing but loopback', () => {
    assert.deepEqual(chain('ub-forward', 'ipv6'), ['-j DROP']);
    assert.deepEqual(chain('ub-early', 'ipv6'), ['! -i lo -m comment --comment early-ipv6 -j DROP']);
    assert.deepEqual(chain('ub-output', 'ipv6'), ['-o lo -m comment --comment out-loopback -j ACCEPT', '-j DROP']);
  });

  it('has chain names that iptables takes, and jumps only to chains that are there', () => {
    fc.assert(
      fc.property(anyContext(anyForwardPolicy), (given) => {
        const plan = planRouter({ ...given, facts: { ...given.facts, ...byIptables } });
        for (const table of translateRuleset(plan.ruleset, 'ipv4')) {
          const names = table.chains.map(({ name }) => name);
          assert.deepEqual(names, [...new Set(names)]);
          for (const name of names) assert.ok(name.length <= 28, name);
          const jumps = table.chains.flatMap(({ rules }) =>
            rules.flatMap((rule) => rule.match(/-j (ub-\S+)/)?.[1] ?? []),
          );
          for (const jump of jumps) assert.ok(names.includes(jump), jump);
        }
      }),
    );
  });
});

describe('what iptables-save says', () => {
  const text = saved(renderRestore({ wanted, saved: empty }));
  const differences = (listing: string) =>
    compareSave({ wanted, saved: parseSave(listing) }).map(({ kind, line }) => `${kind}: ${line}`);

  it('has no difference where it is what was restored', () => {
    assert.deepEqual(differences(text), []);
  });

  it('asks for no jump a second time', () => {
    assert.doesNotMatch(renderRestore({ wanted, saved: parseSave(text) }), /^-I/m);
  });

  const changes: Readonly<Record<string, readonly [from: string | RegExp, to: string, ...found: string[]]>> = {
    'a policy that is open': [':FORWARD DROP', ':FORWARD ACCEPT', 'missing: FORWARD policy DROP'],
    'a jump that is gone': ['-A FORWARD -j ub-forward\n', '', 'missing: FORWARD -j ub-forward'],
    'a rule in front of our jump': [
      '-A FORWARD -j ub-forward',
      '-A FORWARD -j ACCEPT\n-A FORWARD -j ub-forward',
      'missing: FORWARD -j ub-forward',
      'unexpected: FORWARD -j ub-forward',
    ],
    'a rule that is gone': [
      /-A ub-forward .*forward-invalid.*\n/,
      '',
      'missing: ub-forward -m conntrack --ctstate INVALID -m comment --comment forward-invalid -j DROP',
    ],
    'a rule that was added': ['-A ub-input ', '-A ub-input -j ACCEPT\n-A ub-input ', 'unexpected: ub-input -j ACCEPT'],
    'a chain that was added': [':ub-input ', ':ub-more - [0:0]\n:ub-input ', 'unexpected: ub-more'],
    'a jump from elsewhere': [
      '-A FORWARD -j ub-forward',
      '-A INPUT -p tcp -j ub-forward\n-A FORWARD -j ub-forward',
      'missing: INPUT -j ub-input',
      'unexpected: INPUT -j ub-input',
      'unexpected: INPUT -p tcp -j ub-forward',
    ],
  };
  for (const [name, [from, to, ...found]] of Object.entries(changes)) {
    it(`differs by ${name}`, () => {
      assert.notEqual(text.replace(from, to), text);
      assert.deepEqual(differences(text.replace(from, to)), found);
    });
  }

  it('is left alone where it is not ours', () => {
    const docker =
      '*nat\n:DOCKER_OUTPUT - [0:0]\n-A OUTPUT -d 127.0.0.11/32 -j DOCKER_OUTPUT\n-A DOCKER_OUTPUT -j DNAT\nCOMMIT\n';
    const restore = renderRestore({ wanted, saved: parseSave(docker) });
    assert.doesNotMatch(restore, /DOCKER|^-[FXD] /m);
  });
});
