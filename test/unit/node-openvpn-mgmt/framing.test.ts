import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createManagementParser, ProtocolError } from '../../../src/node-openvpn-mgmt/src/index.ts';
import { parseChunks, recordedSession } from './session.ts';

test('gives the same messages however a recorded session is cut', () => {
  const whole = parseChunks(recordedSession);
  const cuts = fc.array(fc.nat({ max: recordedSession.length }), { maxLength: 40 });
  fc.assert(
    fc.property(cuts, (offsets) => {
      const edges = [0, ...offsets.toSorted((a, b) => a - b), recordedSession.length];
      const chunks = edges.slice(1).map((end, index) => recordedSession.subarray(edges[index], end));
      assert.deepEqual(parseChunks(...chunks), whole);
    }),
  );
});

test('takes a line of exactly 64 KiB and refuses one byte more, ended or not, in one chunk or many', () => {
  const longest = `>${'x'.repeat(64 * 1024 - 1)}`;
  assert.deepEqual(parseChunks(`${longest}\n`), [{ kind: 'unknown', line: longest }]);
  for (const chunks of [[`${longest}x`], [`${longest}x\n`], [longest, 'x'], [longest, 'x\n']]) {
    assert.throws(() => parseChunks(...chunks), ProtocolError);
  }
});

test('gives the messages that came before a line that is too long', () => {
  const messages = createManagementParser().push(Buffer.from(`>FATAL:a\r\n${'x'.repeat(70_000)}`));
  assert.deepEqual(messages.next().value, { kind: 'fatal', message: 'a' });
  assert.throws(() => messages.next(), { code: 'MGMT_PROTOCOL' });
});

test('does not keep the memory of a chunk', () => {
  const parser = createManagementParser();
  const chunk = Buffer.from('>FATAL:a');
  assert.deepEqual([...parser.push(chunk)], []);
  chunk.fill(0);
  assert.deepEqual([...parser.push(Buffer.from('b\n'))], [{ kind: 'fatal', message: 'ab' }]);
});

const lineStart = fc.constantFrom(
  ...['INFO', 'HOLD', 'STATE', 'PASSWORD', 'BYTECOUNT', 'LOG', 'UPDOWN', 'NOTIFY', 'REMOTE', 'NEED-OK', 'PK_SIGN'],
);
const nearLine = fc
  .tuple(lineStart, fc.string({ unit: 'binary' }))
  .map(([name, text]) => Buffer.from(`>${name}:${text}\r\n`));
const prompts = fc.nat({ max: 40 }).map((bytes) => Buffer.from('ENTER PASSWORD:'.repeat(3).slice(0, bytes)));
const anyChunk = fc.oneof(
  fc.uint8Array({ maxLength: 2_000 }),
  nearLine,
  prompts,
  fc.constant(Buffer.alloc(30_000, 'x')),
);
const anyChunks = fc.array(anyChunk, { maxLength: 12 });

test('throws nothing but the protocol error, whatever bytes come', () => {
  fc.assert(
    fc.property(anyChunks, (chunks) => {
      try {
        parseChunks(...chunks);
      } catch (error) {
        assert.ok(error instanceof ProtocolError);
      }
    }),
    { numRuns: 500 },
  );
});

test('gives the same messages, and the same error after them, however whatever bytes are cut', () => {
  fc.assert(
    fc.property(anyChunks, fc.array(fc.nat()), (chunks, offsets) => {
      const bytes = Buffer.concat(chunks);
      const edges = [0, ...offsets.map((at) => at % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length];
      const cut = edges.slice(1).map((end, index) => bytes.subarray(edges[index], end));
      assert.deepEqual(parseUntilError(cut), parseUntilError([bytes]));
    }),
  );
});

test('refuses an UPDOWN environment without end', () => {
  const variables = Array.from({ length: 5_000 }, (_, index) => `>UPDOWN:ENV,v${index}=x\n`).join('');
  assert.throws(() => parseChunks(`>UPDOWN:UP\n${variables}`), ProtocolError);
});

function parseUntilError(chunks: readonly Uint8Array[]): readonly unknown[] {
  const parser = createManagementParser();
  const seen: unknown[] = [];
  try {
    for (const chunk of chunks) for (const message of parser.push(chunk)) seen.push(message);
  } catch (error) {
    assert.ok(error instanceof ProtocolError);
    seen.push(error.message);
  }
  return seen;
}
