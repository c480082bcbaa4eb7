import { setTimeout as sleep } from 'node:timers/promises';
import { renderFaults } from '../config/report.ts';
import { assertNever, UnderbridgeError } from '../errors.ts';
import { type HttpAnswer, type HttpRequest, json } from '../system/http.ts';
import type { Log } from '../system/log.ts';
import { type RouterSetup, setUpRouter } from './router-setup.ts';

const actions = ['reconnect', 'next', 'pause', 'reload'] as const;
export type Action = (typeof actions)[number];

/** What came of an action, in a sentence. */
interface Outcome {
  readonly kind: 'done' | 'refused' | 'failed';
  readonly text: string;
}

export interface RouterControl {
  readonly isPaused: () => boolean;
  /** One after the other. */
  readonly run: (action: Action) => Promise<Outcome>;
  /** Settles when nothing is being done. */
  readonly idle: () => Promise<unknown>;
}

/** Every action takes the tunnels down in order, and at most begins anew: the machine of a tunnel knows nothing of it. */
export function createControl({
  setup,
  end,
  begin,
}: {
  readonly setup: RouterSetup;
  /** Locks down, and settles when every OpenVPN is gone. @throws UnderbridgeError UB_APPLY: the router ends. */
  readonly end: () => Promise<void>;
  readonly begin: (setup: RouterSetup) => void;
}): RouterControl {
  let current = setup;
  let isPaused = false;
  let queue: Promise<unknown> = Promise.resolve();

  const restart = async (next: RouterSetup) => {
    current = next;
    await end();
    isPaused = false;
    begin(next);
  };

  const act = async (action: Action): Promise<Outcome> => {
    switch (action) {
      case 'reconnect':
        await restart(current);
        return { kind: 'done', text: 'a new tunnel is being made' };
      case 'next': {
        const [first, second, ...others] = current.profiles;
        if (second === undefined) return { kind: 'refused', text: 'there is only one profile' };
        await restart({ ...current, profiles: [second, ...others, first] });
        return { kind: 'done', text: `${second.profile.name} comes first now` };
      }
      case 'pause':
        isPaused = true;
        await end();
        return { kind: 'done', text: 'clients are refused until reconnect' };
      case 'reload': {
        const read = await setUpRouter({ env: process.env, purpose: 'run' });
        if (read.kind === 'faults') return { kind: 'refused', text: renderFaults(read.faults, 'nothing was changed') };
        await restart({ ...current, profiles: read.value.profiles });
        return { kind: 'done', text: 'profiles and credentials were read again' };
      }
      default:
        return assertNever(action);
    }
  };

  return {
    isPaused: () => isPaused,
    run: (action) => {
      const done = queue.then(() => act(action)).catch(failedBy);
      queue = done.catch(() => undefined);
      return done;
    },
    idle: () => queue,
  };
}

/** The router ends then: nothing else is sure to be shut. */
function failedBy(error: unknown): Outcome {
  if (!(error instanceof UnderbridgeError)) throw error;
  return { kind: 'failed', text: `${error.message}; ${error.hint}` };
}

/** So long has to wait who brings no token or a wrong one. */
const wrongTokenMs = 1_000;
/** After such a line those that follow make one line more, so that nobody without a token can fill the log. */
const quietMs = 10_000;
const mostNamed = 5;

/**
 * Answers `POST /control/ACTION` with the token as bearer. No page of somebody else can send that header here: a browser
 * asks first, and is told no.
 */
export function createControlAnswers({
  token,
  control,
  log,
}: {
  readonly token: string;
  readonly control: RouterControl;
  readonly log: Log;
}): (request: HttpRequest) => Promise<HttpAnswer> {
  const tellRefusal = gatherRefusals(log);
  return async ({ path, method, token: given, from }) => {
    if (method !== 'POST')
      return { ...json(405, { outcome: 'this path is only posted to' }), headers: { allow: 'POST' } };
    const action = actions.find((name) => path === `/control/${name}`);
    if (given === undefined || !isSame(given, token)) {
      tellRefusal({ action: action ?? 'unknown', from });
      await sleep(wrongTokenMs);
      const headers = { 'www-authenticate': 'Bearer' };
      return { ...json(401, { outcome: 'the token of CONTROL_TOKEN_FILE is needed' }), headers };
    }
    if (action === undefined) return json(404, { outcome: `there are ${actions.join(', ')}` });
    log.info('control', { action, from });
    const { kind, text } = await control.run(action);
    log.info('control done', { action, from, outcome: text });
    return json({ done: 200, refused: 409, failed: 500 }[kind], { outcome: text });
  };
}

function gatherRefusals(log: Log): (refusal: { readonly action: string; readonly from: string }) => void {
  const message = 'control refused: no token, or a wrong one';
  let requests: number | undefined;
  const addresses = new Set<string>();
  const end = () => {
    if (requests !== undefined && requests > 0) {
      log.warn(message, { requests, from: [...addresses] });
      requests = 0;
      addresses.clear();
      setTimeout(end, quietMs);
    } else requests = undefined;
  };
  return ({ action, from }) => {
    if (requests === undefined) {
      log.warn(message, { action, from });
      requests = 0;
      setTimeout(end, quietMs);
    } else {
      requests += 1;
      if (addresses.size < mostNamed) addresses.add(from);
    }
  };
}

/** Takes as long for any wrong token. Loaded when it is needed: few routers are controlled. */
function isSame(one: string, other: string): boolean {
  const { createHash, timingSafeEqual } = process.getBuiltinModule('node:crypto');
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(one), digest(other));
}
