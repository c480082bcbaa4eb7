import { UnderbridgeError } from '../errors.ts';
import type { HostSettings } from '../host/host-settings.ts';
import { openDocker } from '../system/docker-api.ts';
import { readHostFiles } from '../system/host-config-file.ts';
import { relevantEvents } from '../system/host-docker.ts';
import { dockerAddress, followEvents } from '../system/host-docker-api.ts';
import type { Log } from '../system/log.ts';
import { type Due, pause } from './host-due.ts';
import { asText, count, fieldsOf, type HostState } from './host-state.ts';

const retryMs = { first: 250, most: 5_000 } as const;

export interface Followed {
  readonly settings: HostSettings;
  readonly state: HostState;
  readonly due: Due;
  readonly log: Log;
}

/** Hears of Docker's events until a stop, and comes back to it whenever it has gone. */
export async function followDocker(role: Followed, signal: AbortSignal): Promise<void> {
  const { state, log } = role;
  for (let waitMs: number = retryMs.first; !signal.aborted; waitMs = Math.min(waitMs * 2, retryMs.most)) {
    const { reason, hasAnswered } = await followOnce(role, signal);
    if (signal.aborted) return;
    if (state.docker !== undefined || state.counts.disconnects === 0) {
      log.warn('Docker does not answer; the rules stay as they are', { message: reason?.message, hint: reason?.hint });
    }
    count(state, 'disconnects');
    state.docker = undefined;
    if (hasAnswered) waitMs = retryMs.first;
    await pause(waitMs, signal);
  }
}

/** One connection, from its beginning to its end. */
async function followOnce({ settings, state, due, log }: Followed, signal: AbortSignal) {
  let hasAnswered = false;
  try {
    const docker = await openDocker(dockerAddress(settings));
    const reason = await followEvents(docker, {
      filters: relevantEvents,
      signal,
      onOpen: () => {
        hasAnswered = true;
        state.docker = docker;
        log.info('Docker answers', { version: docker.version });
        due.mark('connected');
      },
      onEvent: () => due.mark('docker'),
    });
    docker.close();
    return { reason, hasAnswered };
  } catch (error) {
    if (!(error instanceof UnderbridgeError)) throw error;
    return { reason: error, hasAnswered };
  }
}

/** Takes over what the files say now, if it is good; else the last good one stays, and each fault is told once. */
export function rereadFile({ settings, state, due, log }: Followed): void {
  const { seen, config } = readHostFiles(settings, state.seen);
  state.seen = seen;
  if (config.kind === 'faults') {
    if (asText(config.faults) !== asText(state.fileFaults)) {
      for (const fault of config.faults) log.error('configuration: the last good one stays', fieldsOf(fault));
    }
    state.fileFaults = config.faults;
    return;
  }
  state.fileFaults = [];
  if (asText(config.value) === asText(state.config)) return;
  state.config = config.value;
  log.info('configuration read', { files: [settings.file, settings.networksFile.path] });
  due.mark('config');
}
