import { renameSync, rmSync, writeFileSync } from 'node:fs';

/** Writes a file that others read: at any moment they see the old text or the new one. Why not, where it did not go. */
export function writeSharedFile(path: string, text: string): string | undefined {
  return reasonOf(() => {
    const draft = `${path}.new`;
    // Whoever shares the folder may have put a link or a pipe there: only a file of our own is written to.
    rmSync(draft, { force: true });
    writeFileSync(draft, text, { mode: 0o644, flag: 'wx' });
    renameSync(draft, path);
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
