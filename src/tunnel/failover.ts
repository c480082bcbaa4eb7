import { assertNever } from '../errors.ts';
import type { OneOrMore } from '../one-or-more.ts';
import { backoffMs, type Cause, isOfWholeProfile, isRefusedLogin } from './cause.ts';
import type { Endpoint, ResolverScope } from './policy.ts';

/** The moment of an event, and a number of chance: the only way that either gets in here. */
export interface Moment {
  /** Milliseconds of a clock that never goes back. */
  readonly nowMs: number;
  /** From 0 up to, but not including, 1. */
  readonly random: number;
}

/** Where a round's endpoints come from: a profile of addresses, or names that are looked up before every round. */
export type EndpointSource =
  | { readonly kind: 'addresses'; readonly endpoints: OneOrMore<Endpoint> }
  | { readonly kind: 'names'; readonly scope: ResolverScope };

/** A profile of the list, as far as the machine has to know it. */
export interface ListedProfile {
  /** The file's name, for people. */
  readonly name: string;
  readonly source: EndpointSource;
}

/** What the user wants of a list of profiles. */
export interface FailoverSettings {
  /** When a tunnel that works is left for a profile that stands before its own. */
  readonly failback:
    | { readonly kind: 'off' }
    /** Clients have sent and got nothing for a minute. */
    | { readonly kind: 'idle' }
    /** It has worked for so long, whatever clients do. */
    | { readonly kind: 'after'; readonly ms: number };
  /** What becomes of a profile after {@link authLimit} refused logins in a row. */
  readonly authRetry: 'slow' | 'stop';
}

/** What the attempts at one profile have come to. */
export interface ProfileRecord extends ListedProfile {
  /** Failed attempts in a row; each answer to a probe halves them. */
  readonly failures: number;
  /** Rounds in a row in which no endpoint gave a tunnel that lasted. */
  readonly rounds: number;
  /** Refused logins since the profile last worked. */
  readonly refusals: number;
  /** Not tried before. */
  readonly restUntilMs: number;
  /** Others come first until then. */
  readonly coolUntilMs: number;
  /** Not tried again at all. */
  readonly isGivenUp: boolean;
}

/** Refused logins in a row after which providers lock accounts. */
export const authLimit = 5;
/** A tunnel that worked for so long is not left for another, and what failed before it is forgotten. */
export const steadyMs = 60_000;
const slowAuthMs = 600_000;
/** The wait before the first attempt at another profile. */
const changeMs = 250;
/** The longest wait before the next server of the same profile. */
const nextServerMs = 1_000;
const firstCoolMs = 30_000;
const mostCoolMs = 900_000;

/** A profile of which nothing is known yet. */
export function newRecord({ name, source }: ListedProfile): ProfileRecord {
  return { name, source, failures: 0, rounds: 0, refusals: 0, restUntilMs: 0, coolUntilMs: 0, isGivenUp: false };
}

/** Three quarters to five quarters of a time, so that many routers do not come back to one server at one moment. */
export function jittered(ms: number, { random }: Moment): number {
  return Math.round(ms * (0.75 + random / 2));
}

/** Counts a failed attempt. `isRoundOver`: the profile has no other endpoint for now, so the next one has its turn. */
export function recordFailure({
  record,
  cause,
  isRoundOver,
  authRetry,
  at,
}: {
  readonly record: ProfileRecord;
  readonly cause: Cause;
  readonly isRoundOver: boolean;
  readonly authRetry: FailoverSettings['authRetry'];
  readonly at: Moment;
}): ProfileRecord {
  const failures = record.failures + 1;
  const refusals = record.refusals + (isRefusedLogin(cause.code) ? 1 : 0);
  const isLocked = isRefusedLogin(cause.code) && refusals >= authLimit;
  const backoff = isLocked ? slowAuthMs : backoffMs({ code: cause.code, failures });
  // What is wrong with one server need not be wrong with the next one.
  const isNextFree = !isRoundOver && !isOfWholeProfile(cause.code);
  const restMs = jittered(isNextFree ? Math.min(backoff, nextServerMs) : backoff, at);
  const rounds = record.rounds + (isRoundOver ? 1 : 0);
  const coolMs = Math.max(restMs, Math.min(mostCoolMs, firstCoolMs * 2 ** Math.min(rounds - 1, 20)));
  return {
    ...record,
    failures,
    refusals,
    rounds,
    restUntilMs: at.nowMs + restMs,
    coolUntilMs: isRoundOver ? at.nowMs + coolMs : record.coolUntilMs,
    isGivenUp: isLocked && authRetry === 'stop',
  };
}

/**
 * What is left of a record at each answer to a probe: half of the failures, so that a server that comes and goes is not
 * asked as quickly as one that failed once; and nothing once the tunnel is steady.
 */
export function recordSuccess(record: ProfileRecord, workedMs: number): ProfileRecord {
  if (workedMs >= steadyMs) return newRecord(record);
  if (record.failures === 0 && record.refusals === 0) return record;
  return { ...record, refusals: 0, failures: Math.floor(record.failures / 2) };
}

/** True when a round of `profileIndex` ends with this failure. */
export function endsRound({
  cause,
  waiting,
  profiles,
}: {
  readonly cause: Cause;
  readonly waiting: readonly Endpoint[];
  readonly profiles: readonly ProfileRecord[];
}): boolean {
  return waiting.length === 0 || (profiles.length > 1 && isOfWholeProfile(cause.code));
}

/**
 * The profile whose turn it is: the first in the order that does not cool down; while all do, the one that has rested
 * longest. Undefined when every one was given up.
 */
export function chooseProfile(profiles: readonly ProfileRecord[], nowMs: number): number | undefined {
  const ready = profiles.findIndex(({ isGivenUp, coolUntilMs }) => !isGivenUp && coolUntilMs <= nowMs);
  if (ready >= 0) return ready;
  return profiles
    .map((record, index) => ({ ...record, index }))
    .filter(({ isGivenUp }) => !isGivenUp)
    .toSorted((one, other) => one.restUntilMs - other.restUntilMs)[0]?.index;
}

/** Milliseconds until a profile may be tried, from the end of an attempt on; never nothing. */
export function waitFor({
  record,
  isSame,
  at,
}: {
  readonly record: ProfileRecord;
  /** It is the profile of the attempt that just ended. */
  readonly isSame: boolean;
  readonly at: Moment;
}): number {
  const restMs = record.restUntilMs - at.nowMs;
  return Math.max(1, isSame ? restMs : Math.max(restMs, jittered(changeMs, at)));
}

/** Whether a tunnel that works may be left for one that stands before it. */
export function isTimeToGoBack({ failback, provenMs, busyMs, nowMs }: Steadiness): boolean {
  switch (failback.kind) {
    case 'off':
      return false;
    case 'idle':
      return nowMs - Math.max(provenMs, busyMs) >= steadyMs;
    case 'after':
      return nowMs - provenMs >= Math.max(steadyMs, failback.ms);
    default:
      return assertNever(failback);
  }
}

interface Steadiness {
  readonly failback: FailoverSettings['failback'];
  /** When the tunnel was proven, and when clients last used it. */
  readonly provenMs: number;
  readonly busyMs: number;
  readonly nowMs: number;
}

/** The profile to go back to from a tunnel that works; undefined while it is better to stay. */
export function chooseFailback({
  profiles,
  profileIndex,
  ...steadiness
}: Steadiness & {
  readonly profiles: readonly ProfileRecord[];
  /** The profile in use. */
  readonly profileIndex: number;
}): number | undefined {
  if (!isTimeToGoBack(steadiness)) return undefined;
  const { nowMs } = steadiness;
  const index = profiles
    .slice(0, profileIndex)
    .findIndex(({ isGivenUp, coolUntilMs }) => !isGivenUp && coolUntilMs <= nowMs);
  return index >= 0 ? index : undefined;
}
