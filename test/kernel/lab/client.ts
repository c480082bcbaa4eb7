import { join } from 'node:path';
import type { LabProcess, Namespace } from './namespace.ts';

const script = (name: string) => join(import.meta.dirname, name);

/** One TCP conversation: what the peer said, or the error's code and after how many milliseconds it came. */
export async function askTcp(from: Namespace, address: string, port: number): Promise<string> {
  return (await from.attempt('node', script('ask.ts'), 'tcp', address, `${port}`)).output.trim();
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
    .output()
    .split('\n')
    .filter((line) => line !== '')
    .map(Number);
}

/** Many packets to an address beyond the router for some seconds; its output is how many. */
export function startFlood(from: Namespace, address: string, port: number, seconds: number): LabProcess {
  return from.start({}, 'node', script('flood.ts'), address, `${port}`, `${seconds}`);
}

/** How many packets a flood sent; waits for its end. */
export async function sentBy(flood: LabProcess): Promise<number> {
  await flood.exited;
  return Number(flood.output());
}
