import { escapeInvisible } from '../config/report.ts';
import type { Finding, Severity } from './finding.ts';

/** Where doctor looked: inside the router's container, or at what Docker says of these routers. */
export type Scope =
  | { readonly kind: 'container' }
  | { readonly kind: 'docker'; readonly routers: readonly string[]; readonly clients: number };

export interface Report {
  readonly scope: Scope;
  readonly findings: readonly Finding[];
}

const severities: readonly Severity[] = ['leak', 'break', 'warning'];

/**
 * One line for each finding, the worst first, then one that says what was looked at. Names come from Docker and from
 * files: none can break out of its line or reach the terminal as a control sequence.
 */
export function renderReport({ scope, findings }: Report): string {
  const lines = severities.flatMap((severity) => findings.filter((finding) => finding.severity === severity));
  return [...lines.map(renderFinding), renderSummary(scope, findings)]
    .map((line) => `${escapeInvisible(line)}\n`)
    .join('');
}

/** The same for programs. */
export function renderReportJson({ scope, findings }: Report): string {
  return `${JSON.stringify({ scope, findings }, null, 2)}\n`;
}

function renderFinding({ severity, code, what, why, remedy }: Finding): string {
  return `${severity} ${code}: ${what}. ${capitalise(why)}. Remedy: ${remedy}`;
}

function renderSummary(scope: Scope, findings: readonly Finding[]): string {
  const counts = severities.map((severity) => {
    const count = findings.filter((finding) => finding.severity === severity).length;
    return `${count} ${severity}${count === 1 ? '' : 's'}`;
  });
  return `${counts.join(', ')}. ${describeScope(scope)}`;
}

function describeScope(scope: Scope): string {
  if (scope.kind === 'container') {
    return "Looked at this container; at Docker's networks and the clients only with its socket (see `underbridge --help`)";
  }
  const clients = scope.clients === 1 ? '1 client' : `${scope.clients} clients`;
  return `Looked at ${scope.routers.join(', ')} and ${clients} as Docker sees them; the inside: docker exec ${scope.routers[0]} underbridge doctor`;
}

function capitalise(sentence: string): string {
  return sentence.charAt(0).toUpperCase() + sentence.slice(1);
}
