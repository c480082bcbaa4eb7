import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { renderFaults } from '../../../src/config/report.ts';
import type { Fault } from '../../../src/errors.ts';

describe('a report of faults', () => {
  it('has a heading with their number and a line for each', () => {
    const faults: readonly Fault[] = [
      { name: 'MSS', value: '9', problem: 'is too small', hint: 'try 1300' },
      { name: 'IP_ADDR', problem: 'is not set', hint: 'set it' },
    ];
    assert.equal(
      renderFaults(faults, 'Underbridge cannot start'),
      [
        'Underbridge cannot start: 2 problems',
        '  MSS="9": is too small. Try 1300.',
        '  IP_ADDR: is not set. Set it.',
      ].join('\n'),
    );
  });

  it('counts one problem in the singular', () => {
    const report = renderFaults([{ name: 'MSS', problem: 'p', hint: 'h' }], 'Heading');
    assert.match(report, /^Heading: 1 problem\n/);
  });

  it('cuts a long value at 80 characters, never through a character', () => {
    const cut = renderFaults([{ name: 'A', value: '😀'.repeat(81), problem: 'p', hint: 'h' }], 'H');
    assert.ok(cut.includes(`A="${'😀'.repeat(79)}…": p. H.`));
    const whole = renderFaults([{ name: 'A', value: '😀'.repeat(80), problem: 'p', hint: 'h' }], 'H');
    assert.ok(whole.includes(`A="${'😀'.repeat(80)}": p. H.`));
  });

  it('keeps each fault on one line and control sequences away from the terminal', () => {
    const text = fc.string({ unit: 'binary' });
    fc.assert(
      fc.property(fc.array(fc.record({ name: text, value: text, problem: text, hint: text })), (faults) => {
        const lines = renderFaults(faults, 'Heading').split('\n');
        assert.equal(lines.length, faults.length + 1);
        for (const line of lines) assert.doesNotMatch(line, /[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/);
      }),
    );
  });
});
