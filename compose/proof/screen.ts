import { styleText } from 'node:util';

/** One line of the proof: what was done, what was seen, and whether that is what Underbridge promises. */
export interface Row {
  readonly done: string;
  readonly seen: string;
  readonly pass: boolean;
}

const out = process.stdout;
const doneWidth = 48;
const indent = '  ';

/** Runs one step and reports it with the time it took, when it is over. */
export async function step<T>(title: string, work: () => Promise<T>): Promise<T> {
  const beganMs = performance.now();
  try {
    const result = await work();
    writeStep({ title, tookMs: performance.now() - beganMs, pass: true });
    return result;
  } catch (error) {
    writeStep({ title, tookMs: performance.now() - beganMs, pass: false });
    throw error;
  }
}

/** A headline over steps or rows. */
export function heading(text: string): void {
  out.write(`\n${paint('bold', text)}\n`);
}

/** Plain lines under a headline. */
export function say(...lines: readonly string[]): void {
  for (const line of lines) out.write(`${indent}${line}\n`);
}

/** Prints one row of the table; long cells go on in the next line of their own column. */
export function writeRow(row: Row): void {
  const seenWidth = Math.max(30, Math.min(out.columns ?? 130, 150) - doneWidth - 6);
  const done = wrap(row.done, doneWidth);
  const seen = wrap(row.seen, seenWidth);
  for (let line = 0; line < Math.max(done.length, seen.length); line += 1) {
    const sign = line === 0 ? mark(row.pass) : ' ';
    out.write(`${indent}${sign} ${(done[line] ?? '').padEnd(doneWidth)}  ${seen[line] ?? ''}`.trimEnd());
    out.write('\n');
  }
}

/** `1.2 s`; below a second `340 ms`. */
export function duration(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

function writeStep({ title, tookMs, pass }: { title: string; tookMs: number; pass: boolean }): void {
  out.write(`${indent}${mark(pass)} ${title.padEnd(doneWidth)}  ${paint('dim', duration(tookMs))}\n`);
}

function mark(pass: boolean): string {
  return pass ? paint('green', '✔') : paint('red', '✘');
}

// styleText leaves colour out by itself where the stream is no terminal, or NO_COLOR is set.
function paint(format: 'bold' | 'dim' | 'green' | 'red', text: string): string {
  return styleText(format, text, { stream: out });
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [''];
  for (const word of text.split(' ')) {
    const last = lines.at(-1) ?? '';
    if (last === '') lines[lines.length - 1] = word;
    else if (last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}
