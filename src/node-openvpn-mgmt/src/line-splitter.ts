import { ProtocolError } from './errors.ts';

/**
 * The longest line that is accepted. OpenVPN formats a line in a buffer of about 10 KB (`ERR_BUF_SIZE`), so anything
 * longer is not OpenVPN, and keeping it would let the peer fill our memory.
 */
export const maxLineBytes = 64 * 1024;

/** The one line that OpenVPN does not end (manage.c `man_prompt`): whatever follows it is a line of its own. */
export const passwordPrompt = 'ENTER PASSWORD:';

const promptBytes = Buffer.from(passwordPrompt);
const lineFeed = 0x0a;
const carriageReturn = 0x0d;

/** Cuts a byte stream into lines. */
export interface LineSplitter {
  /** Yields each line that `chunk` completes, without its line end. Throws {@link ProtocolError} at the line that is too long. */
  push(chunk: Uint8Array): Generator<string, void, undefined>;
}

/**
 * Creates a splitter. Lines end LF or CRLF; bytes are decoded a whole line at a time, so a code point may span chunks.
 * Bytes that are not UTF-8 become U+FFFD.
 */
export function createLineSplitter(): LineSplitter {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  let heads: Uint8Array[] = [];
  let headBytes = 0;
  let mayBePrompt = true;

  function assertLength(bytes: number): void {
    if (bytes > maxLineBytes) throw new ProtocolError(`a line is longer than ${maxLineBytes} bytes`);
  }

  function startLine(): void {
    heads = [];
    headBytes = 0;
    mayBePrompt = true;
  }

  function keep(piece: Uint8Array): void {
    headBytes += piece.length;
    assertLength(headBytes);
    // A copy, which `slice` of a Buffer would not be: the caller may reuse the memory of its chunk.
    heads.push(new Uint8Array(piece));
  }

  return {
    *push(chunk) {
      let start = 0;
      while (start < chunk.length) {
        if (mayBePrompt) {
          const piece = chunk.subarray(start, start + promptBytes.length - headBytes);
          mayBePrompt = promptBytes.subarray(headBytes, headBytes + piece.length).equals(piece);
          if (mayBePrompt && headBytes + piece.length === promptBytes.length) {
            startLine();
            start += piece.length;
            yield passwordPrompt;
            continue;
          }
        }
        const end = chunk.indexOf(lineFeed, start);
        if (end === -1) return keep(chunk.subarray(start));
        assertLength(headBytes + end - start);
        const line = joinLine([...heads, chunk.subarray(start, end)]);
        startLine();
        start = end + 1;
        yield decoder.decode(line);
      }
    },
  };
}

function joinLine(pieces: readonly Uint8Array[]): Uint8Array {
  const bytes = Buffer.concat(pieces);
  return bytes.at(-1) === carriageReturn ? bytes.subarray(0, -1) : bytes;
}
