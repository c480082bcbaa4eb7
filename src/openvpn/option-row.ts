import type { ProfileOption } from './profile-model.ts';

/** A row of 255 bytes and its line end fill OPTION_LINE_SIZE (256), and end OpenVPN at once (2.6.14 and 2.7.6, `options.h`). */
export const MAX_ROW_BYTES = 254;

/** The option on one row without its line end, words quoted where OpenVPN's reader needs it; never its inline block. */
export function renderOptionRow(option: Pick<ProfileOption, 'name' | 'parameters'>): string {
  return [option.name, ...option.parameters.map(quote)].join(' ');
}

function quote(word: string): string {
  if (/^[A-Za-z0-9_.,:/@%+=*?~^-]+$/.test(word)) return word;
  // Between single quotes nothing is special, so a word is as long as it was: rows are short.
  if (!word.includes("'")) return `'${word}'`;
  return `"${word.replaceAll(/["\\]/g, '\\$&')}"`;
}
