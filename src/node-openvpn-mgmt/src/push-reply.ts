import type { LogEvent } from './log.ts';

/** What the server pushed, one option a string, in its order; OpenVPN strips the values of tokens. */
export interface PushReply {
  readonly options: readonly string[];
}

/** Merges the pieces of a push reply. */
export interface PushReplyCollector {
  /** Takes one line of the log; gives the reply with its last piece, else undefined. */
  push(log: LogEvent): PushReply | undefined;
}

// push.c `incoming_push_message`, logged from verb 3 on. A line that was cut has no closing quote and does not match.
const pushReplyPattern = /^PUSH: Received control message: 'PUSH_REPLY(?:,(.*))?'$/s;
// `SIGUSR1[soft,ping-restart] received, process restarting`: the other pieces will not come.
const restartPattern = /^SIG[A-Z0-9]+\[/;
const moreFollows = 'push-continuation 2';

/** A server pushes a few KB; a peer that never sends the last piece must not fill our memory. */
const maxOptions = 4096;

/** Creates a collector for the log of one OpenVPN process. A restart drops what was incomplete. */
export function createPushReplyCollector(): PushReplyCollector {
  let pending: readonly string[] = [];

  return {
    push({ message }) {
      if (restartPattern.test(message)) pending = [];
      const match = pushReplyPattern.exec(message);
      if (match === null) return undefined;

      const tokens = (match[1] ?? '').split(',').filter((token) => token !== '');
      const options = [...pending, ...tokens.filter((token) => !token.startsWith('push-continuation'))];
      const whole = !tokens.includes(moreFollows);
      pending = whole || options.length > maxOptions ? [] : options;
      return whole ? { options } : undefined;
    },
  };
}

/** The last whole push reply in a log, such as the history that `logOn({ history: true })` gives. */
export function parsePushReply(log: Iterable<LogEvent>): PushReply | undefined {
  const collector = createPushReplyCollector();
  let last: PushReply | undefined;
  for (const line of log) last = collector.push(line) ?? last;
  return last;
}
