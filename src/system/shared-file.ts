import { renameSync, rmSync, writeFileSync } from 'node:fs';

/** Writes a file that others read: at any moment they see the old text or the new one. Why not, where it did not go. */
export function writeSharedFile(path: string, text: string): string | undefined {
  return reasonOf(() => {
    writeFileSync(`${path}.new`, text, { mode: 0o644 });
    renameSync(`${path}.new`, path);
  });
}

/** Takes the file away if it is there. */
export function removeSharedFile(path: string): string | undefined {
  return reasonOf(() => rmSync(path, { force: true }));
}

function reasonOf(work: () => void): string | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    if (error instanceof Error && 'code' in error) return error.message;
    throw error;
  }
}
