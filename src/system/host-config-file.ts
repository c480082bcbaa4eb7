import { type FSWatcher, readFileSync, watch } from 'node:fs';
import { basename, dirname } from 'node:path';
import { faulty, type Parsed } from '../errors.ts';
import { emptyConfig, type HostConfig } from '../host/host-config.ts';
import { parseHostFile } from '../host/host-file.ts';

/** What a file held when it was last looked at. */
export interface HostFileReading {
  /** Undefined: there is no file. */
  readonly text: string | undefined;
  readonly config: Parsed<HostConfig>;
}

/**
 * Reads the host file. Without one, labels alone count; but a file that was there once does not open what it shut by
 * going away, say while an editor puts another in its place.
 */
export function readHostFile(path: string, absence: 'is fine' | 'has to be there' = 'is fine'): HostFileReading {
  try {
    const text = readFileSync(path, 'utf8');
    return { text, config: parseHostFile(text, basename(path)) };
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error;
    if (error.code === 'ENOENT' && absence === 'is fine')
      return { text: undefined, config: { kind: 'ok', value: emptyConfig } };
    if (error.code === 'ENOENT') {
      const hint = 'put it back, or restart the role to do without';
      return { text: undefined, config: faulty({ name: path, problem: 'is gone', hint }) };
    }
    const hint = 'make it readable for root, which in a container needs DAC_READ_SEARCH for files of others';
    return { text: '', config: faulty({ name: path, problem: `cannot be read (${error.code})`, hint }) };
  }
}

/**
 * Calls when anything in the file's folder changes: an editor replaces the file, and a link may lead to it. A folder that
 * cannot be watched is left to whoever reads the file from time to time.
 */
export function watchHostFile(path: string, onChange: () => void): { readonly close: () => void } {
  let watcher: FSWatcher | undefined;
  try {
    watcher = watch(dirname(path), () => onChange());
    watcher.on('error', () => watcher?.close());
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error;
  }
  return { close: () => watcher?.close() };
}
