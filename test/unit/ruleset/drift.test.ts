import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { planRouter } from '../../../src/plan/router.ts';
import { compareTable } from '../../../src/ruleset/drift.ts';
import type { Table } from '../../../src/ruleset/model.ts';
import { renderTable } from '../../../src/ruleset/nft.ts';
import { anyContext, anyForwardPolicy } from '../plan/any-context.ts';
import { context, forward } from '../plan/scenarios.ts';

const { ruleset } = planRouter(
  context({ settings: { forwards: [forward({ outside: 80 }), forward({ outside: 443 })] } }),
);
const [filter, nat] = ruleset.tables as readonly [Table, Table];

/** What is reported for the filter table when its listing was changed like this. */
function differences(change: (listing: string) => string, table = filter): readonly string[] {
  const listing = change(renderTable(table));
  assert.notEqual(listing, renderTable(table), 'the test changes nothing');
  return compareTable({ desired: table, listing }).map(({ kind, line }) => `${kind}: ${line}`);
}

const established = 'iifname "tun0" ct state established,related accept comment "in-tunnel"';

describe('a table that the kernel lists as it was rendered', () => {
  it('has no difference', () => {
    fc.assert(
      fc.property(anyContext(anyForwardPolicy), (given) => {
        for (const desired of planRouter(given).ruleset.tables) {
          assert.deepEqual(compareTable({ desired, listing: renderTable(desired) }), []);
        }
      }),
    );
  });

  it('may list the elements of sets and maps in another order and with other spaces', () => {
    const shuffled = (listing: string) =>
      listing
        .replace('{ "eth0", "tun0" }', '{ "tun0",\n\t\t\t "eth0" }')
        .replace('{ destination-unreachable, time-exceeded }', '{ time-exceeded, destination-unreachable }');
    assert.deepEqual(differences(shuffled), []);
    const reversed = (listing: string) =>
      listing.replace(/elements = \{ ([^}]*) \}/, (_, all: string) => {
        const elements = all.split(',').map((element) => element.trim());
        return `elements = { ${elements.toReversed().join(', ')} }`;
      });
    assert.deepEqual(differences(reversed, nat), []);
  });

  it('may say who has connections', () => {
    const counting = planRouter(context({ settings: { connectionLimit: 9 } })).ruleset.tables[0] ?? filter;
    const busy = (listing: string) =>
      listing.replace(
        'flags dynamic\n',
        'flags dynamic\n\t\telements = { 172.22.0.9 ct count over 9 ,\n\t\t\t     172.22.0.8 ct count over 9  }\n',
      );
    assert.deepEqual(differences(busy, counting), []);
  });

  it('may write TCP flags in the way of nft before 1.0 and after it', () => {
    const older = (listing: string) =>
      listing
        .replace('tcp flags & (syn | rst) == syn', 'tcp flags syn / syn,rst')
        .replace('tcp flags & (fin | syn | rst | ack) == syn', 'tcp flags syn / fin,syn,rst,ack');
    assert.deepEqual(differences(older), []);
  });
});

describe('a table that somebody changed', () => {
  it('misses a rule that was deleted', () => {
    assert.deepEqual(
      differences((listing) => listing.replace(`${established}\n`, '\n')),
      [`missing: ${established}`],
    );
  });

  it('holds a rule that nobody asked for', () => {
    const added = 'iifname "eth0" accept';
    assert.deepEqual(
      differences((listing) => listing.replace(established, `${established}\n\t\t${added}`)),
      [`unexpected: ${added}`],
    );
  });

  it('holds a rule twice', () => {
    assert.deepEqual(
      differences((listing) => listing.replace(established, `${established}\n\t\t${established}`)),
      [`unexpected: ${established}`],
    );
  });

  it('has its rules in another order', () => {
    const swapped = (listing: string) => {
      const [reset = '', refuse = ''] = listing.match(/^.*comment "in-lan-re(set|fuse)"$/gm) ?? [];
      return listing.replace(reset, 'first').replace(refuse, reset).replace('first', refuse);
    };
    assert.deepEqual(differences(swapped), ['unexpected: rules in another order']);
  });

  it('has an element that nobody asked for', () => {
    const found = differences(
      (listing) => listing.replace('elements = { ', 'elements = { tcp . 22 : 172.22.0.9 . 22, '),
      nat,
    );
    assert.deepEqual(found, ['unexpected: element tcp . 22 : 172.22.0.9 . 22']);
  });

  it('accepts by policy', () => {
    const found = differences((listing) =>
      listing.replace('hook forward priority filter; policy drop', 'hook forward priority filter; policy accept'),
    );
    assert.deepEqual(found, [
      'missing: type filter hook forward priority filter; policy drop;',
      'unexpected: type filter hook forward priority filter; policy accept;',
    ]);
  });

  it('sleeps', () => {
    assert.deepEqual(
      differences((listing) => listing.replace('{\n', '{\n\tflags dormant\n')),
      ['unexpected: flags dormant'],
    );
  });

  it('is not there at all', () => {
    const found = differences(() => '');
    assert.ok(found.length > 30 && found.every((line) => line.startsWith('missing: ')));
  });

  it('is found out whichever line goes missing, is doubled or gets another word', () => {
    const lines = renderTable(filter).split('\n');
    const solid = lines.flatMap((line, index) => (line.trim() === '' ? [] : [index]));
    fc.assert(
      fc.property(fc.constantFrom(...solid), fc.constantFrom('drop', 'double', 'change'), (index, how) => {
        const line = lines[index] ?? '';
        const changed = { drop: [], double: [line, line], change: [`${line} x`] }[how] ?? [];
        const listing = [...lines.slice(0, index), ...changed, ...lines.slice(index + 1)].join('\n');
        assert.notDeepEqual(compareTable({ desired: filter, listing }), []);
      }),
    );
  });

  it('is named in every difference', () => {
    const [one] = compareTable({ desired: nat, listing: '' });
    assert.equal(one?.table, 'ip underbridge_nat');
  });
});
