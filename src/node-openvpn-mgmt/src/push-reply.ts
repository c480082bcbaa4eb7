import type { LogEvent } from './log.ts';

/** What the server pushed, one option a string, in its order; OpenVPN strips the values of tokens. */
export interface PushReply {
  readonly options: readonly string[];
}

/** Merges the pieces of a push reply, and the updates that a server of 2.7 sends later. */
export interface PushReplyCollector {
  /** Takes one line of the log; gives all that holds now with the last piece, else undefined. */
  push(log: LogEvent): PushReply | undefined;
}

// push.c `incoming_push_message`, logged from verb 3 on. A line that was cut has no closing quote and does not match.
const pushPattern = /^PUSH: Received control message: 'PUSH_(REPLY|UPDATE)(?:,(.*))?'$/s;
// `SIGUSR1[soft,ping-restart] received, process restarting`: the other pieces will not come.
const restartPattern = /^SIG[A-Z0-9]+\[/;
const moreFollows = 'push-continuation 2';

/** A server pushes a few KB; a peer that never sends the last piece must not fill our memory. */
const maxOptions = 4096;

/** Creates a collector for the log of one OpenVPN process. A restart drops what was incomplete. */
export function createPushReplyCollector(): PushReplyCollector {
  let pending: readonly string[] = [];
  let held: readonly string[] = [];

  return {
    push({ message }) {
      if (restartPattern.test(message)) pending = [];
      const match = pushPattern.exec(message);
      if (match === null) return undefined;

      const tokens = (match[2] ?? '').split(',').filter((token) => token !== '');
      const options = [...pending, ...tokens.filter((token) => !token.startsWith('push-continuation'))];
      const whole = !tokens.includes(moreFollows);
      pending = whole || options.length > maxOptions ? [] : options;
      if (!whole) return undefined;
      held = match[1] === 'UPDATE' ? updateOptions(held, options) : options;
      return { options: held };
    },
  };
}

/**
 * What holds after an update: an option takes the place of all that have its name, `-name` takes them away, and `?`
 * before either tells a client that it may pass it over (push_util.c, 2.7).
 */
function updateOptions(held: readonly string[], update: readonly string[]): readonly string[] {
  const changes = update.map((token) => token.replace(/^\?/, ''));
  const names = new Set(changes.map((change) => nameOf(change.replace(/^-/, ''))));
  const kept = held.filter((option) => !names.has(nameOf(option)));
  return [...kept, ...changes.filter((change) => !change.startsWith('-'))].slice(-maxOptions);
}

function nameOf(option: string): string {
  return option.split(' ', 1)[0] ?? '';
}

/** The last whole push reply in a log, with what updated it, such as the history that `logOn({ history: true })` gives. */
export function parsePushReply(log: Iterable<LogEvent>): PushReply | undefined {
  const collector = createPushReplyCollector();
  let last: PushReply | undefined;
  for (const line of log) last = collector.push(line) ?? last;
  return last;
}
