import { resolverPort } from '../config/own-resolver.ts';
import { renderSocket } from '../net/address.ts';
import type { Upstream } from './resolver-settings.ts';

/** Why names do not resolve although the tunnel works. `text` is one sentence for people. */
export interface DnsCause {
  readonly code: DnsCauseCode;
  readonly text: string;
}

export type DnsCauseCode = keyof typeof hints;

const hints = {
  'certificate-refused':
    "see whether the name after # is the resolver's and this machine's clock is right; an authority of your own goes into DNS_CA_FILE",
  'resolver-silent': 'try another resolver in DNS; the tunnel itself works',
  'resolver-refuses': 'see whether the resolver serves you, and whether its port is right',
  'resolver-ended': `it is started again; see whether something else in this network namespace has its port ${resolverPort}, and the log at LOG_LEVEL=debug`,
} as const;

/** What to do about it, one clause without a full stop. */
export function dnsHintOf(code: DnsCauseCode): string {
  return hints[code];
}

/** What the canary got: nothing in time, or an answer that says that there is none. */
export type Miss = 'silent' | 'failed';

/**
 * Says why a question stayed without an answer.
 *
 * @param certificateProblem the last complaint of {@link readCertificateProblem} since the last answer
 */
export function explainMiss({
  miss,
  upstreams,
  certificateProblem,
}: {
  readonly miss: Miss;
  readonly upstreams: readonly Upstream[];
  readonly certificateProblem: string | undefined;
}): DnsCause {
  const whom = upstreams
    .map(({ address, port, name }) => `${renderSocket(address, port)}${name === undefined ? '' : ` (${name})`}`)
    .join(' and ');
  if (certificateProblem !== undefined) {
    return { code: 'certificate-refused', text: `the certificate of ${whom} was refused: ${certificateProblem}` };
  }
  if (miss === 'silent') return { code: 'resolver-silent', text: `nothing comes back from ${whom}` };
  return { code: 'resolver-refuses', text: `${whom} gives no answers` };
}

/**
 * What a line of unbound says of a certificate; undefined when it is about something else. 1.20 and later name the
 * reason in a line of its own, after one that says only that it failed.
 */
export function readCertificateProblem(line: string): string | undefined {
  const reason = /ssl handshake cert error: (.+)$/.exec(line)?.[1];
  if (reason !== undefined) return reason.replaceAll(/\p{C}/gu, '?');
  return /ssl handshake failed .*certificate verify failed/.test(line) ? 'certificate verify failed' : undefined;
}
