import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RunningRouter } from './world.ts';

/** The cause of the first attempt that failed; waits for it. */
export async function firstCause(
  router: RunningRouter,
): Promise<{ readonly code: string; readonly text: string; readonly hint: string }> {
  for (const deadline = Date.now() + 20_000; Date.now() < deadline; await sleep(50)) {
    const cause = (await router.health()).cause as Awaited<ReturnType<typeof firstCause>> | undefined;
    // Before the first attempt is over, that it starts is what keeps clients waiting.
    if (cause !== undefined && cause.code !== 'starting') return cause;
  }
  assert.fail(`no cause:\n${router.output()}`);
}
