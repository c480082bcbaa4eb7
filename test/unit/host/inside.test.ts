import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { HostPlan } from '../../../src/host/host-plan.ts';
import { findTranslating } from '../../../src/host/plan.ts';
import { parseSave, type SavedTable } from '../../../src/ruleset/iptables-restore.ts';
import { dockerRules, type Given, restored, rulesOf } from './machine.ts';
import { back, front, planFile, planPolicies, proxy, read, running, small, web1, web2 } from './networks-machine.ts';

type Saved = ReadonlyMap<string, SavedTable>;

/** As Docker makes it in every container of a network of a user's. */
const fresh = parseSave(`*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER_OUTPUT - [0:0]
-A OUTPUT -d 127.0.0.11/32 -j DOCKER_OUTPUT
-A DOCKER_OUTPUT -d 127.0.0.11/32 -p udp -m udp --dport 53 -j DNAT --to-destination 127.0.0.11:41234
COMMIT
`);
const policy = { selector: 'edge', nat: 'dnat', to: 'web-1', port: 80, proto: 'tcp' };
const id = (one: typeof proxy) => one.id.slice(0, 12);

function planIn(policies: readonly object[], seen: Saved | undefined, more: Given = {}): HostPlan {
  const inside = new Map(seen === undefined ? [] : [[71, seen]]);
  return planPolicies(policies, {
    ...more,
    kernel: { inside, saved: { ipv4: parseSave(dockerRules) }, ...more.kernel },
  });
}

const after = (seen: Saved, { namespaces: [step] }: HostPlan) =>
  step?.kind === 'set-rules' ? restored(seen, step.restore) : seen;

describe('a dnat with `selector`', () => {
  it('is a translation in the namespace of the container, with masquerade, and none on the machine', () => {
    const made = planIn([policy], fresh);
    const chains = after(fresh, made).get('nat')?.chains;
    const comment = `-m comment --comment "inside proxy 80/tcp ${id(web1)}"`;
    assert.deepEqual(chains?.get('PREROUTING'), ['-j UNDERBRIDGE-PREROUTING']);
    assert.deepEqual(chains?.get('UNDERBRIDGE-PREROUTING'), [
      `-p tcp -m addrtype --dst-type LOCAL -m tcp --dport 80 ${comment} -j DNAT --to-destination 10.51.0.21:80`,
    ]);
    assert.deepEqual(chains?.get('UNDERBRIDGE-POSTROUTING'), [
      `-d 10.51.0.21/32 -p tcp -m conntrack --ctstate DNAT -m tcp --dport 80 ${comment} -j MASQUERADE`,
    ]);
    assert.deepEqual(chains?.get('DOCKER_OUTPUT'), fresh.get('nat')?.chains.get('DOCKER_OUTPUT'));
    assert.deepEqual(rulesOf(made, ['nat', 'LOCAL']), []);
    assert.deepEqual(rulesOf(made, ['nat', 'INSIDE']), [`-m comment --comment "inside proxy ${id(proxy)}" -j RETURN`]);
    assert.deepEqual(made.faults, []);
  });

  it('is remembered by the id of the container, however long its name is', () => {
    const long = { ...proxy, name: 'p'.repeat(300) };
    const ips = { ...small.ips, '10.50.0.10': { container_name: long.name, selector: 'edge' } };
    const made = planFile(
      { ...small, ips, policies: [policy] },
      {
        docker: { networks: [front, back], containers: [long, web1, web2] },
        kernel: { inside: new Map([[71, fresh]]), saved: { ipv4: parseSave(dockerRules) } },
      },
    );
    const [rule = ''] = rulesOf(made, ['nat', 'INSIDE']);
    const comment = /--comment "(.*)" -j RETURN$/.exec(rule)?.[1] ?? '';
    // xt_comment holds no more.
    assert.ok(comment.startsWith('inside ppp') && comment.length <= 255, rule);
    assert.ok(comment.endsWith(` ${id(long)}`), rule);
  });

  it('is written once, and again in the new namespace of a container that restarted', () => {
    const written = after(fresh, planIn([policy], fresh));
    assert.deepEqual(planIn([policy], written).namespaces, []);
    const again = planPolicies([policy], {
      docker: { containers: [{ ...proxy, details: { pid: 99, dns: [], isRouter: false } }, web1, web2] },
      kernel: { inside: new Map([[99, fresh]]), saved: { ipv4: parseSave(dockerRules) } },
    });
    assert.deepEqual(
      again.namespaces.map(({ kind, pid }) => [kind, pid]),
      [['set-rules', 99]],
    );
  });

  it('reaches the other container by a network that both are in', () => {
    const both = running('both', { back: '10.51.0.50', front: '10.50.0.50' }, 77);
    const only = running('only', { front: '10.50.0.60' }, 78);
    const made = planPolicies([{ selector: 'only', nat: 'dnat', to: 'both', port: 1 }], {
      docker: { containers: [both, only] },
      kernel: { inside: new Map([[78, fresh]]) },
    });
    const step = made.namespaces[0];
    assert.match(step?.kind === 'set-rules' ? step.restore : '', /--to-destination 10\.50\.0\.50:1\n/);
  });

  it('goes when nobody wants it any more, since the machine remembers where it is', () => {
    const written = after(fresh, planIn([policy], fresh));
    const memory = `*nat\n:UNDERBRIDGE-INSIDE - [0:0]\n-A UNDERBRIDGE-INSIDE -m comment --comment "inside proxy ${id(proxy)}" -j RETURN\nCOMMIT\n`;
    const saved = { ipv4: parseSave(dockerRules.replace(/\*nat[\s\S]*/, '') + memory) };
    const docker = { version: '', networks: [front, back], containers: [proxy, web1] };
    assert.deepEqual(
      findTranslating(
        { isolated: [], clients: 'report', forwards: [], allow: [] },
        { docker, kernel: { saved, links: [] } },
      ),
      [proxy.id],
    );
    const made = planIn([], written, { kernel: { saved } });
    assert.equal(made.namespaces[0]?.kind, 'set-rules');
    // Until it has gone; then that is forgotten, too.
    assert.equal(rulesOf(made, ['nat', 'INSIDE']).length, 1);
    const clean = after(written, made);
    assert.deepEqual([...(clean.get('nat')?.chains ?? [])], [...(fresh.get('nat')?.chains ?? [])]);
    assert.deepEqual(rulesOf(planIn([], clean, { kernel: { saved } }), ['nat', 'INSIDE']), []);
  });

  it('is told of where the namespace cannot be entered', () => {
    const made = planIn([policy], undefined);
    assert.deepEqual(
      made.findings.map(({ code, subject }) => [code, subject]),
      [['forward-not-inside', 'proxy']],
    );
    assert.deepEqual(made.namespaces, []);
  });

  it("is refused twice for one port, and in the machine's own namespace", () => {
    const hosted = { ...running('hosted', {}, 80), networkMode: 'host' };
    const made = planIn([policy, { ...policy, to: 'web-2' }, { ...policy, selector: 'hosted' }], fresh, {
      docker: { containers: [proxy, web1, web2, hosted] },
    });
    assert.deepEqual(
      made.faults.map(({ value, problem }) => `${value}: ${problem.replace(/:\d+/, '')}`),
      ['80/tcp: proxy sends that port to web-1 already (networks.json)', "hosted: has the machine's own network"],
    );
    assert.equal(made.resources.filter(({ kind }) => kind === 'forward').length, 1);
  });

  it('comes and goes over any walk of policies, and leaves nothing but what was there', () => {
    const anyPolicies = fc.array(
      fc.record({ to: fc.constantFrom('web-1', 'web-2'), port: fc.integer({ min: 1, max: 3 }) }),
      { maxLength: 4 },
    );
    fc.assert(
      fc.property(fc.array(anyPolicies, { maxLength: 4 }), (walk) => {
        let inner: Saved = fresh;
        let outer: Saved = parseSave(dockerRules);
        for (const policies of [...walk, [], []]) {
          const made = planIn(
            policies.map((one) => ({ ...policy, ...one })),
            inner,
            { kernel: { saved: { ipv4: outer } } },
          );
          const entered = findTranslating(
            {
              networks: read({ ...small, policies: policies.map((one) => ({ ...policy, ...one })) }),
              isolated: [],
              clients: 'report',
              forwards: [],
              allow: [],
            },
            {
              docker: { version: '', networks: [front, back], containers: [proxy, web1, web2] },
              kernel: { saved: { ipv4: outer }, links: [] },
            },
          );
          if (!entered.includes(proxy.id)) assert.deepEqual(made.namespaces, []);
          inner = after(inner, made);
          const nat = new Map(outer.get('nat')?.chains);
          const memory = rulesOf(made, ['nat', 'INSIDE']);
          if (memory.length > 0) nat.set('UNDERBRIDGE-INSIDE', memory);
          else nat.delete('UNDERBRIDGE-INSIDE');
          outer = new Map([...outer, ['nat', { policies: new Map(), chains: nat }]]);
          assert.equal(
            inner.get('nat')?.chains.get('UNDERBRIDGE-PREROUTING')?.length ?? 0,
            new Set(policies.map(({ port }) => port)).size,
          );
        }
        assert.deepEqual([...(inner.get('nat')?.chains ?? [])], [...(fresh.get('nat')?.chains ?? [])]);
        assert.equal(outer.get('nat')?.chains.has('UNDERBRIDGE-INSIDE'), false);
      }),
    );
  });
});

describe('who may talk to whom, on Docker 28', () => {
  const allow = [{ place: '', from: '10.50.0.10', to: '10.51.0.21', protocol: 'tcp', port: 80 } as const];
  const raw = '*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -d 10.51.0.21/32 ! -i br-back -j DROP\nCOMMIT\n';

  it('is let past its drops in the table raw, which know no connections', () => {
    const made = planPolicies([], { config: { allow }, saved: dockerRules + raw });
    const comment = '-m comment --comment "allow 10.50.0.10 to 10.51.0.21"';
    assert.deepEqual(rulesOf(made, ['raw', 'PREROUTING']), [
      `-s 10.50.0.10/32 -d 10.51.0.21/32 -p tcp -m tcp --dport 80 ${comment} -j ACCEPT`,
      `-s 10.51.0.21/32 -d 10.50.0.10/32 -p tcp -m tcp --sport 80 ! --tcp-flags FIN,SYN,RST,ACK SYN ${comment} -j ACCEPT`,
    ]);
    assert.deepEqual(rulesOf(planPolicies([], { config: { allow } }), ['raw', 'PREROUTING']), []);
  });

  it('is no way back for connections of who is asked, whatever the port', () => {
    const made = (protocol: 'tcp' | 'udp') => {
      const every = [{ place: '', from: '10.50.0.10', to: '10.51.0.21', protocol }];
      return rulesOf(planPolicies([], { config: { allow: every }, saved: dockerRules + raw }), [
        'raw',
        'PREROUTING',
      ])[1];
    };
    assert.match(made('tcp') ?? '', / -p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -m comment /);
    assert.match(made('udp') ?? '', / -p udp -m comment /);
  });

  it('is spelled as iptables-save does where it is everybody', () => {
    const made = planPolicies([], { config: { allow: [{ place: '', from: '0.0.0.0/0', to: '10.51.0.21' }] } });
    assert.match(rulesOf(made, ['filter', 'ACCEPT'])[0] ?? '', /^-d 10\.51\.0\.21\/32 -m comment/);
  });
});
