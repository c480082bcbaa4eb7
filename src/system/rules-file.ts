import { closeSync, fsyncSync, openSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { UnderbridgeError } from '../errors.ts';

/**
 * Puts a file into its place as a whole: whoever reads the folder meanwhile finds the old one or the new one. The name
 * that it has before begins with a dot, so that `*` in a shell does not mean it.
 * @throws UnderbridgeError UB_CONFIG
 */
export function replaceFile(path: string, text: string): void {
  const draft = join(dirname(path), `.${basename(path)}.${process.pid}`);
  guarded(path, () => {
    try {
      rmSync(draft, { force: true });
      // Anew, so not through a link that somebody has put there.
      const file = openSync(draft, 'wx', 0o644);
      try {
        writeFileSync(file, text);
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
      renameSync(draft, path);
    } finally {
      rmSync(draft, { force: true });
    }
  });
}

/** @returns whether there was one @throws UnderbridgeError UB_CONFIG */
export function removeFile(path: string): boolean {
  return guarded(path, () => {
    const wasThere = statSync(path, { throwIfNoEntry: false }) !== undefined;
    if (wasThere) rmSync(path);
    return wasThere;
  });
}

function guarded<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (!(cause instanceof Error && 'code' in cause)) throw cause;
    throw new UnderbridgeError({
      code: 'UB_CONFIG',
      message: `${path} cannot be written (${cause.code})`,
      hint: `make the folder ${dirname(path)} and let it be written, or name another one`,
      cause,
    });
  }
}
