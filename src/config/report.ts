import type { Fault } from '../errors.ts';

/** Longest part of a value that a report shows, in characters. */
const shownValueChars = 80;

/**
 * Renders faults as the message that a user reads: the heading with their number, then one line for each fault.
 * Nothing in a fault can break out of its line or reach the terminal as a control sequence.
 */
export function renderFaults(faults: readonly Fault[], heading: string): string {
  const count = faults.length === 1 ? '1 problem' : `${faults.length} problems`;
  return [`${heading}: ${count}`, ...faults.map((fault) => `  ${renderFault(fault)}`)].join('\n');
}

/** Renders a value in quotation marks, escaped as in JSON and cut at 80 characters. */
export function renderValue(value: string): string {
  // No character takes more than two UTF-16 units, so this slice holds enough of them without splitting a huge value.
  const chars = [...value.slice(0, 2 * (shownValueChars + 1))];
  const shown = chars.length > shownValueChars ? `${chars.slice(0, shownValueChars - 1).join('')}…` : value;
  return escapeInvisible(JSON.stringify(shown));
}

function renderFault({ name, value, problem, hint }: Fault): string {
  const subject = value === undefined ? escapeInvisible(name) : `${escapeInvisible(name)}=${renderValue(value)}`;
  return `${subject}: ${escapeInvisible(problem)}. ${escapeInvisible(capitalise(hint))}.`;
}

function capitalise(sentence: string): string {
  return sentence.charAt(0).toUpperCase() + sentence.slice(1);
}

/** Escapes control characters, line separators and the marks that turn the direction of text around. */
export function escapeInvisible(text: string): string {
  return text.replace(
    /[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
