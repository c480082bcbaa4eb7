import { existsSync } from 'node:fs';
import { mkdir, readdir, rename } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { $ } from 'zx';
import { isAlive } from './processes.ts';
import { step } from './step.ts';

/** What the lab makes once and keeps; outside the repo, so that a fresh clone finds it again. */
export const cacheRoot = '/var/cache/underbridge-lab';

/**
 * Returns the path of a cached file or folder, made by `make` at a temporary name first: only a finished one ever has
 * the final name. Two processes that make the same thing do double work, and the first one's result stays.
 */
export async function ensureCached(
  name: string,
  title: string,
  make: (temporaryPath: string) => Promise<void>,
): Promise<string> {
  const path = join(cacheRoot, name);
  if (existsSync(path)) return path;
  await mkdir(dirname(path), { recursive: true });
  await removeAbandoned(path);
  step(`make ${title}`);
  const temporaryPath = `${path}.partial-${process.pid}`;
  try {
    await make(temporaryPath);
    await rename(temporaryPath, path);
  } catch (error) {
    await removeTree(temporaryPath);
    if (!existsSync(path)) throw error;
  }
  return path;
}

async function removeAbandoned(path: string): Promise<void> {
  const prefix = `${basename(path)}.partial-`;
  for (const entry of await readdir(dirname(path))) {
    if (!entry.startsWith(prefix)) continue;
    const pid = Number(entry.slice(prefix.length));
    if (!isAlive(pid)) await removeTree(join(dirname(path), entry));
  }
}

// mmdebstrap may die with /proc or /dev bound inside: a plain recursive remove would go on into them.
async function removeTree(path: string): Promise<void> {
  await $({ quiet: true })`rm --recursive --force --one-file-system ${path}`;
}
