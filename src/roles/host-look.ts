import { type Fault, UnderbridgeError } from '../errors.ts';
import { type DockerStep, describeDockerStep, type HostFinding } from '../host/host-plan.ts';
import type { DockerApi } from '../system/docker-api.ts';
import type { Log } from '../system/log.ts';
import type { Due, Reason } from './host-due.ts';
import { applyDifference, findDifference } from './host-reconcile.ts';
import { asText, count, fieldsOf, type HostState } from './host-state.ts';

/** After as many looks in a row that found something to do, somebody works against us, or it cannot be done. */
const patience = 5;

/** As many changes of others within this that had to be undone are no chance. */
const strifeMs = 60_000;

const moveAgainMs = { first: 5_000, most: 300_000 } as const;

export interface Occasion {
  readonly reason: Reason;
  /** Who changed the firewall, if that is why. */
  readonly program?: string | undefined;
}

/** Looks at everything and puts right what differs; what goes wrong is told, and tried again. */
export type Look = (docker: DockerApi, occasion: Occasion) => Promise<void>;

/** Makes the looks of one role, which remember only what was told and how often they found something. */
export function makeLook({
  state,
  due,
  log,
}: {
  readonly state: HostState;
  readonly due: Due;
  readonly log: Log;
}): Look {
  const tell = makeTell(log);
  const moves = makeMoves(due);
  const silent = new Set<string>();
  let restlessLooks = 0;
  let undoneMs: readonly number[] = [];

  /** The next look reads back what was written, or tries again what failed. */
  const lookAgain = (done: readonly string[]) => {
    restlessLooks += 1;
    if (restlessLooks < patience) due.mark('confirm');
    else if (restlessLooks === patience && done.length > 0) tellOfStrife(done);
  };

  /** Who writes against us may take his time, so that what was written is there when it is read back. */
  const noteUndone = (done: readonly string[]) => {
    const nowMs = performance.now();
    undoneMs = [...undoneMs.filter((ms) => nowMs - ms < strifeMs), nowMs];
    if (undoneMs.length === patience) tellOfStrife(done);
  };

  const tellOfStrife = (done: readonly string[]) => {
    log.warn('what was written does not stay; another program may change it', { changes: done.slice(0, 5) });
  };

  const reconcile: Look = async (docker, { reason, program }) => {
    const fromMs = performance.now();
    const difference = await findDifference(docker, state.config, silent);
    const { plan, isWhole } = difference;
    if (isWhole) state.difference = difference;
    const steps = moves.choose(plan.docker);
    const { done, failures } = await applyDifference(docker, { ...difference, plan: { ...plan, docker: steps } });
    if (isWhole) moves.note(plan.docker, done);
    // What Docker did now may be what a wish waits for: the next look tells.
    if (isWhole && (plan.docker.length === 0 || failures.length > 0)) tell(plan);
    state.last = { at: new Date().toISOString(), tookMs: performance.now() - fromMs, changes: done.length };
    const failed = failures.map(({ message }) => message).join('; ');
    if (failed !== '' && failed !== state.error) {
      for (const { code, message, hint } of failures) log.error('a step failed', { code, message, hint });
    }
    // What is only put off has not been mended.
    const isPutOff = !isWhole || steps.length < plan.docker.length;
    if (failed !== '' || !isPutOff) state.error = failed || undefined;
    if (failures.length > 0) count(state, 'failures');
    if (done.length > 0) {
      count(state, 'writes');
      log.info('rules changed', { reason, changes: done.length, ...(program === undefined ? {} : { program }) });
      for (const line of done) log.debug('changed', { line });
    }
    if (done.length > 0 && reason === 'firewall') noteUndone(done);
    if (done.length + failures.length > 0) lookAgain(done);
    else restlessLooks = 0;
  };

  return async (docker, occasion) => {
    count(state, 'reconciles');
    try {
      await reconcile(docker, occasion);
    } catch (error) {
      if (!(error instanceof UnderbridgeError)) throw error;
      count(state, 'failures');
      // Once: it may stay so for hours.
      if (state.error !== error.message) log.error('cannot reconcile', { message: error.message, hint: error.hint });
      state.error = error.message;
      lookAgain([]);
    }
  };
}

/**
 * Leaves a container for a while that Docker would not move: each attempt takes it off its network for a moment, and the
 * events of that make the next look due.
 */
function makeMoves(due: Due) {
  const refused = new Map<string, { readonly untilMs: number; readonly waitMs: number }>();
  const isDue = (step: DockerStep) => performance.now() >= (refused.get(describeDockerStep(step))?.untilMs ?? 0);
  return {
    choose: (steps: readonly DockerStep[]) => steps.filter(isDue),
    /** @param steps that are wanted, chosen or not */
    note: (steps: readonly DockerStep[], done: readonly string[]) => {
      const wanted = new Map(
        steps.filter(({ kind }) => kind === 'move').map((step) => [describeDockerStep(step), step]),
      );
      for (const key of refused.keys()) if (!wanted.has(key) || done.includes(key)) refused.delete(key);
      for (const [key, step] of wanted) {
        if (done.includes(key) || !isDue(step)) continue;
        const waitMs = Math.min((refused.get(key)?.waitMs ?? moveAgainMs.first / 2) * 2, moveAgainMs.most);
        refused.set(key, { untilMs: performance.now() + waitMs, waitMs });
        setTimeout(() => due.mark('confirm'), waitMs).unref();
      }
    },
  };
}

/** Each fault and finding is told once, when it comes. */
function makeTell(log: Log) {
  let told: ReadonlySet<string> = new Set();
  return ({ faults, findings }: { readonly faults: readonly Fault[]; readonly findings: readonly HostFinding[] }) => {
    const now = [
      ...faults.map((fault) => ({ message: 'left out', fields: fieldsOf(fault) })),
      ...findings.map((finding) => ({ message: 'finding', fields: { ...finding } })),
    ];
    for (const one of now) if (!told.has(asText(one))) log.warn(one.message, one.fields);
    told = new Set(now.map(asText));
  };
}
