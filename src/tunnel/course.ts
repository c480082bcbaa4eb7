import type { OneOrMore } from '../one-or-more.ts';
import type { Cause } from './cause.ts';
import {
  chooseProfile,
  endsRound,
  type FailoverSettings,
  type ListedProfile,
  type Moment,
  newRecord,
  type ProfileRecord,
  recordFailure,
  recordSuccess,
  waitFor,
} from './failover.ts';
import type { Endpoint } from './policy.ts';

/** Where the attempts stand. */
export interface Course {
  /** Grows with every start and end of an attempt; events that carry another one are stale. */
  readonly epoch: number;
  /** OpenVPN processes started so far. */
  readonly attempts: number;
  /** Attempts that failed since the tunnel last worked. */
  readonly failures: number;
  /** Why the last attempt failed, until a tunnel works again. */
  readonly lastCause?: Cause;
  /** The profile whose turn it is, and its endpoints that are still to be tried in this round. */
  readonly profileIndex: number;
  readonly waiting: readonly Endpoint[];
  /** In the order of CONFIG. */
  readonly profiles: OneOrMore<ProfileRecord>;
  readonly settings: FailoverSettings;
}

/** The course before the first attempt. */
export function newCourse([first, ...others]: OneOrMore<ListedProfile>, settings: FailoverSettings): Course {
  const profiles: OneOrMore<ProfileRecord> = [newRecord(first), ...others.map(newRecord)];
  return { epoch: 0, attempts: 0, failures: 0, profileIndex: 0, waiting: [], profiles, settings };
}

/** The course after a failed attempt, and the wait before the next one; undefined when nothing is tried any more. */
export function afterFailure(
  course: Course,
  cause: Cause,
  at: Moment,
): { readonly course: Course; readonly waitMs: number | undefined } {
  const { settings, profileIndex } = course;
  const isRoundOver = endsRound({ cause, waiting: course.waiting, profiles: course.profiles });
  const { authRetry } = settings;
  const record = recordFailure({ record: profileOf(course), cause, isRoundOver, authRetry, at });
  const profiles = withProfile(course, record);
  const failed = { ...course, profiles, failures: course.failures + 1, lastCause: cause };
  const isDone = isRoundOver || record.isGivenUp;
  const next = isDone ? chooseProfile(profiles, at.nowMs) : profileIndex;
  if (next === undefined) return { course: failed, waitMs: undefined };
  return {
    course: { ...failed, profileIndex: next, waiting: isDone ? [] : course.waiting },
    waitMs: waitFor({ record: profiles[next] ?? record, isSame: next === profileIndex, at }),
  };
}

/** The course after the tunnel has worked for so long: what failed before is forgotten. */
export function afterSuccess(course: Course, workedMs: number): Course {
  const { lastCause: _, ...rest } = course;
  return { ...rest, failures: 0, profiles: withProfile(course, recordSuccess(profileOf(course), workedMs)) };
}

/** The profile whose turn it is. */
export function profileOf({ profiles, profileIndex }: Course): ProfileRecord {
  return profiles[profileIndex] ?? profiles[0];
}

function withProfile({ profiles, profileIndex }: Course, record: ProfileRecord): OneOrMore<ProfileRecord> {
  const [first, ...others] = profiles;
  const place = (known: ProfileRecord, index: number) => (index === profileIndex ? record : known);
  return [place(first, 0), ...others.map((known, index) => place(known, index + 1))];
}
