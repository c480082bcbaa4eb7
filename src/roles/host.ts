import { UnderbridgeError } from '../errors.ts';
import type { HostConfig } from '../host/host-config.ts';
import type { HostSettings } from '../host/host-settings.ts';
import { type HostStatus, renderMetrics } from '../host/status.ts';
import { type SeenFiles, watchHostFile } from '../system/host-config-file.ts';
import { type HttpAnswer, type HttpRequest, json, serveHttp } from '../system/http.ts';
import { type KernelWatch, watchKernel } from '../system/kernel-watch.ts';
import type { Log } from '../system/log.ts';
import { makeDue, pause } from './host-due.ts';
import { type Followed, followDocker, rereadFile } from './host-follow.ts';
import { makeLook } from './host-look.ts';
import { describeState, makeState } from './host-state.ts';

/** Many events, say of 200 containers that start at once, cost one look. */
const debounceMs = 250;
/** How often the kernel is asked what changed: programs that write all the time cost one look a second. */
const firewallEveryMs = 1_000;
/** An editor writes in several steps. */
const fileDebounceMs = 100;

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
  config,
  seen,
  log,
}: {
  readonly settings: HostSettings;
  readonly config: HostConfig;
  readonly seen: SeenFiles;
  readonly log: Log;
}): Promise<HostRole> {
  const stopping = new AbortController();
  const role: Followed = { settings, state: makeState(config, seen), due: makeDue(), log };
  const server = await serveHttp({
    ...settings.health,
    hint: 'set it to an address of this machine and a free port; another host role may run already',
    answer: (request) => answerWith(describeState(role.state), request),
    onProblem: (problem) => log.error('a request was not answered', { reason: `${problem}` }),
  });
  const firewall = watchFirewall(role);
  const file = watchFile(role);
  const loops = Promise.all([followDocker(role, stopping.signal), reconcile(role, firewall.kernel, stopping.signal)]);
  return {
    failed: loops.then(() => new Promise<never>(() => undefined)),
    reload: () => {
      rereadFile(role);
      role.due.mark('config');
    },
    stop: async () => {
      stopping.abort();
      firewall.close();
      file.close();
      server.close();
      await loops;
      firewall.kernel?.close();
    },
  };
}

/** The one loop: whenever a look is due, it looks. */
async function reconcile(role: Followed, kernel: KernelWatch | undefined, signal: AbortSignal): Promise<void> {
  const { settings, state, due } = role;
  const look = makeLook(role);
  let readAtMs = performance.now();
  while (!signal.aborted) {
    const reason = await due.wait(settings.watchPeriodMs, signal);
    if (signal.aborted) return;
    if (reason !== 'connected') await pause(debounceMs, signal);
    due.clear();
    // Where their folder cannot be watched, and events never pause for the timer.
    if (reason === 'timer' || performance.now() - readAtMs >= settings.watchPeriodMs) {
      rereadFile(role);
      readAtMs = performance.now();
    }
    const program = reason === 'firewall' ? kernel?.firewallChanger() : undefined;
    kernel?.forget('firewall');
    const { docker } = state;
    if (docker !== undefined && !signal.aborted) await look(docker, { reason, program });
  }
}

/** The kernel tells of every change of nf_tables; without that, the timer is left. */
function watchFirewall({ due, log }: Followed) {
  let kernel: KernelWatch | undefined;
  try {
    kernel = watchKernel(new Set(['filter', 'nat', 'mangle', 'raw']));
  } catch (error) {
    if (!(error instanceof UnderbridgeError)) throw error;
    log.warn('changes of the firewall cannot be watched', { message: error.message });
  }
  const polling = setInterval(() => {
    if (kernel?.hasChanged('firewall')) due.mark('firewall');
  }, firewallEveryMs);
  return { kernel, close: () => clearInterval(polling) };
}

function watchFile(role: Followed) {
  let timer: NodeJS.Timeout | undefined;
  const { file, networksFile } = role.settings;
  const watched = [file, networksFile.path].map((path) =>
    watchHostFile(path, () => {
      clearTimeout(timer);
      timer = setTimeout(() => rereadFile(role), fileDebounceMs);
    }),
  );
  return {
    close: () => {
      clearTimeout(timer);
      for (const one of watched) one.close();
    },
  };
}

/** `/healthz` (200 or 503), `/status` and `/metrics`. */
function answerWith(status: HostStatus, { method, path }: HttpRequest): HttpAnswer {
  if (!['/healthz', '/status', '/metrics'].includes(path)) return json(404, {});
  if (method !== 'GET' && method !== 'HEAD') return json(405, {});
  if (path !== '/metrics') return json(path === '/healthz' && !status.healthy ? 503 : 200, status);
  return { kind: 'body', status: 200, type: 'text/plain; version=0.0.4', body: renderMetrics(status) };
}
