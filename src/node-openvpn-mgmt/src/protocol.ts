import { createLineSplitter, passwordPrompt } from './line-splitter.ts';
import { type ManagementEvent, parseNotification } from './notification.ts';
import type { VerificationFailedEvent } from './password.ts';
import { createUpdownCollector } from './updown.ts';

/** A line that does not start with `>`: it belongs to the oldest command that waits for a reply. */
export interface ReplyLine {
  readonly kind: 'reply';
  readonly line: string;
}

/** OpenVPN waits for the password of `--management … pwfile`; a second one says that the first answer was wrong. */
export interface PasswordPrompt {
  readonly kind: 'password-prompt';
}

/** Whatever OpenVPN sends, in its order. */
export type ManagementMessage = ManagementEvent | ReplyLine | PasswordPrompt;

/** Turns the bytes of one connection into messages. No I/O. */
export interface ManagementParser {
  /**
   * Yields the messages that `chunk` completes, in order; the caller has to take them all. Throws `ProtocolError`, after
   * the messages before it, at a line of more than 64 KiB and at an environment without end.
   */
  push(chunk: Uint8Array): Generator<ManagementMessage, void, undefined>;
}

const updownPrefix = '>UPDOWN:';

/** Creates a parser for one connection. */
export function createManagementParser(): ManagementParser {
  const splitter = createLineSplitter();
  const updown = createUpdownCollector();

  let refusal: VerificationFailedEvent | undefined;

  // The server asks by refusing the login, and waits for the answer in the next one.
  function withChallenge(event: ManagementEvent): ManagementEvent {
    if (event.kind === 'verification-failed') refusal = event;
    if (event.kind !== 'password-need' || event.realm !== refusal?.realm) return event;
    const { crv1 } = refusal;
    refusal = undefined;
    return crv1 === undefined ? event : { ...event, dynamicChallenge: crv1 };
  }

  return {
    *push(chunk) {
      for (const line of splitter.push(chunk)) {
        if (line === passwordPrompt) {
          yield { kind: 'password-prompt' };
        } else if (!line.startsWith('>')) {
          yield { kind: 'reply', line };
        } else if (line.startsWith(updownPrefix)) {
          const step = updown.push(line.slice(updownPrefix.length));
          if (step.kind === 'whole') yield step.event;
          if (step.kind === 'unknown') yield { kind: 'unknown', line };
        } else {
          yield withChallenge(parseNotification(line));
        }
      }
    },
  };
}
