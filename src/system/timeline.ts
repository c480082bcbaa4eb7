import type { Event } from '../health/status.ts';
import type { Log } from './log.ts';

/** The latest lines of a log. */
export interface Timeline {
  /** Writes to the log behind it, and remembers what is of interest to people. */
  readonly log: Log;
  /** Oldest first. */
  readonly events: () => readonly Event[];
}

const mostEvents = 100;
const mostChars = 300;

/** Remembers lines from `info` on. They hold no secrets, because the log does not. */
export function keepTimeline(log: Log, onEvent: () => void): Timeline {
  let events: readonly Event[] = [];
  const remembering =
    (level: Event['level']) =>
    (message: string, fields: Readonly<Record<string, unknown>> = {}) => {
      log[level](message, fields);
      const details = Object.entries(fields).flatMap(([name, value]) =>
        value === undefined ? [] : `${name}=${renderField(value)}`.slice(0, mostChars),
      );
      events = [...events.slice(1 - mostEvents), { at: new Date().toISOString(), level, message, details }];
      onEvent();
    };
  return {
    log: { debug: log.debug, info: remembering('info'), warn: remembering('warn'), error: remembering('error') },
    events: () => events,
  };
}

function renderField(value: unknown): string {
  return typeof value === 'string' ? value : Array.isArray(value) ? value.join('; ') : JSON.stringify(value);
}
