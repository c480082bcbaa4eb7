import type { Fault } from '../errors.ts';

/** One option as the profile's text has it: quoting undone, inline block attached, meaning not yet known. */
export interface OptionLine {
  readonly name: string;
  readonly parameters: readonly string[];
  /** 1-based line on which the option starts. */
  readonly line: number;
  /** The text between `<name>` and `</name>`, line ends as `\n`. Often a secret. */
  readonly inline?: string;
}

/** What a text holds, and what in it is no option at all. */
export interface Lexed {
  readonly lines: readonly OptionLine[];
  readonly faults: readonly Fault[];
  /** A block ends that never began, so options may be lines of a key that lost its opening tag. */
  readonly strayEnd: boolean;
}

/** The words of one line, or why the line has none. */
export type Words =
  | { readonly kind: 'words'; readonly words: readonly string[] }
  | { readonly kind: 'fault'; readonly problem: string; readonly hint: string };

/**
 * Splits a profile's text into options, by the rules of OpenVPN's own reader (2.6.14 and 2.7.6, `options_parse.c`).
 *
 * `firstLine` is the number of the text's first line, for a text that is itself the body of a `<connection>` block.
 */
export function lexOptions(input: { file: string; text: string; firstLine?: number }): Lexed {
  const rows = input.text.replace(/^\u{feff}/u, '').split('\n');
  const firstLine = input.firstLine ?? 1;
  const lines: OptionLine[] = [];
  const faults: Fault[] = [];
  let strayEnd = false;
  const report = (line: number, problem: string, hint: string, value?: string): void => {
    faults.push({ name: `${input.file}:${line}`, ...(value === undefined ? {} : { value }), problem, hint });
  };

  for (let index = 0; index < rows.length; index++) {
    const row = (rows[index] ?? '').replace(/\r$/, '');
    const line = firstLine + index;
    if (isConflictMarker(row)) {
      report(line, 'is the marker of an unresolved merge conflict', 'keep one side of the conflict', row.slice(0, 7));
      continue;
    }
    const split = splitWords(row);
    if (split.kind === 'fault') {
      report(line, split.problem, split.hint);
      continue;
    }
    const [first, ...parameters] = split.words;
    if (first === undefined) continue;
    // OpenVPN takes an option as it would stand on a command line, too.
    const name = /^--./s.test(first) ? first.slice(2) : first;
    const tag = parameters.length === 0 ? /^<(.*)>$/.exec(name)?.[1] : undefined;
    if (tag === undefined) {
      lines.push({ name, parameters, line });
      continue;
    }
    if (!/^[a-z0-9-]+$/.test(tag)) {
      const problem = tag.startsWith('/') ? 'ends a block that was never opened' : 'is no name of an inline block';
      strayEnd ||= tag.startsWith('/');
      report(line, problem, 'put the block between <name> and </name>, each on a line of its own');
      continue;
    }
    const length = blockLength(rows, index + 1, `</${tag}>`);
    if (length === undefined) {
      report(line, 'opens an inline block that is never closed', `add a line </${tag}> after the block`, `<${tag}>`);
      break;
    }
    const body = rows.slice(index + 1, index + 1 + length).map((text) => text.replace(/\r$/, ''));
    const marker = body.findIndex(isConflictMarker);
    if (marker >= 0) {
      const problem = 'is the marker of an unresolved merge conflict';
      report(line + 1 + marker, problem, 'keep one side of the conflict', body[marker]?.slice(0, 7));
    }
    lines.push({ name: tag, parameters: [], line, inline: body.map((text) => `${text}\n`).join('') });
    index += length + 1;
  }
  return { lines, faults, strayEnd };
}

/**
 * Splits one line into words, undoing the quotes.
 *
 * Outside of single quotes a backslash takes away the meaning of a backslash, a double quote or a blank, and nothing
 * else may follow it. A comment starts only where a word could.
 */
export function splitWords(row: string): Words {
  const words: string[] = [];
  let word = '';
  let state: 'between' | 'bare' | 'double' | 'single' = 'between';
  let escaped = false;
  const finish = (): void => {
    words.push(word);
    word = '';
    state = 'between';
  };

  // The line end is a blank to OpenVPN: it closes a bare word, and it is what a trailing backslash would escape.
  for (const char of `${row}\n`) {
    if (!escaped && char === '\\' && state !== 'single') {
      escaped = true;
      continue;
    }
    const blank = /^[ \t\n\v\f\r]$/.test(char);
    const ends =
      (state === 'bare' && blank && !escaped) ||
      (state === 'double' && char === '"' && !escaped) ||
      (state === 'single' && char === "'");
    if (ends) {
      finish();
    } else if (state !== 'between') {
      if (escaped && !blank && char !== '\\' && char !== '"') return BAD_BACKSLASH;
      word += char;
    } else if (!blank) {
      if (char === ';' || char === '#') return { kind: 'words', words };
      if (!escaped && char === '"') state = 'double';
      else if (!escaped && char === "'") state = 'single';
      else if (escaped && char !== '\\' && char !== '"') return BAD_BACKSLASH;
      else {
        state = 'bare';
        word = char;
      }
    }
    escaped = false;
  }
  if (state === 'between') return { kind: 'words', words };
  return state === 'bare' ? TRAILING_BACKSLASH : UNCLOSED_QUOTE;
}

const BAD_BACKSLASH: Words = {
  kind: 'fault',
  problem: 'has a backslash before a character that needs none',
  hint: 'write \\\\ for a backslash, or put the word into single quotes',
};
const TRAILING_BACKSLASH: Words = {
  kind: 'fault',
  problem: 'ends with a backslash',
  hint: 'write the option on one line, or \\\\ for a backslash',
};
const UNCLOSED_QUOTE: Words = {
  kind: 'fault',
  problem: 'opens a quote that is not closed on the same line',
  hint: 'close the quote, or double-quote the word and write \\" for a quote in it',
};

/** The number of rows before the one that starts with `endTag`; undefined when none does. */
function blockLength(rows: readonly string[], from: number, endTag: string): number | undefined {
  // OpenVPN compares the start of the line only, after blanks: `</ca> anything` ends the block as well.
  const end = rows.findIndex((row, index) => index >= from && row.replace(/^[ \t\v\f\r]+/, '').startsWith(endTag));
  return end < 0 ? undefined : end - from;
}

function isConflictMarker(row: string): boolean {
  return /^(?:<{7}|={7}|>{7}|\|{7})(?:\s|$)/.test(row);
}
