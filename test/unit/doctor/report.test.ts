import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { doctorCodes, exitCodeFor, type Finding, type Severity } from '../../../src/doctor/finding.ts';
import { type Report, renderReport, renderReportJson } from '../../../src/doctor/report.ts';

const finding = (severity: Severity, what = 'this is so'): Finding => ({
  code: 'UB_DOCTOR_TUN',
  severity,
  what,
  why: 'it matters',
  remedy: 'do that',
});
const report = (...findings: readonly Finding[]): Report => ({ scope: { kind: 'container' }, findings });

describe("doctor's report", () => {
  it('has one line for each finding, the worst first, and one about what was looked at', () => {
    const text = renderReport(report(finding('warning'), finding('break'), finding('leak'), finding('break')));
    assert.deepEqual(text.split('\n').slice(0, 4), [
      'leak UB_DOCTOR_TUN: this is so. It matters. Remedy: do that',
      'break UB_DOCTOR_TUN: this is so. It matters. Remedy: do that',
      'break UB_DOCTOR_TUN: this is so. It matters. Remedy: do that',
      'warning UB_DOCTOR_TUN: this is so. It matters. Remedy: do that',
    ]);
    assert.match(text, /^1 leak, 2 breaks, 1 warning\. Looked at this container; .*\n$/m);
  });

  it('says what was looked at when nothing was found', () => {
    const scope = { kind: 'docker', routers: ['one', 'two'], clients: 1 } as const;
    const text = renderReport({ scope, findings: [] });
    assert.match(text, /^0 leaks, 0 breaks, 0 warnings\. Looked at one, two and 1 client .*\n$/);
  });

  it('keeps each finding on its line and control sequences away from the terminal', () => {
    const text = fc.string({ unit: 'binary' });
    const any = fc
      .record({ what: text, why: text, remedy: text })
      .map((clauses) => ({ ...finding('leak'), ...clauses }));
    fc.assert(
      fc.property(fc.array(any), (findings) => {
        const rendered = renderReport(report(...findings));
        const lines = rendered.slice(0, -1).split('\n');
        assert.equal(lines.length, findings.length + 1);
        for (const line of lines) assert.doesNotMatch(line, /[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/);
      }),
    );
  });

  it('is the same as JSON', () => {
    const one = report(finding('leak', 'a\n"b"'));
    assert.deepEqual(JSON.parse(renderReportJson(one)), one);
  });

  it('ends with 0 for nothing, 1 for a leak or a break, 3 for warnings alone', () => {
    assert.equal(exitCodeFor([]), 0);
    assert.equal(exitCodeFor([finding('warning')]), 3);
    assert.equal(exitCodeFor([finding('warning'), finding('break')]), 1);
    assert.equal(exitCodeFor([finding('leak')]), 1);
  });
});

describe('the codes of doctor', () => {
  it('have a row each in docs/doctor.md, and a world in a test', () => {
    const read = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');
    const rows = [...read('../../../docs/doctor.md').matchAll(/^\| `(UB_DOCTOR_\w+)` \|/gm)].map(([, code]) => code);
    assert.deepEqual(rows, doctorCodes);
    const worlds = read('container.test.ts') + read('docker.test.ts');
    for (const code of doctorCodes) assert.ok(worlds.includes(`'${code}'`), code);
  });
});
