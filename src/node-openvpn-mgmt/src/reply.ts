import { ProtocolError } from './errors.ts';

/**
 * How OpenVPN answers a command:
 * - `single`: one `SUCCESS: …` or `ERROR: …`
 * - `block`: lines and `END`, or one `ERROR: …`
 * - `success-block`: `SUCCESS: …`, then lines and `END`; or one `ERROR: …`
 */
export type ReplyShape = 'single' | 'block' | 'success-block';

/** A whole reply. `text` is what follows `SUCCESS: ` or `ERROR: `. */
export type Reply =
  | { readonly kind: 'success'; readonly text: string; readonly lines: readonly string[] }
  | { readonly kind: 'error'; readonly text: string };

/** What one line did to a reply. */
export type ReplyStep =
  | { readonly kind: 'more' }
  | { readonly kind: 'whole'; readonly reply: Reply }
  /** The line cannot be part of this reply. */
  | { readonly kind: 'foreign' };

/** Puts the lines of one reply together. */
export interface ReplyCollector {
  /** Takes one line. Throws {@link ProtocolError} when the reply grows without end. */
  push(line: string): ReplyStep;
}

/** Far more than `--management-log-cache` keeps, so that a peer that never ends a block cannot fill our memory. */
const maxLines = 100_000;

/** Creates a collector for one reply. */
export function createReplyCollector(shape: ReplyShape): ReplyCollector {
  let success: string | undefined = shape === 'block' ? '' : undefined;
  let started = false;
  const lines: string[] = [];

  function whole(): ReplyStep {
    return { kind: 'whole', reply: { kind: 'success', text: success ?? '', lines } };
  }

  return {
    push(line) {
      // Only the first line can be an error: a line inside a block is content, whatever it looks like.
      const error = started ? undefined : textAfter('ERROR:', line);
      if (error !== undefined) return { kind: 'whole', reply: { kind: 'error', text: error } };

      if (success === undefined) {
        success = textAfter('SUCCESS:', line);
        if (success === undefined) return { kind: 'foreign' };
        started = true;
        return shape === 'single' ? whole() : { kind: 'more' };
      }
      if (line === 'END') return whole();
      if (lines.length >= maxLines) throw new ProtocolError(`more than ${maxLines} lines in one reply`);
      started = true;
      lines.push(line);
      return { kind: 'more' };
    },
  };
}

function textAfter(prefix: string, line: string): string | undefined {
  return line.startsWith(prefix) ? line.slice(prefix.length).trimStart() : undefined;
}
