import { ManagementError } from './errors.ts';

/** OpenVPN's `OPTION_PARM_SIZE`: what its input lexer keeps of one parameter. */
const maxParameterBytes = 256;

/** Below OpenVPN's line buffer of 1,024 bytes: when that overflows, the head is dropped and the tail runs as a command. */
const maxCommandBytes = 1000;

/**
 * Renders one command line with its line end: the name bare, every parameter in double quotes.
 *
 * Throws `MGMT_PARAMETER` for what OpenVPN would not take as it is: control characters (it drops them, and a line feed
 * starts another command), text that is not well-formed Unicode, more than 256 bytes in a parameter, more than 1,000
 * bytes in the line. The error names the command and the position, never the value.
 */
export function renderCommand(name: string, parameters: readonly string[] = []): string {
  if (!/^[a-z][a-z-]*$/.test(name)) throw refusal(undefined, 'a command is made of small letters and hyphens');
  const quoted = parameters.map((parameter, index) => {
    const problem = parameterProblem(parameter);
    if (problem !== undefined) throw refusal(name, `parameter ${index + 1} of ${name} ${problem}`);
    return `"${escapeParameter(parameter)}"`;
  });
  const line = [name, ...quoted].join(' ');
  if (Buffer.byteLength(line) > maxCommandBytes) {
    throw refusal(name, `the ${name} command is longer than ${maxCommandBytes} bytes`);
  }
  return `${line}\n`;
}

/** Renders a line that OpenVPN takes as it is, such as the management password or a line of a signature. */
export function renderRawLine(name: string, line: string): string {
  const problem = characterProblem(line) ?? (Buffer.byteLength(line) > maxCommandBytes ? 'is too long' : undefined);
  if (problem !== undefined) throw refusal(name, `a line of ${name} ${problem}`);
  return `${line}\n`;
}

/** Escapes a parameter for the inside of double quotes, where the lexer knows `\"` and `\\` alone. */
export function escapeParameter(parameter: string): string {
  return parameter.replace(/["\\]/g, '\\$&');
}

function parameterProblem(parameter: string): string | undefined {
  if (Buffer.byteLength(parameter) > maxParameterBytes) return `is longer than ${maxParameterBytes} bytes`;
  return characterProblem(parameter);
}

function characterProblem(text: string): string | undefined {
  if (/[\u0000-\u001f\u007f]/.test(text)) return 'holds a control character';
  return text.isWellFormed() ? undefined : 'is not well-formed Unicode';
}

function refusal(command: string | undefined, message: string): ManagementError {
  return new ManagementError({ code: 'MGMT_PARAMETER', message, command });
}
