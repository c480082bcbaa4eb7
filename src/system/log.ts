import { pino } from 'pino';
import pretty from 'pino-pretty';
import type { LogFormat, LogLevel } from '../config/router-config.ts';

/** Static message, then fields. Nothing secret is ever passed in: secrets live only in the profile and credentials. */
export type Log = Readonly<Record<LogLevel, (message: string, fields?: Readonly<Record<string, unknown>>) => void>>;

/** Creates the log on standard output. Times are in the zone of the process (`TZ`). */
export function createLog({ level, format }: { level: LogLevel; format: LogFormat }): Log {
  const options = { level, base: null, timestamp: pino.stdTimeFunctions.isoTime };
  const logger =
    format === 'json'
      ? pino(options, pino.destination({ sync: true }))
      : pino(
          options,
          pretty({ colorize: false, sync: true, singleLine: true, translateTime: 'SYS:yyyy-mm-dd HH:MM:ss.l o' }),
        );
  const at =
    (name: LogLevel) =>
    (message: string, fields: Readonly<Record<string, unknown>> = {}) =>
      logger[name](fields, message);
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}
