import { join } from 'node:path';
import type { Namespace } from '../kernel/lab/namespace.ts';
import type { Sending } from './send.ts';
import type { TrafficName } from './traffic.ts';

export type Sent = ReadonlyMap<TrafficName, number>;

export interface Sender {
  /** Ends it, if it does not end by itself; returns how many packets of each kind it sent. */
  readonly end: () => Promise<Sent>;
  readonly ended: Promise<Sent>;
  /** Resolves when packets are on their way. */
  readonly begun: () => Promise<void>;
  /** Resolves when as many packets of each kind are sent as were asked for. */
  readonly enough: () => Promise<void>;
}

/** Starts to put packets on a device of a namespace. */
export function startSending(ns: Namespace, sending: Sending): Sender {
  const program = join(import.meta.dirname, 'send.ts');
  const running = ns.start({}, 'node', '--disable-warning=ExperimentalWarning', program, JSON.stringify(sending));
  const ended = running.exited.then(({ exitCode }) => {
    if (exitCode !== 0) throw new Error(`the sender ended with ${exitCode}: ${running.output()}`);
    return new Map(Object.entries(JSON.parse(running.stdout().trim().split('\n').at(-1) ?? ''))) as Sent;
  });
  ended.catch(() => undefined);
  return {
    ended,
    begun: () => running.says('sending'),
    enough: () => running.says('enough'),
    end: async () => {
      running.kill('SIGTERM');
      return ended;
    },
  };
}
