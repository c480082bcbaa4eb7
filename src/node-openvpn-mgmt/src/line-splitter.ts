import { ProtocolError } from './errors.ts';

/**
 * The longest line that is accepted. OpenVPN formats a line in a buffer of about 10 KB (`ERR_BUF_SIZE`), so anything
 * longer is not OpenVPN, and keeping it would let the peer fill our memory.
 */
export const maxLineBytes = 64 * 1024;

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

  function assertLength(bytes: number): void {
    if (bytes > maxLineBytes) throw new ProtocolError(`a line is longer than ${maxLineBytes} bytes`);
  }

  return {
    *push(chunk) {
      let start = 0;
      for (let end = chunk.indexOf(lineFeed); end !== -1; end = chunk.indexOf(lineFeed, start)) {
        assertLength(headBytes + end - start);
        const line = joinLine([...heads, chunk.subarray(start, end)]);
        heads = [];
        headBytes = 0;
        start = end + 1;
        yield decoder.decode(line);
      }
      if (start === chunk.length) return;
      headBytes += chunk.length - start;
      assertLength(headBytes);
      // A copy, which `slice` of a Buffer would not be: the caller may reuse the memory of its chunk.
      heads.push(new Uint8Array(chunk.subarray(start)));
    },
  };
}

function joinLine(pieces: readonly Uint8Array[]): Uint8Array {
  const bytes = Buffer.concat(pieces);
  return bytes.at(-1) === carriageReturn ? bytes.subarray(0, -1) : bytes;
}
