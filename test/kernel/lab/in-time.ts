import assert from 'node:assert/strict';

/**
 * Holds something to a time, on a machine that may be kept from it by others: what took longer is done again, three times
 * at most. Whatever else fails in it, fails at once.
 */
export async function assertInTime(limitMs: number, attempt: () => Promise<number>): Promise<void> {
  const times: number[] = [];
  while (times.length < 3) {
    const tookMs = await attempt();
    if (tookMs <= limitMs) return;
    times.push(Math.round(tookMs));
  }
  assert.fail(`took ${times.join(', ')} ms, each longer than ${limitMs} ms`);
}
