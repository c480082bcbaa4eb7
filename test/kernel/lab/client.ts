import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LabProcess, Namespace } from './namespace.ts';

const script = (name: string) => join(import.meta.dirname, name);

/** One TCP conversation: what the peer said, or the error's code and after how many milliseconds it came. */
export async function askTcp(from: Namespace, address: string, port: number): Promise<string> {
  return (await from.attempt('node', script('ask.ts'), 'tcp', address, `${port}`)).stdout.trim();
}

/** One DNS question to a server of the client's choice; the answer, or dig's complaint. */
export async function askDns(from: Namespace, server: string, ...options: readonly string[]): Promise<string> {
  const args = ['+short', '+time=2', '+tries=1', ...options, `@${server}`, 'who-answers.test'];
  return (await from.attempt('dig', ...args)).output.trim();
}

/** A UDP flow from one port that goes on for some seconds; its output has the time of each answer. */
export function startFlow(from: Namespace, address: string, port: number, seconds: number, everyMs = 100): LabProcess {
  return from.start({}, 'node', script('ask.ts'), 'flow', address, `${port}`, `${seconds}`, `${everyMs}`);
}

/** Times of answers of a flow, in milliseconds since the epoch. */
export function answersOf(flow: LabProcess): readonly number[] {
  return flow
    .stdout()
    .split('\n')
    .filter((line) => line !== '')
    .map(Number);
}

/** When a flow was answered for the first time after a moment, waiting for it; undefined when it was not in time. */
export async function nextAnswer(flow: LabProcess, afterMs: number, limitMs: number): Promise<number | undefined> {
  for (const deadline = Date.now() + limitMs; ; await sleep(20)) {
    const answer = answersOf(flow).find((ms) => ms > afterMs);
    if (answer !== undefined || Date.now() > deadline) return answer;
  }
}

/** Many packets to an address beyond the router for some seconds; its output is how many. */
export function startFlood(from: Namespace, address: string, port: number, seconds: number): LabProcess {
  return from.start({}, 'node', script('flood.ts'), address, `${port}`, `${seconds}`);
}

/** How many packets a flood sent; waits for its end. */
export async function sentBy(flood: LabProcess): Promise<number> {
  await flood.exited;
  return Number(flood.stdout().trim().split('\n').at(-1));
}

/** Floods while something happens, and for half a second before and after it; returns how many packets that were. */
export async function floodDuring(
  { from, address, port }: { readonly from: Namespace; readonly address: string; readonly port: number },
  event: () => Promise<unknown>,
): Promise<number> {
  const flood = startFlood(from, address, port, 60);
  try {
    await flood.says('flooding');
    await sleep(500);
    await event();
    await sleep(500);
  } finally {
    flood.kill('SIGTERM');
  }
  return sentBy(flood);
}
