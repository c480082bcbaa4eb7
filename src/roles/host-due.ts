import { setTimeout as sleep } from 'node:timers/promises';

/** Why a look is due, for the log. */
export type Reason = 'connected' | 'docker' | 'firewall' | 'config' | 'timer' | 'confirm';

/** A look that is due, or not: however many reasons there were, it is one look. */
export interface Due {
  readonly mark: (why: Reason) => void;
  /** What was marked until now is looked at. */
  readonly clear: () => void;
  /** Waits for a mark; after `mostMs`, or at a stop, the timer is the reason. Gives the first reason. */
  readonly wait: (mostMs: number, signal: AbortSignal) => Promise<Reason>;
}

/** Nothing is due yet. */
export function makeDue(): Due {
  let reason: Reason | undefined;
  let wake: (() => void) | undefined;
  return {
    mark: (why: Reason) => {
      reason ??= why;
      wake?.();
    },
    clear: () => {
      reason = undefined;
    },
    wait: (mostMs: number, signal: AbortSignal) =>
      new Promise((resolve) => {
        const done = () => {
          clearTimeout(timer);
          signal.removeEventListener('abort', done);
          wake = undefined;
          resolve(reason ?? 'timer');
        };
        const timer = setTimeout(done, mostMs);
        signal.addEventListener('abort', done);
        wake = done;
        if (reason !== undefined || signal.aborted) done();
      }),
  };
}

/** Waits, but not beyond a stop. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined);
}
