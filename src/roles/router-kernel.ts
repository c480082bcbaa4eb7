import { setTimeout as sleep } from 'node:timers/promises';
import { UnderbridgeError } from '../errors.ts';
import type { IfName, Ip, Ipv4 } from '../net/address.ts';
import { type LiveForwards, linksOf, partsOf } from '../plan/context.ts';
import type { RouterFacts } from '../plan/facts.ts';
import type { Plan } from '../plan/plan.ts';
import { planRouter } from '../plan/router.ts';
import { applyFirewall, changeFirewall, findFirewallDrift, watchedTables } from '../system/firewall.ts';
import { changeIpv6Rules, changeNetwork, type ObservedNetwork } from '../system/iproute.ts';
import {
  changeRouting,
  confirmPlan,
  endConnectionsFrom,
  findIpv6Drift,
  findNetworkDrift,
  forgetFlows,
  forgetFlowsTo,
} from '../system/kernel.ts';
import { watchKernel } from '../system/kernel-watch.ts';
import type { Log } from '../system/log.ts';
import { type Policy, renderPolicy } from '../tunnel/policy.ts';
import {
  claimGateway,
  confirmIpv6Gateway,
  findGatewayDrift,
  prepareClaim,
  restoreGateway,
  warnOfRival,
} from './router-gateway.ts';
import { hasDevice, type RouterSetup, refreshFacts } from './router-setup.ts';

/** How long the kernel's events wait until they are read, so that many cost one look. */
const gatherMs = 250;

/** After a look none for so long, measured by what it took: a flood of events costs a quarter of one CPU at most. */
const rest = { leastMs: 250, times: 3, mostMs: 1_000 } as const;

/**
 * A net under the events: all is looked at. With 20,000 forwarded ports that takes most of a second of CPU. Where the
 * kernel tells nothing it is all there is.
 */
const fullLookEveryMs = { told: 60_000, untold: 1_500 } as const;

/** An apply that fails is tried again. */
const applyTries = 3;

/** What of the router is in the kernel: one policy at a time, put right when somebody else changes it. */
export interface RouterKernel {
  /** What is known of the machine's interfaces now. */
  readonly facts: () => RouterFacts;
  /** The gateway address is ours, so clients get answers. */
  readonly isServing: () => boolean;
  /** How often something was put right that somebody else had changed. */
  readonly repairs: () => number;
  /** Makes the kernel hold a policy; `onHeld` or `onRefused` tells how it went. */
  readonly apply: (policy: Policy) => void;
  readonly forgetFlows: () => void;
  /** Puts other forwards in place of those that are held; `done` is told when the kernel holds them, or no tunnel. */
  readonly changeForwards: (next: LiveForwards, done: () => void) => void;
  /** Claims the gateway address, and looks after everything from then on. @throws UnderbridgeError UB_ADDRESS_TAKEN … */
  readonly serve: (afterFirstPolicy: Promise<void>) => Promise<void>;
  /** Settles when everything that was asked for so far is done. */
  readonly idle: () => Promise<void>;
  /** Looks after nothing any more; what is held stays in the kernel. */
  readonly stop: () => void;
}

/** Changes and looks are made one after the other, in one queue. */
export function openRouterKernel({
  setup,
  log,
  beforeLoad,
  onHeld,
  onRefused,
  onBroken,
}: {
  readonly setup: RouterSetup;
  readonly log: Log;
  /** The counters of the ruleset begin at 0 after that. */
  readonly beforeLoad: () => void;
  readonly onHeld: (policy: Policy) => void;
  readonly onRefused: (policy: Policy, reason: string) => void;
  /** Something happened that cannot: the queue stands still. */
  readonly onBroken: (error: unknown) => void;
}): RouterKernel {
  const { config } = setup;
  const watch = watchKernel(watchedTables(setup.facts.firewall));
  const fullLookMs = setup.facts.firewall === 'iptables-legacy' ? fullLookEveryMs.untold : fullLookEveryMs.told;
  let { facts, network } = setup;
  let live: LiveForwards = { forwards: config.forwards };
  let isServing = setup.isClaimed;
  let isGatewayRight = true;
  let wanted: Policy = { kind: 'lockdown' };
  let held: Policy | undefined;
  let tunAddress: Ipv4 | undefined;
  let repairs = 0;
  let queue: Promise<void> = Promise.resolve();
  let listenTimer: NodeJS.Timeout | undefined;
  let listenAtMs = Number.POSITIVE_INFINITY;
  let isLooking = false;
  let isStopped = false;
  let restUntilMs = 0;
  let fullLookAtMs = 0;
  /** The device that the egress hook hangs on: one that comes back under the same name is another one, without rules. */
  let uplinkIndex: number | undefined;
  let lanIndex = indexOf(network, facts.lan.name);

  const enqueue = (work: () => Promise<void>) => {
    queue = queue.then(work);
    queue.catch(onBroken);
  };

  const refresh = async () => {
    facts = await refreshFacts({ facts, config, network, lanIndex, log });
    lanIndex = indexOf(network, facts.lan.name) ?? lanIndex;
  };

  const planNow = (policy: Policy): Plan => planRouter({ config: { ...config, ...live }, facts, policy });

  /** True when the kernel holds the policy, and the gateway's interface what it needs. */
  const hold = async (policy: Policy): Promise<boolean> => {
    try {
      // Claimed meanwhile, the address may not be in what was seen, and would be claimed again.
      const wasServing = isServing;
      await applyRepeatedly(policy);
      held = policy;
      if (wasServing) await restoreGatewaySoon();
      return true;
    } catch (error) {
      if (!(error instanceof UnderbridgeError)) throw error;
      log.error('policy not applied', { policy: renderPolicy(policy), reason: error.message, hint: error.hint });
      onRefused(policy, error.message);
      return false;
    }
  };

  /** What clients need is no part of the locks: where it cannot be put right now, the next look tries again. */
  const restoreGatewaySoon = async () => {
    try {
      await restoreGateway({ config, facts, log, network });
      isGatewayRight = true;
    } catch (error) {
      if (!(error instanceof UnderbridgeError)) throw error;
      log.warn('the gateway was not put right', { reason: error.message });
      isGatewayRight = false;
      lookFullySoon();
    }
  };

  /** Somebody may flush the rules between the apply and its read-back; that is no reason to give up. */
  const applyRepeatedly = async (policy: Policy): Promise<void> => {
    for (let tried = 1; ; tried += 1) {
      try {
        return await applyOnce(policy);
      } catch (error) {
        if (!(error instanceof UnderbridgeError) || tried >= applyTries) throw error;
        await sleep(50 * tried);
      }
    }
  };

  /**
   * Firewall and routes side by side, but for a tunnel that is lost: a client's packet that finds the routes gone is
   * swallowed, and the firewall answers it.
   */
  const applyOnce = async (policy: Policy): Promise<void> => {
    const isClosing = held?.kind === 'forward' && policy.kind !== 'forward';
    const known = facts;
    let plan = planNow(policy);
    beforeLoad();
    const loading = applyFirewall(plan);
    // Each lock closes alone: one that fails does not keep the other from it.
    if (isClosing) await Promise.allSettled([loading]);
    // Both end before anything follows: a load that is left alone could land on top of a later one.
    const [loaded, changed] = await Promise.allSettled([loading, changeRouting(plan, network)]);
    if (loaded.status === 'rejected') throw loaded.reason;
    if (changed.status === 'rejected') throw changed.reason;
    network = changed.value;
    await refresh();
    if (facts !== known) {
      plan = planNow(policy);
      await applyFirewall(plan);
    }
    // What was seen last may have been outdated.
    if (findNetworkDrift(plan, network).length > 0) network = await changeRouting(plan, network);
    // Our own events end here. Those of the network stay: a cheap look more, and nobody's change gets lost in them.
    watch.forget('firewall');
    await confirmPlan(plan, network);
    uplinkIndex = indexOf(network, facts.uplink.name);
  };

  // One that is outdated before its turn is left out. A lockdown never is: the flows that are forgotten after it must
  // not come back.
  const apply = (policy: Policy) => {
    wanted = policy;
    enqueue(async () => {
      if (wanted !== policy && !locksDown(policy)) return;
      if (!(await hold(policy))) return;
      log.info('policy applied', { policy: renderPolicy(policy) });
      onHeld(policy);
      if (config.isSidecar && policy.kind === 'forward') await endOldConnections(policy.tun.address);
    });
  };

  /** With the same address again they go on where they were. */
  const endOldConnections = async (address: Ipv4) => {
    const before = tunAddress;
    tunAddress = address;
    if (before === undefined || before === address) return;
    try {
      await endConnectionsFrom(before);
    } catch (error) {
      if (!(error instanceof UnderbridgeError)) throw error;
      log.warn('connections of local processes by the last tunnel were not ended', { reason: error.message });
    }
  };

  const tryToForget = async (forget: () => Promise<void>) => {
    try {
      await forget();
    } catch (error) {
      if (!(error instanceof UnderbridgeError)) throw error;
      log.warn('flows were not forgotten', { reason: error.message });
    }
  };
  const forgetFlowsSoon = () => enqueue(() => tryToForget(forgetFlows));

  /** Only what differs is changed; where that fails all is loaded, as after somebody else's change. */
  const changeForwards = async (next: LiveForwards) => {
    const policy = held;
    const [before, gone] = [policy && planNow(policy), targetsLeft(live, next)];
    live = next;
    // Whatever is applied next brings them along.
    if (before === undefined || policy?.kind !== 'forward') return;
    const plan = planNow(policy);
    try {
      await changeFirewall(before, plan);
      watch.forget('firewall');
      await confirmPlan(plan, network);
    } catch (error) {
      if (!(error instanceof UnderbridgeError)) throw error;
      log.warn('the forwards were not changed alone', { reason: error.message });
      if (policy !== wanted || !(await hold(policy))) return;
    }
    for (const address of gone) await tryToForget(() => forgetFlowsTo(address));
  };

  const look = async ({ isFull }: { readonly isFull: boolean }) => {
    const policy = held;
    // A policy that is still to come reads back for itself.
    if (policy === undefined || policy !== wanted) return;
    const startMs = performance.now();
    const isFirewallSuspect = watch.hasChanged('firewall') || isFull;
    const program = watch.firewallChanger();
    watch.forget('firewall');
    watch.forget('network');
    network = await changeNetwork([]);
    const known = facts;
    await refresh();
    const plan = planNow(policy);
    const ipv6 = await findIpv6Drift(plan);
    const isUplinkNew = indexOf(network, facts.uplink.name) !== uplinkIndex;
    const inFirewall = isFirewallSuspect || isUplinkNew || facts !== known ? await findFirewallDrift(plan) : [];
    uplinkIndex = indexOf(network, facts.uplink.name);
    const elsewhere = [
      ...findNetworkDrift(plan, network),
      ...ipv6.map((change) => `IPv6 needs: ${change}`),
      ...(isServing ? findGatewayDrift({ config, facts, network }) : []),
    ];
    const differences = [...inFirewall, ...elsewhere];
    if (isServing) await warnOfRival({ config, facts, log });
    log.debug('looked at the kernel', { firewall: isFirewallSuspect, differences: differences.length });
    if (differences.length === 0 || policy !== wanted) return;
    // Without its device the tunnel cannot be repaired: the probe notices, and the next attempt makes it anew.
    if (linksOf(policy).some(({ name }) => !hasDevice(network, name))) return;
    log.warn('the kernel was changed by somebody else', { differences: differences.slice(0, 3), program });
    if (ipv6.length > 0) await changeIpv6Rules(ipv6);
    if (!(await hold(policy)) || !isGatewayRight) return;
    repairs += 1;
    log.info('repaired', { repairs, tookMs: Math.round(performance.now() - startMs) });
    // What was tracked while the rules were gone was not translated, and would stay so.
    if (inFirewall.length > 0 && policy.kind === 'forward') forgetFlowsSoon();
  };

  /** Within so many milliseconds, if not sooner. */
  const listenIn = (ms: number) => {
    const atMs = performance.now() + ms;
    if (isStopped || atMs >= listenAtMs) return;
    clearTimeout(listenTimer);
    listenAtMs = atMs;
    listenTimer = setTimeout(listen, ms);
  };
  const lookFullySoon = () => {
    fullLookAtMs = 0;
    listenIn(gatherMs);
  };

  const listen = () => {
    const nowMs = performance.now();
    listenAtMs = Number.POSITIVE_INFINITY;
    if (isLooking) return;
    if (nowMs < restUntilMs) return listenIn(restUntilMs - nowMs);
    watch.wake(() => listenIn(gatherMs));
    const hasChanged = watch.hasChanged('firewall') || watch.hasChanged('network');
    const isFull = nowMs >= fullLookAtMs;
    if (!(hasChanged || isFull)) return listenIn(fullLookAtMs - nowMs);
    isLooking = true;
    if (isFull) fullLookAtMs = nowMs + fullLookMs;
    enqueue(async () => {
      const startMs = performance.now();
      try {
        await look({ isFull });
      } catch (error) {
        if (!(error instanceof UnderbridgeError)) throw error;
        log.warn('the kernel was not looked at', { reason: error.message });
        fullLookAtMs = 0;
      } finally {
        const endMs = performance.now();
        const restMs = Math.min(rest.mostMs, Math.max(rest.leastMs, rest.times * (endMs - startMs)));
        restUntilMs = endMs + restMs;
        isLooking = false;
        listenIn(restMs);
      }
    });
  };

  return {
    facts: () => facts,
    isServing: () => isServing,
    repairs: () => repairs,
    apply,
    forgetFlows: forgetFlowsSoon,
    changeForwards: (next, done) =>
      enqueue(async () => {
        await changeForwards(next);
        done();
      }),
    serve: async (afterFirstPolicy) => {
      await Promise.all([afterFirstPolicy, prepareClaim(setup)]);
      await claimGateway({ config, facts, log });
      isServing = true;
      fullLookAtMs = performance.now() + fullLookMs;
      listenIn(gatherMs);
      await confirmIpv6Gateway({ config, facts, log });
    },
    idle: () => queue,
    stop: () => {
      isStopped = true;
      clearTimeout(listenTimer);
    },
  };
}

/** Addresses that lose a forward. */
function targetsLeft(before: LiveForwards, after: LiveForwards): ReadonlySet<Ip> {
  const kept = new Set(after.forwards.map((forward) => JSON.stringify(forward)));
  return new Set(before.forwards.flatMap((forward) => (kept.has(JSON.stringify(forward)) ? [] : forward.target)));
}

function indexOf({ links }: ObservedNetwork, name: IfName): number | undefined {
  return links.find(({ ifname }) => ifname === name)?.ifindex;
}

/** True when a tunnel is taken away: the flows that are forgotten after that must not come back. */
function locksDown(policy: Policy): boolean {
  return partsOf(policy).some(({ kind }) => kind === 'lockdown');
}
