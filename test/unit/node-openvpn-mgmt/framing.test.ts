import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createManagementParser, ProtocolError } from 'node-openvpn-mgmt';
import { parseChunks, parseOne, recordedSession } from './session.ts';

test('reads the banner and the version of the interface', () => {
  const text = "OpenVPN Management Interface Version 5 -- type 'help' for more info";
  assert.deepEqual(parseOne(`>INFO:${text}`), { kind: 'info', text, managementVersion: 5 });
});

test('gives the same messages wherever a recorded session is split in two', () => {
  const whole = parseChunks(recordedSession);
  assert.equal(whole.length, 21);
  for (let at = 0; at <= recordedSession.length; at += 1) {
    assert.deepEqual(parseChunks(recordedSession.subarray(0, at), recordedSession.subarray(at)), whole);
  }
});

test('gives the same messages when a recorded session comes byte by byte', () => {
  const bytes = Array.from(recordedSession, (byte) => Uint8Array.of(byte));
  assert.deepEqual(parseChunks(...bytes), parseChunks(recordedSession));
});

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

test('takes lines that end CRLF and LF in one stream', () => {
  assert.deepEqual(parseChunks('>FATAL:a\r\n>FATAL:b\n>FATAL:c\r\n'), [
    { kind: 'fatal', message: 'a' },
    { kind: 'fatal', message: 'b' },
    { kind: 'fatal', message: 'c' },
  ]);
});

test('keeps a code point that is split between two chunks', () => {
  const bytes = Buffer.from('>FATAL:é🐙\r\n');
  for (let at = 0; at <= bytes.length; at += 1) {
    assert.deepEqual(parseChunks(bytes.subarray(0, at), bytes.subarray(at)), [{ kind: 'fatal', message: 'é🐙' }]);
  }
});

test('reads two lines from one chunk in their order', () => {
  assert.deepEqual(parseChunks('SUCCESS: pid=1\r\n>BYTECOUNT:1,2\r\n'), [
    { kind: 'reply', line: 'SUCCESS: pid=1' },
    { kind: 'bytecount', bytesIn: 1, bytesOut: 2 },
  ]);
});

test('takes a line of 10 KB', () => {
  const message = 'x'.repeat(10_240);
  assert.deepEqual(parseOne(`>FATAL:${message}`), { kind: 'fatal', message });
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

test('throws nothing but the protocol error, whatever bytes come', () => {
  const lineStart = fc.constantFrom(
    ...['INFO', 'HOLD', 'STATE', 'PASSWORD', 'BYTECOUNT', 'LOG', 'UPDOWN', 'NOTIFY', 'REMOTE', 'NEED-OK', 'PK_SIGN'],
  );
  const nearLine = fc
    .tuple(lineStart, fc.string({ unit: 'binary' }))
    .map(([name, text]) => Buffer.from(`>${name}:${text}\r\n`));
  const chunk = fc.oneof(fc.uint8Array({ maxLength: 2_000 }), nearLine, fc.constant(Buffer.alloc(30_000, 'x')));
  fc.assert(
    fc.property(fc.array(chunk, { maxLength: 12 }), (chunks) => {
      try {
        parseChunks(...chunks);
      } catch (error) {
        assert.ok(error instanceof ProtocolError);
      }
    }),
    { numRuns: 500 },
  );
});

test('refuses an UPDOWN environment without end', () => {
  const variables = Array.from({ length: 5_000 }, (_, index) => `>UPDOWN:ENV,v${index}=x\n`).join('');
  assert.throws(() => parseChunks(`>UPDOWN:UP\n${variables}`), ProtocolError);
});
