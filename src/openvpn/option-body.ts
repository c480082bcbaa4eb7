/**
 * The longest line of an inline body, in bytes without its line end.
 *
 * OpenVPN reads a body in pieces of at most 255 bytes (OPTION_LINE_SIZE less the NUL, 2.6.14 and 2.7.6, `fgets` in
 * `read_inline_file`), and looks for the end tag at the start of each piece: in a longer line it could stand anywhere.
 */
export const MAX_BODY_LINE_BYTES = 254;

/** Why a body cannot stand between tags, and the first line of it, from 1, that is at fault. */
export interface BodyFlaw {
  readonly kind: 'empty' | 'tag' | 'long' | 'nul' | 'unended';
  readonly line: number;
}

/** Finds what in a body could make OpenVPN end its block early, or find no block at all; undefined when it is sound. */
export function findBodyFlaw(body: string): BodyFlaw | undefined {
  if (body.trim() === '') return { kind: 'empty', line: 1 };
  const rows = body.split('\n');
  for (const [index, row] of rows.entries()) {
    const line = index + 1;
    if (row.includes('</')) return { kind: 'tag', line };
    if (row.includes('\u0000')) return { kind: 'nul', line };
    if (Buffer.byteLength(row) > MAX_BODY_LINE_BYTES) return { kind: 'long', line };
  }
  return rows.at(-1) === '' ? undefined : { kind: 'unended', line: rows.length };
}

/** Base64 in lines as PEM has them, however it was broken before; a text that is no base64 stays as it is. */
export function wrapBase64(text: string): string {
  const letters = text.replaceAll(/\s/g, '');
  if (!/^[A-Za-z0-9+/]+=*$/.test(letters)) return text;
  return letters.replaceAll(/.{1,76}/g, '$&\n');
}
