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
/** Of one message, so that what comes again and again, or whoever makes it come, leaves room for the rest. */
const mostAlike = 20;
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
      const alike = events.filter((event) => event.message === message);
      const [oldest] = alike.length < mostAlike ? events.slice(0, events.length < mostEvents ? 0 : 1) : alike;
      const kept = events.filter((event) => event !== oldest);
      events = [...kept, { at: new Date().toISOString(), level, message, details }];
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
