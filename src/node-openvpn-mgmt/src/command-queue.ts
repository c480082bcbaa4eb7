import { ManagementError } from './errors.ts';
import { escapeParameter, renderCommand, renderRawLine } from './quote.ts';
import { createReplyCollector, type Reply, type ReplyCollector, type ReplyShape } from './reply.ts';

/** One command as it goes out. */
export interface Command {
  readonly name: string;
  readonly parameters?: readonly string[];
  /** The lines that follow the command until an `END`, which is added; for `pk-sig`, `certificate` and `client-auth`. */
  readonly body?: readonly string[];
  readonly reply: ReplyShape;
  /** Values that no error may show, whatever OpenVPN answers. */
  readonly secrets?: readonly string[];
}

/** A reply that is not an error. */
export type CommandResult = Extract<Reply, { kind: 'success' }>;

/** Gives each reply line to the oldest command that waits: OpenVPN answers strictly in order. */
export interface CommandQueue {
  /** Writes the command at once, behind those that still wait. Rejects with a {@link ManagementError}. */
  send(command: Command): Promise<CommandResult>;
  /** Writes the password that `--management … pwfile` asks for, as the first line of the connection. */
  sendPassword(password: string): Promise<CommandResult>;
  /** Writes a command whose reply nobody waits for: `exit` and `version n`. Throws `MGMT_PARAMETER`, `MGMT_CLOSED`. */
  post(name: string, ...parameters: readonly string[]): void;
  /** Takes a reply line; false when no command waits for it. Throws `ProtocolError`. */
  push(line: string): boolean;
  /** Rejects whatever waits, and everything that is sent from now on, with `MGMT_CLOSED`. */
  close(cause?: Error): void;
}

interface Slot {
  readonly collector: ReplyCollector;
  readonly settle: (result: Result) => void;
}

type Result = Reply | { readonly kind: 'closed'; readonly cause: Error | undefined } | { readonly kind: 'timeout' };

// What `version n` is answered with by 2.7 if n is above 3, and never by 2.6 (manage.c `set_client_version`). Only the
// text tells, so the line is known by it and never takes a place in the queue.
const versionReply = 'SUCCESS: Management client version';

/** Creates a queue that writes with `write`, one whole line a call. */
export function createCommandQueue({
  write,
  timeoutMs,
}: {
  readonly write: (line: string) => void;
  readonly timeoutMs: number;
}): CommandQueue {
  const slots: Slot[] = [];
  let closed: { readonly cause: Error | undefined } | undefined;

  function enqueue(command: Command, render: () => string): Promise<CommandResult> {
    return new Promise((resolve, reject) => {
      const text = render();
      if (closed !== undefined) throw closedError(command.name, closed.cause);
      // The slot outlives the timeout: its reply may still come, and must not go to the next command.
      const timer = setTimeout(() => settle({ kind: 'timeout' }), timeoutMs);
      function settle(result: Result): void {
        clearTimeout(timer);
        if (result.kind === 'success') resolve(result);
        else reject(failure(command, result, timeoutMs));
      }
      // Before the write: an in-memory stream may answer from inside it.
      slots.push({ collector: createReplyCollector(command.reply), settle });
      write(text);
    });
  }

  return {
    post(name, ...parameters) {
      const line = renderCommand(name, parameters);
      if (closed !== undefined) throw closedError(name, closed.cause);
      write(line);
    },

    send: (command) => enqueue(command, () => renderText(command)),

    sendPassword: (password) =>
      enqueue({ name: 'the management password', reply: 'single', secrets: [password] }, () =>
        renderRawLine('the management password', password),
      ),

    push(line) {
      if (line.startsWith(versionReply)) return true;
      const head = slots[0];
      if (head === undefined) return false;
      const step = head.collector.push(line);
      if (step.kind === 'foreign') return false;
      if (step.kind === 'whole') {
        slots.shift();
        head.settle(step.reply);
      }
      return true;
    },

    close(cause) {
      if (closed !== undefined) return;
      closed = { cause };
      for (const { settle } of slots.splice(0)) settle({ kind: 'closed', cause });
    },
  };
}

/** In one write, so that nothing comes between a command and its body. */
function renderText({ name, parameters, body }: Command): string {
  const lines = body === undefined ? [] : [...body.map((line) => renderBodyLine(name, line)), 'END\n'];
  return [renderCommand(name, parameters), ...lines].join('');
}

function renderBodyLine(name: string, line: string): string {
  // It would end the body, and what follows would be commands.
  if (line !== 'END') return renderRawLine(name, line);
  throw new ManagementError({ code: 'MGMT_PARAMETER', message: `a line of ${name} is END`, command: name });
}

function failure(command: Command, result: Exclude<Result, { kind: 'success' }>, timeoutMs: number): ManagementError {
  const { name } = command;
  switch (result.kind) {
    case 'closed':
      return closedError(name, result.cause);
    case 'timeout':
      return new ManagementError({
        code: 'MGMT_TIMEOUT',
        message: `OpenVPN did not answer ${name} within ${timeoutMs} ms`,
        command: name,
      });
    case 'error': {
      const reply = holdsSecret(result.text, command.secrets ?? []) ? 'its text held a secret' : result.text;
      return new ManagementError({
        code: 'MGMT_REJECTED',
        message: `OpenVPN refused ${name}: ${reply}`,
        command: name,
        reply,
      });
    }
  }
}

function holdsSecret(text: string, secrets: readonly string[]): boolean {
  return secrets.some((secret) => secret !== '' && (text.includes(secret) || text.includes(escapeParameter(secret))));
}

function closedError(command: string, cause: Error | undefined): ManagementError {
  return new ManagementError({
    code: 'MGMT_CLOSED',
    message: `the management connection is closed, ${command} has no answer`,
    command,
    cause,
  });
}
