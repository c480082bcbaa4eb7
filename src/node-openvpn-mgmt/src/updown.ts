import { ProtocolError } from './errors.ts';
import type { UpdownEvent } from './notification.ts';

/** What one `>UPDOWN:` line came to. */
export type UpdownStep =
  | { readonly kind: 'more' }
  | { readonly kind: 'whole'; readonly event: UpdownEvent }
  | { readonly kind: 'unknown' };

/** Merges `>UPDOWN:UP`, `>UPDOWN:ENV,k=v` …, `>UPDOWN:ENV,END` into one event. */
export interface UpdownCollector {
  /** Takes what follows `>UPDOWN:`. Throws {@link ProtocolError} when the environment grows without end. */
  push(text: string): UpdownStep;
}

/** Far more than the about 100 variables of a real event, so that a peer that never ends one cannot fill our memory. */
const maxVariables = 4096;

/** Creates a collector. A new phase before the end of the last one drops the last one. */
export function createUpdownCollector(): UpdownCollector {
  let open: { readonly phase: UpdownEvent['phase']; readonly env: Map<string, string> } | undefined;

  return {
    push(text) {
      if (text === 'UP' || text === 'DOWN') {
        open = { phase: text, env: new Map() };
        return { kind: 'more' };
      }
      if (open === undefined || !text.startsWith('ENV,')) return { kind: 'unknown' };

      const variable = text.slice('ENV,'.length);
      if (variable === 'END') {
        const event: UpdownEvent = { kind: 'updown', ...open };
        open = undefined;
        return { kind: 'whole', event };
      }
      if (open.env.size >= maxVariables) throw new ProtocolError(`more than ${maxVariables} variables in one UPDOWN`);
      const equals = variable.indexOf('=');
      if (equals === -1) open.env.set(variable, '');
      else open.env.set(variable.slice(0, equals), variable.slice(equals + 1));
      return { kind: 'more' };
    },
  };
}
