import { setTimeout as sleep } from 'node:timers/promises';
import type { World } from './world.ts';

/** Waits until the router counts what passes: a second after it serves clients. */
export async function untilCounting({ router }: World): Promise<void> {
  for (let tries = 0; tries < 100; tries += 1) {
    const { exitCode } = await router.attempt('nft', 'list', 'table', 'inet', 'underbridge_passed');
    if (exitCode === 0) return;
    await sleep(50);
  }
  throw new Error('the router does not count');
}
