import type { MappingProtocol, Transport } from '../config/router-config.ts';
import type { Ipv4, Port } from '../net/address.ts';
import type { Answer, Question } from './codec.ts';

/**
 * What is asked for. A provider may give less. Short, because a gateway that is gone keeps a port from others for that
 * long, and one that forgets without saying so is noticed at the half of it.
 */
export const lifetimeSeconds = 60;
/** A gateway may give what it likes; longer is no use, shorter would be a flood. */
const bounds = { leastSeconds: 2, mostSeconds: 86_400 } as const;
/** RFC 6886, 3.6; RFC 6887, 8.5: so much its clock may seem to be behind. */
const slackSeconds = 2;

/** One port that was given. Moments are of the machine's clock. */
export interface Mapping {
  readonly outside: Port;
  readonly renewAtMs: number;
  readonly endsAtMs: number;
}

/** What is held of a gateway. Data: every function here gives the next one. */
export interface Lease {
  readonly protocol: MappingProtocol;
  /** In the order in which they are asked for; each wishes for the number that the one before got. */
  readonly transports: readonly Transport[];
  /** The port at our own address. */
  readonly inside: Port;
  /** The number that was had last; 0 when none was. */
  readonly wish: Port | 0;
  readonly mappings: Readonly<Partial<Record<Transport, Mapping>>>;
  readonly epoch?: { readonly seconds: number; readonly atMs: number };
  readonly publicAddress?: Ipv4;
  /** Why there is no port, or soon will be none. */
  readonly problem?: string;
}

export function startLease({
  protocol,
  transports,
  inside,
  wish,
}: Pick<Lease, 'protocol' | 'transports' | 'inside' | 'wish'>): Lease {
  return { protocol, transports, inside, wish, mappings: {} };
}

/** What to ask now: for a mapping that is missing or half over, else whether the gateway is still the same. */
export function nextQuestion({ transports, inside, wish, mappings }: Lease, nowMs: number): Question {
  const due = transports.find((transport) => (mappings[transport]?.renewAtMs ?? nowMs) <= nowMs);
  if (due === undefined) return { kind: 'announce' };
  return { kind: 'map', transport: due, inside, outside: mappings[due]?.outside ?? wish, lifetimeSeconds };
}

/** The lease after an answer to a question. A gateway that began anew has forgotten all: all is asked for again. */
export function addAnswer(
  lease: Lease,
  { question, answer, nowMs }: { readonly question: Question; readonly answer: Answer; readonly nowMs: number },
): Lease {
  // What it says of its time when it refuses may be of another version, and so in another place.
  if (answer.kind === 'refusal' && question.kind === 'map') return expire({ ...lease, problem: answer.reason }, nowMs);
  const { problem, ...known } = hasRestarted(lease, answer, nowMs) ? dueNow(lease, nowMs) : lease;
  const next: Lease = {
    ...known,
    epoch: { seconds: answer.epochSeconds, atMs: nowMs },
    ...('address' in answer ? { publicAddress: answer.address } : {}),
  };
  if (answer.kind !== 'map') return expire({ ...next, ...(problem === undefined ? {} : { problem }) }, nowMs);
  const { transport, outside } = answer;
  const { [transport]: _, ...others } = next.mappings;
  if (outside === 0 || answer.lifetimeSeconds === 0) {
    return expire({ ...next, mappings: others, problem: 'the gateway gave no port' }, nowMs);
  }
  const seconds = Math.min(bounds.mostSeconds, Math.max(bounds.leastSeconds, answer.lifetimeSeconds));
  const mapping = { outside, renewAtMs: nowMs + seconds * 500, endsAtMs: nowMs + seconds * 1_000 };
  return expire({ ...next, wish: outside, mappings: { ...others, [transport]: mapping } }, nowMs);
}

/** The lease after a question that nobody answered: what was given holds until its end. Not all tell their time. */
export function addSilence(lease: Lease, question: Question, nowMs: number): Lease {
  const held = expire(lease, nowMs);
  return question.kind === 'announce' ? held : { ...held, problem: 'the gateway does not answer' };
}

/** The port that was given: that of the first protocol. */
export function portOf({ transports, mappings }: Lease): Port | undefined {
  return transports.map((transport) => mappings[transport]?.outside).find((port) => port !== undefined);
}

function expire(lease: Lease, nowMs: number): Lease {
  const mappings = Object.entries(lease.mappings).filter(([, { endsAtMs }]) => endsAtMs > nowMs);
  return { ...lease, mappings: Object.fromEntries(mappings) };
}

function dueNow(lease: Lease, nowMs: number): Lease {
  const mappings = Object.entries(lease.mappings).map(([transport, mapping]) => [
    transport,
    { ...mapping, renewAtMs: nowMs },
  ]);
  return { ...lease, mappings: Object.fromEntries(mappings) };
}

/**
 * Its clock runs behind ours by more than clocks differ: it began anew (RFC 6886, 3.6; RFC 6887, 8.5). By PCP one that
 * runs ahead is another gateway, too.
 */
function hasRestarted({ epoch, protocol }: Lease, { epochSeconds }: Answer, nowMs: number): boolean {
  if (epoch === undefined) return false;
  const ours = (nowMs - epoch.atMs) / 1_000;
  const theirs = epochSeconds - epoch.seconds;
  if (protocol === 'natpmp') return theirs + slackSeconds < (ours * 7) / 8;
  return theirs < -1 || theirs + slackSeconds < (ours * 15) / 16 || ours + slackSeconds < (theirs * 15) / 16;
}
