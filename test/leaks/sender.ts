import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Namespace } from '../kernel/lab/namespace.ts';
import type { Sending } from './send.ts';
import type { TrafficName } from './traffic.ts';

export type Sent = ReadonlyMap<TrafficName, number>;

export interface Sender {
  /** Ends it, if it does not end by itself; returns how many packets of each kind it sent. */
  readonly end: () => Promise<Sent>;
  readonly ended: Promise<Sent>;
}

/** Starts to put packets on a device of a namespace. */
export function startSending(ns: Namespace, sending: Sending): Sender {
  const program = join(import.meta.dirname, 'send.ts');
  const running = ns.start({}, 'node', '--disable-warning=ExperimentalWarning', program, JSON.stringify(sending));
  const ended = running.exited.then(({ exitCode }) => {
    const output = running.output();
    if (exitCode !== 0) throw new Error(`the sender ended with ${exitCode}: ${output}`);
    return new Map(Object.entries(JSON.parse(output.trim().split('\n').at(-1) ?? ''))) as Sent;
  });
  ended.catch(() => undefined);
  return {
    ended,
    end: async () => {
      running.kill('SIGTERM');
      return ended;
    },
  };
}

/** Node's start, until the first packet. */
export const startMs = 400;
export const started = () => sleep(startMs);
