import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { lexOptions, splitWords } from '../../../src/openvpn/option-lexer.ts';
import { renderOptionRow } from '../../../src/openvpn/option-row.ts';

const words = (row: string): readonly string[] | string => {
  const split = splitWords(row);
  return split.kind === 'words' ? split.words : split.problem;
};
const lex = (text: string) => lexOptions({ file: 'f', text });
const optionsOf = (text: string): readonly unknown[] =>
  lex(text).lines.map(({ name, parameters }) => [name, ...parameters]);
const faultsOf = (text: string): readonly string[] => lex(text).faults.map(({ name, problem }) => `${name} ${problem}`);

// What each row means was read from OpenVPN 2.6.14 itself; see the kernel tests.
const rows: readonly (readonly [row: string, meaning: readonly string[] | string])[] = [
  ['', []],
  ['   \t ', []],
  ['# comment', []],
  ['; comment', []],
  ['  ;comment', []],
  ['remote a 1 # comment', ['remote', 'a', '1']],
  ['remote a#b 1;c', ['remote', 'a#b', '1;c']],
  ['\tremote\ta\t1', ['remote', 'a', '1']],
  ['"remote" "a b" c', ['remote', 'a b', 'c']],
  ["'remote' 'a b' c", ['remote', 'a b', 'c']],
  ['x ""', ['x', '']],
  ["x ''", ['x', '']],
  ['x "a\\"b\\\\c"', ['x', 'a"b\\c']],
  ["x 'a\\b\"c'", ['x', 'a\\b"c']],
  ['x "it\'s"', ['x', "it's"]],
  ['x a\\ b', ['x', 'a b']],
  ['x a"b"', ['x', 'a"b"']],
  ["x a'b'", ['x', "a'b'"]],
  ['x "a"b', ['x', 'a', 'b']],
  ['x \\"a', ['x', '"a']],
  ['x "#no comment"', ['x', '#no comment']],
  ['x ä€', ['x', 'ä€']],
  ['x a\\b', 'has a backslash before a character that needs none'],
  ['x "a\\b"', 'has a backslash before a character that needs none'],
  ["x \\'a", 'has a backslash before a character that needs none'],
  ['x a\\', 'ends with a backslash'],
  ['x "a', 'opens a quote that is not closed on the same line'],
  ["x 'a", 'opens a quote that is not closed on the same line'],
];

for (const [row, meaning] of rows) {
  test(`reads ${JSON.stringify(row)} as ${JSON.stringify(meaning)}`, () => {
    assert.deepEqual(words(row), meaning);
  });
}

test('reads back every word that is rendered', () => {
  const printable = fc.string({ unit: 'grapheme' }).filter((text) => !/[\u0000-\u001f\u007f]/.test(text));
  const word = fc.oneof(printable, fc.string({ unit: fc.constantFrom(...'ab \'"\\#;') }));
  fc.assert(
    fc.property(fc.array(word), (parameters) => {
      assert.deepEqual(words(renderOptionRow({ name: 'x', parameters })), ['x', ...parameters]);
    }),
  );
});

test('never throws, and names a line of the text in every fault', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: fc.constantFrom(...'<>/ca"\'\\ \t\n\r#;-=') })), (lines) => {
      const text = lines.join('\n');
      for (const { name } of lex(text).faults) {
        const line = Number(name.slice(2));
        assert.ok(line >= 1 && line <= text.split('\n').length);
      }
    }),
  );
});

test('takes CRLF line ends', () => {
  assert.deepEqual(optionsOf('client\r\nproto udp\r\n'), [['client'], ['proto', 'udp']]);
  assert.equal(lex('<ca>\r\nA\r\nB\r\n</ca>\r\n').lines[0]?.inline, 'A\nB\n');
});

test('skips a byte order mark at the start and nowhere else', () => {
  assert.deepEqual(optionsOf('\u{feff}client\n'), [['client']]);
  assert.deepEqual(optionsOf('pull\n\u{feff}client\n'), [['pull'], ['\u{feff}client']]);
});

test('takes an option with the two dashes of a command line', () => {
  assert.deepEqual(optionsOf('--client\n--\n'), [['client'], ['--']]);
  assert.equal(lex('--<ca>\nA\n</ca>').lines[0]?.inline, 'A\n');
});

test('attaches inline blocks and counts their lines', () => {
  const { lines, faults } = lex('client\n <ca>  # the authority\n  A\n\n  </ca> trailing\npull\n');
  assert.deepEqual(faults, []);
  assert.deepEqual(lines, [
    { name: 'client', parameters: [], line: 1 },
    { name: 'ca', parameters: [], line: 2, inline: '  A\n\n' },
    { name: 'pull', parameters: [], line: 6 },
  ]);
});

test('does not end a block at another tag', () => {
  assert.equal(
    lex('<connection>\n<tls-auth>\nK\n</tls-auth>\n</connection>').lines[0]?.inline,
    '<tls-auth>\nK\n</tls-auth>\n',
  );
});

test('reports a block that is never closed at the line that opens it', () => {
  assert.deepEqual(faultsOf('client\n<ca>\nA\n</cert>\n'), ['f:2 opens an inline block that is never closed']);
});

test('reports the end of a block that was never opened', () => {
  const lexed = lex('client\n</ca>\npull\n');
  assert.deepEqual(
    lexed.faults.map(({ name }) => name),
    ['f:2'],
  );
  assert.ok(lexed.strayEnd);
  assert.equal(lexed.lines.length, 2);
});

test('reports the markers of a merge conflict, inside a block as well', () => {
  const text = '<<<<<<< HEAD\nproto udp\n=======\nproto tcp\n>>>>>>> theirs\n<ca>\n||||||| base\n</ca>\n';
  const problem = 'is the marker of an unresolved merge conflict';
  assert.deepEqual(faultsOf(text), [`f:1 ${problem}`, `f:3 ${problem}`, `f:5 ${problem}`, `f:7 ${problem}`]);
});
