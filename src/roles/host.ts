import { type Fault, UnderbridgeError } from '../errors.ts';
import type { HostConfig } from '../host/host-config.ts';
import type { HostFinding } from '../host/host-plan.ts';
import type { HostSettings } from '../host/host-settings.ts';
import { countResources, type HostCounts, type HostStatus, renderMetrics } from '../host/status.ts';
import { type DockerApi, openDocker } from '../system/docker-api.ts';
import { readHostFiles, type SeenFiles, watchHostFile } from '../system/host-config-file.ts';
import { relevantEvents } from '../system/host-docker.ts';
import { followEvents, parseDockerHost } from '../system/host-docker-api.ts';
import { type HttpAnswer, type HttpRequest, json, serveHttp } from '../system/http.ts';
import { type KernelWatch, watchKernel } from '../system/kernel-watch.ts';
import type { Log } from '../system/log.ts';
import { makeDue, pause, type Reason } from './host-due.ts';
import { applyDifference, findDifference, type HostDifference } from './host-reconcile.ts';

/** Many events, say of 200 containers that start at once, cost one look. */
const debounceMs = 250;
/** How often the kernel is asked what changed: programs that write all the time cost one look a second. */
const firewallEveryMs = 1_000;
/** An editor writes in several steps. */
const fileDebounceMs = 100;
const retryMs = { first: 250, most: 5_000 } as const;
/** After as many looks in a row that found something to do, somebody works against us, or it cannot be done. */
const patience = 5;

/** A running host role. */
export interface HostRole {
  readonly reload: () => void;
  /** Settles only by an error that ends the role. */
  readonly failed: Promise<never>;
  /** Ends the loop. The rules stay: the machine is no less in need of them. */
  readonly stop: () => Promise<void>;
}

/** Starts the loop. @throws UnderbridgeError UB_CONFIG when the status cannot be served */
export async function startHost({
  settings,
  config: firstConfig,
  seen,
  log,
}: {
  readonly settings: HostSettings;
  readonly config: HostConfig;
  readonly seen: SeenFiles;
  readonly log: Log;
}): Promise<HostRole> {
  const stopping = new AbortController();
  const { signal } = stopping;
  const state: {
    config: HostConfig;
    seen: SeenFiles;
    docker?: DockerApi | undefined;
    difference?: HostDifference;
    last?: HostStatus['last'];
    error?: string | undefined;
    fileFaults: readonly Fault[];
    told: ReadonlySet<string>;
    counts: HostCounts;
    restlessLooks: number;
  } = {
    config: firstConfig,
    seen,
    fileFaults: [],
    told: new Set(),
    counts: { reconciles: 0, writes: 0, failures: 0, disconnects: 0 },
    restlessLooks: 0,
  };
  const count = (name: keyof HostCounts) => {
    state.counts = { ...state.counts, [name]: state.counts[name] + 1 };
  };
  const due = makeDue();

  const status = (): HostStatus => ({
    healthy: state.docker !== undefined && state.error === undefined && state.last !== undefined,
    ...(state.docker === undefined ? {} : { docker: state.docker.version }),
    ...(state.difference === undefined ? {} : { firewall: state.difference.firewall }),
    resources: countResources(state.difference?.plan),
    faults: [...state.fileFaults, ...(state.difference?.plan.faults ?? [])],
    findings: state.difference?.plan.findings ?? [],
    ...(state.error === undefined ? {} : { error: state.error }),
    counts: state.counts,
    ...(state.last === undefined ? {} : { last: state.last }),
  });

  const look = async (docker: DockerApi, reason: Reason, program: string | undefined) => {
    const fromMs = performance.now();
    count('reconciles');
    try {
      const difference = await findDifference(docker, state.config);
      state.difference = difference;
      const { done, failures } = await applyDifference(docker, difference);
      // What Docker did now may be what a wish waits for: the next look tells.
      if (difference.plan.docker.length === 0 || failures.length > 0) {
        tell(difference.plan.faults, difference.plan.findings);
      }
      state.last = { at: new Date().toISOString(), tookMs: performance.now() - fromMs, changes: done.length };
      state.error = failures.length > 0 ? failures.map(({ message }) => message).join('; ') : undefined;
      for (const { code, message, hint } of failures) log.error('a step failed', { code, message, hint });
      if (failures.length > 0) count('failures');
      if (done.length > 0) {
        count('writes');
        log.info('rules changed', { reason, changes: done.length, ...(program === undefined ? {} : { program }) });
        for (const line of done) log.debug('changed', { line });
      }
      if (done.length + failures.length > 0) lookAgain(done);
      else state.restlessLooks = 0;
    } catch (error) {
      if (!(error instanceof UnderbridgeError)) throw error;
      count('failures');
      // Once: it may stay so for hours.
      if (state.error !== error.message) log.error('cannot reconcile', { message: error.message, hint: error.hint });
      state.error = error.message;
      lookAgain([]);
    }
  };

  /** The next look reads back what was written, or tries again what failed. */
  const lookAgain = (done: readonly string[]) => {
    state.restlessLooks += 1;
    if (state.restlessLooks < patience) due.mark('confirm');
    else if (state.restlessLooks === patience && done.length > 0) {
      log.warn('what was written does not stay; another program may change it', { changes: done.slice(0, 5) });
    }
  };

  /** Each fault and finding is told once, when it comes. */
  const tell = (faults: readonly Fault[], findings: readonly HostFinding[]) => {
    const now = [
      ...faults.map((fault) => ({ message: 'left out', fields: fieldsOf(fault) })),
      ...findings.map((finding) => ({ message: 'finding', fields: { ...finding } })),
    ];
    for (const one of now) if (!state.told.has(asText(one))) log.warn(one.message, one.fields);
    state.told = new Set(now.map(asText));
  };

  const readConfig = () => {
    const { seen: found, config } = readHostFiles(settings, state.seen);
    state.seen = found;
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
  };

  const followDocker = async () => {
    for (let waitMs: number = retryMs.first; !signal.aborted; waitMs = Math.min(waitMs * 2, retryMs.most)) {
      let reason: UnderbridgeError | undefined;
      try {
        const docker = await openDocker(parseDockerHost(settings.dockerHost));
        reason = await followEvents(docker, {
          filters: relevantEvents,
          signal,
          onOpen: () => {
            waitMs = retryMs.first;
            state.docker = docker;
            log.info('Docker answers', { version: docker.version });
            due.mark('connected');
          },
          onEvent: () => due.mark('docker'),
        });
        docker.close();
      } catch (error) {
        if (!(error instanceof UnderbridgeError)) throw error;
        reason = error;
      }
      if (signal.aborted) return;
      if (state.docker !== undefined || state.counts.disconnects === 0) {
        log.warn('Docker does not answer; the rules stay as they are', {
          message: reason?.message,
          hint: reason?.hint,
        });
      }
      count('disconnects');
      state.docker = undefined;
      await pause(waitMs, signal);
    }
  };

  const reconcile = async () => {
    while (!signal.aborted) {
      const reason = await due.wait(settings.watchPeriodMs, signal);
      if (signal.aborted) return;
      if (reason !== 'connected') await pause(debounceMs, signal);
      due.clear();
      if (reason === 'timer') readConfig();
      const program = reason === 'firewall' ? watch?.firewallChanger() : undefined;
      watch?.forget('firewall');
      const { docker } = state;
      if (docker !== undefined && !signal.aborted) await look(docker, reason, program);
    }
  };

  const watch = openWatch(log);
  const polling = setInterval(() => {
    if (watch?.hasChanged('firewall')) due.mark('firewall');
  }, firewallEveryMs);
  const server = await serveHttp({
    ...settings.health,
    hint: 'set it to an address of this machine and a free port; another host role may run already',
    answer: (request) => answerWith(status(), request),
    onProblem: (problem) => log.error('a request was not answered', { reason: `${problem}` }),
  });
  let fileTimer: NodeJS.Timeout | undefined;
  const watchedFiles = [settings.file, settings.networksFile.path].map((path) =>
    watchHostFile(path, () => {
      clearTimeout(fileTimer);
      fileTimer = setTimeout(readConfig, fileDebounceMs);
    }),
  );
  const loops = Promise.all([followDocker(), reconcile()]);
  const failed = loops.then(() => new Promise<never>(() => undefined));
  return {
    failed,
    reload: () => {
      readConfig();
      due.mark('config');
    },
    stop: async () => {
      stopping.abort();
      clearInterval(polling);
      clearTimeout(fileTimer);
      for (const watched of watchedFiles) watched.close();
      server.close();
      await loops;
      watch?.close();
    },
  };
}

/** The log has another use for `name`. */
function fieldsOf({ name, ...rest }: Fault): Readonly<Record<string, unknown>> {
  return { place: name, ...rest };
}

function asText(value: unknown): string {
  return JSON.stringify(value);
}

/** The kernel tells of every change of nf_tables; without that, the timer is left. */
function openWatch(log: Log): KernelWatch | undefined {
  try {
    return watchKernel(new Set(['filter', 'nat', 'mangle', 'raw']));
  } catch (error) {
    if (!(error instanceof UnderbridgeError)) throw error;
    log.warn('changes of the firewall cannot be watched', { message: error.message });
    return undefined;
  }
}

/** `/healthz` (200 or 503), `/status` and `/metrics`. */
function answerWith(status: HostStatus, { method, path }: HttpRequest): HttpAnswer {
  if (!['/healthz', '/status', '/metrics'].includes(path)) return json(404, {});
  if (method !== 'GET' && method !== 'HEAD') return json(405, {});
  if (path !== '/metrics') return json(path === '/healthz' && !status.healthy ? 503 : 200, status);
  return { kind: 'body', status: 200, type: 'text/plain; version=0.0.4', body: renderMetrics(status) };
}
