import { ExecaError, execa } from 'execa';
import { UnderbridgeError } from '../errors.ts';

export interface Command {
  readonly file: string;
  readonly args: readonly string[];
  /** Text for standard input. */
  readonly input?: string;
  /** Exit codes besides 0 that are an answer, not a failure. */
  readonly accept?: readonly number[];
  /** Absent: 10 s. */
  readonly timeoutMs?: number;
}

const usualTimeoutMs = 10_000;
const maxBufferBytes = 64 * 1024 * 1024;

/**
 * Runs a program by its argument vector, never through a shell, and gives its standard output.
 * @throws UnderbridgeError UB_EXEC with the first line of standard error that says something.
 */
export async function run({ file, args, input, accept = [], timeoutMs = usualTimeoutMs }: Command): Promise<string> {
  try {
    const { stdout } = await execa(file, args, {
      ...surroundings(timeoutMs),
      maxBuffer: maxBufferBytes,
      ...(input === undefined ? { stdin: 'ignore' } : { input }),
    });
    return stdout;
  } catch (error) {
    if (!(error instanceof ExecaError)) throw error;
    if (error.exitCode !== undefined && accept.includes(error.exitCode)) return `${error.stdout}`;
    throw failure({ file, args }, error);
  }
}

/**
 * The same, line by line: for output that may be too much to hold.
 * @throws UnderbridgeError UB_EXEC
 */
export async function* runLines({ file, args }: Pick<Command, 'file' | 'args'>): AsyncGenerator<string> {
  try {
    yield* execa(file, args, { ...surroundings(usualTimeoutMs), stdin: 'ignore', buffer: { stdout: false } });
  } catch (error) {
    if (!(error instanceof ExecaError)) throw error;
    throw failure({ file, args }, error);
  }
}

function surroundings(timeoutMs: number) {
  return {
    timeout: timeoutMs,
    // Tools translate and colour their output by the environment; and it may hold credentials.
    env: { PATH: process.env.PATH, LC_ALL: 'C' },
    extendEnv: false,
  } as const;
}

function failure({ file, args }: Pick<Command, 'file' | 'args'>, error: ExecaError): UnderbridgeError {
  return new UnderbridgeError({
    code: 'UB_EXEC',
    message: `${file} ${args.join(' ')}: ${firstLine(`${error.stderr ?? ''}`) ?? error.shortMessage}`,
    hint: `see what ${file} says when it is run by hand in the container`,
    cause: error,
  });
}

function firstLine(text: string): string | undefined {
  const lines = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  // `iptables-restore v1.8.9 (nf_tables):` has its reason on the next one.
  return lines.find((line) => !line.endsWith(':')) ?? lines[0];
}
