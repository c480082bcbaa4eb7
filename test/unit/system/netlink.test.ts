import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { findAttribute, parseMessages } from '../../../src/system/netlink.ts';

/** Header of 16 bytes, four bytes of a message's own header, then attributes. */
function message(type: number, ...attributes: readonly Buffer[]): Buffer {
  const header = Buffer.alloc(20);
  header.writeUInt32LE(20 + attributes.reduce((sum, { length }) => sum + length, 0), 0);
  header.writeUInt16LE(type, 4);
  return Buffer.concat([header, ...attributes]);
}

/** Padded to four bytes; the length does not count the padding. */
function attribute(type: number, value: string): Buffer {
  const bytes = Buffer.alloc(4 + Math.ceil(value.length / 4) * 4);
  bytes.writeUInt16LE(4 + value.length, 0);
  bytes.writeUInt16LE(type, 2);
  bytes.write(value, 4);
  return bytes;
}

describe('a datagram of netlink', () => {
  it('holds several messages, each with its attributes behind a header of its own', () => {
    // Flags stand in the two highest bits of an attribute's type.
    const nested = 0x8000;
    const datagram = Buffer.concat([
      message(2566, attribute(7, 'other'), attribute(1 | nested, 'underbridge\0')),
      message(2575),
    ]);
    const [first, second, ...others] = [...parseMessages(datagram)];
    assert.ok(first !== undefined && second !== undefined && others.length === 0);
    assert.deepEqual([first.type, second.type], [2566, 2575]);
    assert.equal(findAttribute(first, { after: 4, type: 1 })?.toString(), 'underbridge\0');
    assert.equal(findAttribute(first, { after: 4, type: 3 }), undefined);
    assert.equal(findAttribute(second, { after: 4, type: 1 }), undefined);
  });

  it('is read to an end, whatever is in it', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        for (const found of parseMessages(Buffer.from(bytes))) findAttribute(found, { after: 4, type: 1 });
      }),
    );
  });
});
