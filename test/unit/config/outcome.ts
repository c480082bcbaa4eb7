import assert from 'node:assert/strict';
import { renderFaults } from '../../../src/config/report.ts';
import type { Fault, Parsed } from '../../../src/errors.ts';
import { type Ipv4Cidr, type Ipv6Cidr, parseIpv4Cidr, parseIpv6Cidr } from '../../../src/net/address.ts';

/** The value of a parse that has to succeed. */
export function valueFrom<T>(parsed: Parsed<T>): T {
  if (parsed.kind === 'faults') assert.fail(renderFaults(parsed.faults, 'unexpected'));
  return parsed.value;
}

/** The faults of a parse that has to fail. */
export function faultsOf(parsed: Parsed<unknown>): readonly Fault[] {
  if (parsed.kind === 'ok') assert.fail(`parsed without a fault: ${JSON.stringify(parsed.value)}`);
  assert.ok(parsed.faults.length > 0, 'a failed parse names a fault');
  return parsed.faults;
}

/** The problem of a parse that has to fail with one fault. */
export function problemOf(parsed: Parsed<unknown>): string {
  const faults = faultsOf(parsed);
  assert.equal(faults.length, 1, renderFaults(faults, 'expected one fault'));
  return faults[0]?.problem ?? '';
}

/** A subnet of IPv6 that a test states as text. */
export function cidr6(text: string): Ipv6Cidr {
  const parsed = parseIpv6Cidr(text);
  assert.ok(parsed, text);
  return parsed;
}

/** A subnet that a test states as text. */
export function cidr(text: string): Ipv4Cidr {
  const parsed = parseIpv4Cidr(text);
  assert.ok(parsed, text);
  return parsed;
}
