import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Match, Rule, Ruleset, Table, Verdict } from '../../../src/ruleset/model.ts';
import { renderNft, renderTable } from '../../../src/ruleset/nft.ts';
import { ifName, ipv4, port } from '../tunnel/endpoints.ts';

const emptyTable: Table = { family: 'inet', name: 'test', maps: [], chains: [] };

function ruleText(rule: Partial<Rule>): string {
  const chain = { name: 'some', rules: [{ id: 'an-id', why: 'A reason.', when: [], ...rule }] };
  const line = renderTable({ ...emptyTable, chains: [chain] }).split('\n')[2] ?? '';
  assert.ok(line.endsWith(' comment "an-id"') || line.trim() === 'comment "an-id"');
  return line.trim().replace(/ ?comment "an-id"$/, '');
}

const [eth0, eth1, tun0] = [ifName('eth0'), ifName('eth1'), ifName('tun0')];
const [low, high] = [ipv4('9.9.9.9'), ipv4('10.0.0.1')];

describe('a match', () => {
  const texts: readonly (readonly [string, Match])[] = [
    ['iifname "eth0"', { kind: 'in', names: [eth0] }],
    ['iifname { "eth0", "eth1" }', { kind: 'in', names: [eth1, eth0] }],
    ['iifname != "lo"', { kind: 'not-in', names: [ifName('lo')] }],
    ['oifname { "eth0", "tun0" }', { kind: 'out', names: [tun0, eth0] }],
    ['meta nfproto ipv6', { kind: 'family', family: 'ipv6' }],
    ['ip saddr 172.22.0.0/24', { kind: 'source', subnet: '172.22.0.0/24' }],
    ['ip saddr != 172.22.0.0/24', { kind: 'source', subnet: '172.22.0.0/24', negate: true }],
    ['ip daddr 9.9.9.9', { kind: 'destination', addresses: [low] }],
    ['ip daddr != { 9.9.9.9, 10.0.0.1 }', { kind: 'destination', addresses: [high, low], negate: true }],
    ['meta l4proto { tcp, udp }', { kind: 'transport', transports: ['udp', 'tcp'] }],
    ['udp dport 53', { kind: 'transport', transports: ['udp'], port: { side: 'destination', number: 53 } }],
    ['tcp sport 443', { kind: 'transport', transports: ['tcp'], port: { side: 'source', number: 443 } }],
    [
      'meta l4proto { tcp, udp } th dport 53',
      { kind: 'transport', transports: ['tcp', 'udp'], port: { side: 'destination', number: 53 } },
    ],
    ['tcp flags & (fin | syn | rst | ack) == syn', { kind: 'tcp-opening' }],
    ['icmp type echo-request', { kind: 'icmp', types: ['echo-request'] }],
    [
      'icmp type { destination-unreachable, echo-request, time-exceeded }',
      { kind: 'icmp', types: ['time-exceeded', 'echo-request', 'destination-unreachable'] },
    ],
    ['ct state invalid', { kind: 'state', states: ['invalid'] }],
    ['ct state established,related,new', { kind: 'state', states: ['new', 'related', 'established'] }],
    ['ct status dnat', { kind: 'was-dnated' }],
    ['ct original ip saddr 172.22.0.0/24', { kind: 'opened', side: 'source', subnet: '172.22.0.0/24' }],
    ['meta skuid 900', { kind: 'socket-uid', uid: 900 }],
    ['meta pkttype != host', { kind: 'not-unicast-to-us' }],
    [
      'udp sport { 4666, 5000-5010 }',
      {
        kind: 'transport',
        transports: ['udp'],
        port: {
          side: 'source',
          among: [
            { first: 4666, last: 4666 },
            { first: 5000, last: 5010 },
          ],
        },
      },
    ],
    ['ip frag-off & 8191 != 0', { kind: 'later-fragment', family: 'ipv4' }],
    ['ip6 nexthdr ipv6-frag', { kind: 'later-fragment', family: 'ipv6' }],
    ['arp operation request arp daddr ip != 9.9.9.9', { kind: 'arp-asks-outside', subnet: '9.9.9.9' }],
    ['arp saddr ip != 10.0.0.0/8 arp daddr ip != 10.0.0.0/8', { kind: 'arp-without', subnet: '10.0.0.0/8' }],
    [
      'add @some { ip6 saddr ct count over 7 }',
      { kind: 'connections-over', most: 7, set: { name: 'some', family: 'ipv6', key: 'source', mostElements: 65_535 } },
    ],
  ];
  for (const [text, match] of texts) {
    it(`reads ${text}`, () => assert.equal(ruleText({ when: [match] }), text));
  }

  it('stands in front of the verdict, all of them in the given order', () => {
    const when: Rule['when'] = [
      { kind: 'in', names: [eth0] },
      { kind: 'state', states: ['new'] },
    ];
    assert.equal(ruleText({ when, verdict: { kind: 'accept' } }), 'iifname "eth0" ct state new accept');
  });
});

describe('a verdict', () => {
  const texts: readonly (readonly [string, Verdict])[] = [
    ['accept', { kind: 'accept' }],
    ['counter drop', { kind: 'drop' }],
    ['counter reject with icmpx admin-prohibited', { kind: 'reject' }],
    ['counter reject with tcp reset', { kind: 'reject-reset' }],
    ['jump outbound', { kind: 'jump', chain: 'outbound' }],
    ['masquerade', { kind: 'masquerade' }],
    ['dnat to 9.9.9.9', { kind: 'dnat', targets: [low] }],
    ['dnat to numgen inc mod 2 map { 0 : 10.0.0.1, 1 : 9.9.9.9 }', { kind: 'dnat', targets: [high, low] }],
    ['dnat ip to meta l4proto . th dport map @forwards', { kind: 'dnat-by-map', map: 'forwards', family: 'ipv4' }],
  ];
  for (const [text, verdict] of texts) {
    it(`reads ${text}`, () => assert.equal(ruleText({ verdict }), text));
  }

  it('is left out where a rule only changes the packet', () => {
    const clamp = 'tcp flags & (syn | rst) == syn tcp option maxseg size set';
    assert.equal(ruleText({ clampMss: 'path-mtu' }), `${clamp} rt mtu`);
    assert.equal(ruleText({ clampMss: 1300 }), `${clamp} 1300`);
  });
});

describe('a table', () => {
  it('has its maps before its chains, and its hooks before their rules', () => {
    const table: Table = {
      family: 'ip',
      name: 'nat',
      maps: [
        { name: 'none', entries: [] },
        {
          name: 'some',
          entries: [
            { transport: 'tcp', outsidePort: port(80), target: high, targetPort: port(8080) },
            { transport: 'udp', outsidePort: port(53), target: low, targetPort: port(53) },
          ],
        },
      ],
      chains: [
        {
          name: 'late',
          hook: { type: 'filter', at: 'postrouting', priority: 'last', policy: 'accept' },
          rules: [{ id: 'all', why: 'All.', when: [], verdict: { kind: 'drop' } }],
        },
        { name: 'empty', rules: [] },
      ],
    };
    assert.equal(
      renderTable(table),
      [
        'table ip nat {',
        '\tmap none {',
        '\t\ttype inet_proto . inet_service : ipv4_addr . inet_service',
        '\t}',
        '',
        '\tmap some {',
        '\t\ttype inet_proto . inet_service : ipv4_addr . inet_service',
        '\t\telements = { tcp . 80 : 10.0.0.1 . 8080,',
        '\t\t\t     udp . 53 : 9.9.9.9 . 53 }',
        '\t}',
        '',
        '\tchain late {',
        '\t\ttype filter hook postrouting priority 300; policy accept;',
        '\t\tcounter drop comment "all"',
        '\t}',
        '',
        '\tchain empty {',
        '\t}',
        '}',
        '',
      ].join('\n'),
    );
  });
});

describe('a ruleset', () => {
  it('is one transaction that replaces each table whether it was there or not', () => {
    const ruleset: Ruleset = { tables: [emptyTable, { ...emptyTable, family: 'ip', name: 'other' }] };
    const lines = renderNft(ruleset)
      .split('\n')
      .filter((line) => line !== '');
    assert.deepEqual(lines, [
      ...['table inet test', 'delete table inet test', 'table inet test {', '}'],
      ...['table ip other', 'delete table ip other', 'table ip other {', '}'],
    ]);
  });

  it('never flushes, so that no moment is without rules', () => {
    assert.doesNotMatch(renderNft({ tables: [emptyTable] }), /flush/);
  });
});
