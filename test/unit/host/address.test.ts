import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseAddress, parseSubnet } from '../../../src/host/address.ts';

describe('an address for a rule', () => {
  it('is none that iptables-save spells otherwise than it was given', () => {
    for (const text of ['::ffff:192.0.2.1', '::ffff:c000:201', '::192.0.2.1', '::ffff:0:0']) {
      assert.equal(parseAddress(text), undefined, text);
      assert.equal(parseSubnet(`${text}/128`), undefined, text);
    }
    for (const text of ['::', '::1', '::1:ffff:0:1', 'fd00::1', '64:ff9b::c000:201']) {
      assert.equal(parseAddress(text)?.text, text);
    }
  });
});
