import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { backoffCapMs, backoffMs, type CauseCode } from '../../../src/tunnel/cause.ts';

/** The longest wait for each cause; the compiler sees to it that none is left out. */
const capsMs: Readonly<Record<CauseCode, number>> = {
  starting: 2_000,
  'resolve-failed': 2_000,
  'server-silent': 2_000,
  'handshake-timeout': 2_000,
  'auth-failed': 60_000,
  'option-error': 60_000,
  'openvpn-exited': 2_000,
  'openvpn-restarted': 2_000,
  'server-closed': 2_000,
  'tunnel-dead': 2_000,
  'tun-gone': 2_000,
  'address-conflict': 60_000,
  'apply-failed': 5_000,
};

const codes = Object.keys(capsMs) as CauseCode[];
const waitsMs = (code: CauseCode, count: number) =>
  Array.from({ length: count }, (_, index) => backoffMs({ code, failures: index + 1 }));

describe('the wait before the next attempt', () => {
  for (const code of codes) {
    it(`is ${capsMs[code]} ms at the most after ${code}`, () => assert.equal(backoffCapMs(code), capsMs[code]));
  }

  it('doubles up to its cap', () => {
    assert.deepEqual(waitsMs('server-silent', 5), [250, 500, 1_000, 2_000, 2_000]);
    assert.deepEqual(waitsMs('apply-failed', 7), [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000]);
    assert.deepEqual(waitsMs('auth-failed', 10).slice(-3), [32_000, 60_000, 60_000]);
  });

  it('is never shorter than a quarter of a second, never above the cap and never shrinks', () => {
    fc.assert(
      fc.property(fc.constantFrom(...codes), fc.integer({ min: 1, max: 1_000_000 }), (code, failures) => {
        const waitMs = backoffMs({ code, failures });
        assert.ok(waitMs >= 250 && waitMs <= backoffCapMs(code));
        assert.ok(backoffMs({ code, failures: failures + 1 }) >= waitMs);
      }),
    );
  });
});
