import { readFileSync } from 'node:fs';

/** What a file in /sys or /proc says of a device; undefined when Docker took the device away. */
export function readDevice(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    if (error instanceof Error && 'code' in error) return undefined;
    throw error;
  }
}
