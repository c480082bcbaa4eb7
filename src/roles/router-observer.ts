import { UnderbridgeError } from '../errors.ts';
import {
  addPassed,
  addRefused,
  addToTally,
  clientsOf,
  emptyTally,
  foldPassed,
  foldRefused,
  nothingPassed,
  nothingRefused,
  others,
  refusalsOf,
  sumOf,
  tellApart,
  trafficOf,
} from '../health/counts.ts';
import { addStep, clientSeriesOf, seriesOf, startPast, stepSeconds } from '../health/history.ts';
import type { HealthReport } from '../health/report.ts';
import { projectStatus, type Status } from '../health/status.ts';
import type { IfName } from '../net/address.ts';
import { renderCidr } from '../net/address.ts';
import { tunNamesOf } from '../plan/context.ts';
import { observeConnections } from '../system/connections.ts';
import { type Counters, loadPassedTable, openCounters } from '../system/counters.ts';
import type { Log } from '../system/log.ts';
import { openNames } from '../system/names.ts';
import { keepTimeline } from '../system/timeline.ts';
import { runDoctor } from './doctor-command.ts';
import type { RouterForwards } from './router-forwards.ts';
import type { RouterSetup } from './router-setup.ts';

/** Looks at the router from outside: what it counts, says and is asked for. Decides nothing. */
export interface RouterObserver {
  /** The router's log; the observer remembers its lines. */
  readonly log: Log;
  /** To be called just before a ruleset is loaded, whose counters begin at 0. */
  readonly gather: () => void;
  /** To be called when clients are served: counting begins a second later. */
  readonly start: () => void;
  /** The same object as before while nothing is new, half a second at most: who asks without end costs little. */
  readonly status: () => Status;
  /** Tells of every change, as JSON: first of the whole status, then of those fields that are new. Gives what ends it. */
  readonly watch: (tell: (json: string) => void) => () => void;
  /** Has doctor look, unless it did so lately. */
  readonly examine: () => void;
  readonly stop: () => void;
}

/** What the observer has to be told, because the router alone knows. */
export interface Observed {
  readonly health: () => HealthReport;
  readonly isPaused: () => boolean;
  readonly lan: () => IfName;
  readonly forwards: () => Pick<RouterForwards, 'placesOf' | 'dynamic'>;
}

/** The first tunnel is connecting, and comes first. */
const beginMs = 1_000;
/** Counters that were read so lately are new enough, and so is what was made of them when nothing happened meanwhile. */
const freshMs = 500;
/** Many changes at a time make one message. */
const gatherMs = 50;
const examineMs = 600_000;
/** The page comes first. */
const examineSoonMs = 1_000;

/** Begins to remember the log; the rest begins with `start`. */
export function observeRouter({
  setup: { config, facts },
  version,
  log,
  observed,
}: {
  readonly setup: RouterSetup;
  readonly version: string;
  readonly log: Log;
  readonly observed: Observed;
}): RouterObserver {
  const startedMs = Date.now();
  /** From the first served client on: what comes before that costs no time of the start. */
  let counters: Counters | undefined;
  let passedTally = emptyTally(nothingPassed);
  let refusedTally = emptyTally(nothingRefused);
  /** What all tables have counted so far. */
  let passed = nothingPassed;
  let known: ReadonlySet<string> = new Set();
  /** The clients' interface by the name that the counting table knows it by. */
  let countedDevice: IfName | undefined;
  let past = startPast(startedMs);
  let readAtMs = 0;
  let isLoading = false;
  let stepTimer: NodeJS.Timeout | undefined;
  let doctor: Status['doctor'];
  let examinedMs = -examineMs;

  const gatherRefused = () => {
    const reading = facts.firewall === 'nft' ? counters?.readRefused() : undefined;
    if (reading === undefined) return;
    const { generation, counts } = reading;
    known = tellApart(known, counts.clients.keys());
    refusedTally = addToTally(refusedTally, { generation, counts: foldRefused(counts, known) }, addRefused);
  };

  const read = () => {
    readAtMs = performance.now();
    // A table that an earlier router left counts for that one.
    const reading = countedDevice === undefined ? undefined : counters?.readPassed();
    if (reading !== undefined) {
      const { generation, counts } = reading;
      // Who got an answer first: where the rest is forged there may be no room for all.
      known = tellApart(known, [...counts.received.keys(), ...counts.sent.keys(), ...counts.opened.keys()]);
      passedTally = addToTally(passedTally, { generation, counts: foldPassed(counts, known) }, addPassed);
      passed = sumOf(passedTally, addPassed);
    }
    gatherRefused();
    if (reading === undefined || countedDevice !== observed.lan()) void load();
  };

  const gather = () => {
    const isRenamed = countedDevice !== undefined && countedDevice !== observed.lan();
    if (isRenamed) read();
    else gatherRefused();
  };

  /** At the start, when somebody flushed it, and when the clients' interface has another name. */
  const load = async () => {
    if (isLoading || counters === undefined) return;
    isLoading = true;
    const device = observed.lan();
    try {
      await loadPassedTable(device, tunNamesOf(facts));
      countedDevice = device;
    } catch (error) {
      if (!(error instanceof UnderbridgeError)) throw error;
      timeline.log.debug('clients are not counted', { reason: error.message });
    } finally {
      isLoading = false;
    }
  };

  let current: Status | undefined;
  const status = (): Status => {
    const isOld = performance.now() - readAtMs > freshMs;
    if (isOld) read();
    if (isOld || current === undefined) current = project();
    return current;
  };

  const project = (): Status => {
    const refused = sumOf(refusedTally, addRefused);
    const clients = clientsOf(passed, refused);
    // An address that something came back for is somebody's; a forged one would only be told to Docker's resolver.
    names.lookUp(
      clients.flatMap(({ address, receivedPackets }) => (receivedPackets > 0 && address !== others ? address : [])),
    );
    return projectStatus({
      atMs: Date.now(),
      startedMs,
      version,
      health: observed.health(),
      gateway: renderCidr(config.gateway),
      tunName: facts.tunName,
      isPaused: observed.isPaused(),
      forwards: [
        ...config.forwards,
        ...config.namedForwards.map((forward) => ({ ...forward, addresses: observed.forwards().placesOf(forward) })),
      ],
      dynamicForward: observed.forwards().dynamic(),
      traffic: trafficOf(passed.total),
      trafficPastTunnel: config.lanAllowances && trafficOf(passed.past),
      connections: observeConnections(),
      clients,
      names: names.known,
      refused: refusalsOf(refused),
      history: seriesOf(past),
      clientHistory: clientSeriesOf(past),
      events: timeline.events(),
      doctor,
      hasControl: config.controlTokenFile !== undefined,
    });
  };

  const look = async () => {
    try {
      const { findings } = await runDoctor({ env: process.env });
      doctor = { at: new Date().toISOString(), findings };
      tellSoon();
    } catch (error) {
      timeline.log.debug('doctor could not look', { reason: `${error}` });
    }
  };

  const begin = () => {
    counters = openCounters();
    stepTimer = setInterval(() => {
      read();
      past = addStep(past, passed, Date.now());
      current = undefined;
      if (tellers.size > 0) tell();
    }, stepSeconds * 1000);
    read();
  };

  const tellers = new Set<(json: string) => void>();
  let told = new Map<string, string>();
  let tellTimer: NodeJS.Timeout | undefined;

  /** What is otherwise than it was told last; that is the same for everybody who watches. */
  const tell = () => {
    const now = partsOf(status());
    const news = [...now].filter(([name, json]) => told.get(name) !== json);
    told = now;
    if (news.length === 0) return;
    const json = joinParts(news);
    for (const teller of tellers) teller(json);
  };
  const tellSoon = () => {
    current = undefined;
    if (tellers.size === 0) return;
    clearTimeout(tellTimer);
    tellTimer = setTimeout(tell, gatherMs);
  };

  const timeline = keepTimeline(log, tellSoon);
  const names = openNames(tellSoon);

  return {
    log: timeline.log,
    gather,
    start: () => {
      stepTimer = setTimeout(begin, beginMs);
    },
    status,
    watch: (teller) => {
      // What those who watch already were told; what is new since then comes with their next message.
      if (tellers.size === 0) told = partsOf(status());
      tellers.add(teller);
      teller(joinParts([...told]));
      return () => {
        tellers.delete(teller);
        if (tellers.size === 0) clearTimeout(tellTimer);
      };
    },
    examine: () => {
      const nowMs = performance.now();
      if (nowMs - examinedMs < examineMs) return;
      examinedMs = nowMs;
      setTimeout(() => void look(), examineSoonMs);
    },
    stop: () => {
      clearInterval(stepTimer);
      clearTimeout(tellTimer);
      tellers.clear();
    },
  };
}

/** Each field of a status as JSON. */
function partsOf(status: Status): Map<string, string> {
  return new Map(Object.entries(status).map(([name, value]) => [name, JSON.stringify(value)]));
}

function joinParts(parts: readonly (readonly [string, string])[]): string {
  return `{${parts.map(([name, json]) => `${JSON.stringify(name)}:${json}`).join(',')}}`;
}
