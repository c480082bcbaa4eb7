import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { backoffMs, type CauseCode } from '../../../src/tunnel/cause.ts';

/** The first and the longest wait for each cause; the compiler sees to it that none is left out. */
const rangesMs: Readonly<Record<CauseCode, readonly [number, number]>> = {
  starting: [250, 2_000],
  'resolve-failed': [250, 2_000],
  'server-silent': [250, 1_000],
  'server-refuses': [250, 1_000],
  unreachable: [250, 2_000],
  'handshake-timeout': [250, 2_000],
  'tls-mismatch': [5_000, 60_000],
  'wrong-ca': [5_000, 60_000],
  'certificate-expired': [5_000, 60_000],
  'certificate-refused': [5_000, 60_000],
  'login-deferred': [3_000, 60_000],
  'key-passphrase': [5_000, 60_000],
  'openvpn-killed': [250, 2_000],
  'auth-failed': [5_000, 60_000],
  'code-missing': [5_000, 60_000],
  'code-refused': [5_000, 60_000],
  'proxy-refused': [5_000, 60_000],
  'option-error': [5_000, 60_000],
  'openvpn-exited': [250, 2_000],
  'openvpn-restarted': [250, 2_000],
  'server-closed': [250, 2_000],
  'tunnel-dead': [250, 2_000],
  'tun-gone': [250, 2_000],
  'address-conflict': [5_000, 60_000],
  'apply-failed': [250, 5_000],
  failback: [250, 2_000],
};

const codes = Object.keys(rangesMs) as CauseCode[];
const waitsMs = (code: CauseCode, count: number) =>
  Array.from({ length: count }, (_, index) => backoffMs({ code, failures: index + 1 }));

describe('the wait before the next attempt', () => {
  for (const code of codes) {
    const [firstMs, mostMs] = rangesMs[code];
    it(`is ${firstMs} ms at first and ${mostMs} ms at the most after ${code}`, () => {
      assert.equal(backoffMs({ code, failures: 1 }), firstMs);
      assert.equal(backoffMs({ code, failures: 1_000_000 }), mostMs);
    });
  }

  it('doubles up to its cap', () => {
    assert.deepEqual(waitsMs('server-silent', 5), [250, 500, 1_000, 1_000, 1_000]);
    assert.deepEqual(waitsMs('openvpn-exited', 5), [250, 500, 1_000, 2_000, 2_000]);
    assert.deepEqual(waitsMs('apply-failed', 7), [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000]);
    assert.deepEqual(waitsMs('auth-failed', 6), [5_000, 10_000, 20_000, 40_000, 60_000, 60_000]);
  });

  it('is never shorter than the first, never above the cap and never shrinks', () => {
    fc.assert(
      fc.property(fc.constantFrom(...codes), fc.integer({ min: 1, max: 1_000_000 }), (code, failures) => {
        const waitMs = backoffMs({ code, failures });
        const [firstMs, mostMs] = rangesMs[code];
        assert.ok(waitMs >= firstMs && waitMs <= mostMs);
        assert.ok(backoffMs({ code, failures: failures + 1 }) >= waitMs);
      }),
    );
  });
});
