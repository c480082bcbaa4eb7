import { parsePort } from '../net/address.ts';
import type { Complaint } from './address-fault.ts';
import type { PortRange } from './router-config.ts';

/** A range of ports, or what is wrong with it. */
export type RangeOrComplaint =
  | { readonly kind: 'range'; readonly range: PortRange }
  | { readonly kind: 'complaint'; readonly complaint: Complaint };

/** Parses `4666` or `5000-5010`; `side` names the range in the complaint. */
export function parsePortRange(text: string, side: 'inside' | 'outside'): RangeOrComplaint {
  const hint = 'write a port from 1 to 65535, or a range such as 5000-5010';
  const [firstText = '', lastText = firstText, ...rest] = text.split('-');
  const first = parsePort(firstText);
  const last = parsePort(lastText);
  if (text === '') return { kind: 'complaint', complaint: { problem: `has no ${side} port`, hint } };
  if (first === undefined || last === undefined || rest.length > 0) {
    const problem = text.includes('-')
      ? `has an ${side} range that is not two ports from 1 to 65535`
      : `has an ${side} port that is not a number from 1 to 65535`;
    return { kind: 'complaint', complaint: { problem, hint } };
  }
  if (first > last) {
    return {
      kind: 'complaint',
      complaint: { problem: `has an ${side} range that runs backwards`, hint: `write it as ${last}-${first}` },
    };
  }
  return { kind: 'range', range: { first, last } };
}

/** How many ports a range holds. */
export function countPorts(range: PortRange): number {
  return range.last - range.first + 1;
}

/** Renders `4666` or `5000-5010`. */
export function renderPortRange(range: { readonly first: number; readonly last: number }): string {
  return range.first === range.last ? `${range.first}` : `${range.first}-${range.last}`;
}
