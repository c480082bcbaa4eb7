import { renderValue } from '../config/report.ts';
import type { Fault } from '../errors.ts';
import type { Finding } from './finding.ts';

/** Findings for faults of one kind. A fault says what and what to do; why it matters is the same for the kind. */
export function faultFindings(
  faults: readonly Fault[],
  { code, severity, why }: Pick<Finding, 'code' | 'severity' | 'why'>,
): readonly Finding[] {
  return faults.map(({ name, value, problem, hint }) => ({
    code,
    severity,
    what: `${value === undefined ? name : `${name}=${renderValue(value)}`}: ${problem}`,
    why,
    remedy: hint,
  }));
}

/** Findings for settings that keep the router from starting. */
export function settingFindings(faults: readonly Fault[]): readonly Finding[] {
  return faultFindings(faults, {
    code: 'UB_DOCTOR_SETTING',
    severity: 'break',
    why: 'the router does not start with it',
  });
}
