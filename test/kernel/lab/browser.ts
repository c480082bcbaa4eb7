import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Browser, chromium } from 'playwright-core';
import type { Namespace } from './namespace.ts';

/** A real headless Chromium in a namespace, so that it reaches what listens on loopback there. */
export async function openBrowser(
  ns: Namespace,
): Promise<{ readonly browser: Browser; readonly close: () => Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'underbridge-browser-'));
  // It is driven over two pipes, which a program that only enters the namespace hands on.
  const [file, args] = ns.argv('chromium');
  const launcher = join(folder, 'chromium');
  await writeFile(launcher, `#!/bin/sh\nexec ${[file, ...args].join(' ')} "$@"\n`);
  await chmod(launcher, 0o755);
  // Root in a container of a test: Chromium's own sandbox would refuse to start.
  const browser = await chromium.launch({ executablePath: launcher, args: ['--no-sandbox', '--disable-gpu'] });
  return {
    browser,
    close: async () => {
      await browser.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
