import { setTimeout as sleep } from 'node:timers/promises';
import { renderAllowance } from '../config/lan-allow.ts';
import { forwardsAtBoot } from '../doctor/router-checks.ts';
import { UnderbridgeError } from '../errors.ts';
import { type HealthReport, reportHealth, reportTunnel } from '../health/report.ts';
import type { IfName } from '../net/address.ts';
import type { OneOrMore } from '../one-or-more.ts';
import { isLoopback, tunNamesOf } from '../plan/context.ts';
import { describeHardening } from '../plan/hardening.ts';
import { removeOtherFirewalls } from '../system/firewall.ts';
import { observeForwarding } from '../system/forwarding.ts';
import { serveHttp } from '../system/http.ts';
import type { Log } from '../system/log.ts';
import { makeRunFolder } from '../system/openvpn.ts';
import { openTunDevice } from '../system/prerequisites.ts';
import type { Policy, TunnelPolicy } from '../tunnel/policy.ts';
import { findRefused, newSelection, select } from '../tunnel/selection.ts';
import { createControl, createControlAnswers } from './router-control.ts';
import { openDns } from './router-dns.ts';
import { openForwards } from './router-forwards.ts';
import { createAnswers } from './router-http.ts';
import { openRouterKernel } from './router-kernel.ts';
import { observeRouter } from './router-observer.ts';
import type { RouterSetup } from './router-setup.ts';
import { ensureTun, openTunnel, type RouterTunnel } from './router-tunnel.ts';

/** Docker kills after 10 s; a stop takes 50 ms unless something hangs. */
const stopMs = 1_500;

/** Looking for them takes four programs, and the first connection goes before; OpenVPN's second packet goes after. */
const leftoverMs = 900;

/** A running router. */
export interface Router {
  readonly health: () => HealthReport;
  /** Locks down, ends OpenVPN and resolves; the locks stay in the kernel. */
  readonly stop: () => Promise<void>;
  /** Settles only when the router cannot go on. */
  readonly failed: Promise<never>;
}

/**
 * Runs the router: a machine for each tunnel, and one policy made of what they ask for. Results of effects come back as
 * events.
 * @throws UnderbridgeError UB_ADDRESS_TAKEN, UB_APPLY, UB_EXEC when it cannot start.
 */
export async function startRouter({
  setup,
  version,
  log: quietLog,
}: {
  readonly setup: RouterSetup;
  readonly version: string;
  readonly log: Log;
}): Promise<Router> {
  const { config } = setup;
  const { promise: failed, reject: giveUp } = Promise.withResolvers<never>();
  const { promise: firstPolicy, resolve: announceFirstPolicy } = Promise.withResolvers<void>();
  // The owner awaits it later; until then a rejection is not unhandled.
  failed.catch(() => undefined);
  let leftoverTimer: NodeJS.Timeout | undefined;
  let selection = newSelection(performance.now());
  let isStopping = false;
  /** The last that each tunnel asked for, and the last of those that the kernel has confirmed. */
  const wanted: TunnelPolicy[] = [];
  const confirmed: (TunnelPolicy | undefined)[] = [];
  /** What each tunnel asked for, when the kernel was asked for the whole. */
  const partsOf = new WeakMap<Policy, readonly TunnelPolicy[]>();

  const observer = observeRouter({
    setup,
    version,
    log: quietLog,
    observed: {
      health: () => health(),
      isPaused: () => control.isPaused(),
      lan: () => kernel.facts().lan.name,
      forwards: () => forwards,
    },
  });
  const { log } = observer;

  const kernel = openRouterKernel({
    setup,
    log,
    beforeLoad: observer.gather,
    onHeld: (policy) => {
      announceFirstPolicy();
      dns.follow(policy);
      for (const [index, part] of (partsOf.get(policy) ?? []).entries()) {
        if (wanted[index] !== part || confirmed[index] === part) continue;
        confirmed[index] = part;
        tunnels[index]?.dispatch({ kind: 'policy-confirmed', policy: part });
      }
      forwards.onHeld(policy);
    },
    onRefused: (policy, reason) => {
      const parts = partsOf.get(policy) ?? [];
      for (const index of findRefused({ parts, wanted, confirmed })) {
        tunnels[index]?.dispatch({ kind: 'policy-failed', policy: parts[index] ?? policy, text: reason });
      }
    },
    onBroken: (error) => giveUp(unexpected(error)),
  });

  const dns = openDns({ setup, log, runFolder: () => runFolder });
  const forwards = openForwards({ config, log, kernel });

  const applyAll = () => {
    const standby = wanted.find((_, index) => index !== selection.carrier);
    const main = wanted[selection.carrier] ?? { kind: 'lockdown' };
    const policy: Policy = standby === undefined ? main : { ...main, standby };
    partsOf.set(policy, [...wanted]);
    kernel.apply(policy);
  };

  /** True when clients change the tunnel. */
  const selectAnew = (): boolean => {
    const { failback } = config;
    const states = tunnels.map((tunnel) => tunnel.state());
    const { carrier } = selection;
    selection = select({ selection, tunnels: states, failback, nowMs: performance.now() });
    const next = selection.carrier;
    if (next === carrier) return false;
    log.info('clients change the tunnel', { from: tunnels[carrier]?.tunName, to: tunnels[next]?.tunName });
    return true;
  };

  const open = (current: RouterSetup, tunName: IfName, index: number): RouterTunnel => {
    wanted[index] = { kind: 'lockdown' };
    let hasMoved = false;
    let wasCarrier = true;
    return openTunnel({
      setup: current,
      log,
      tunName,
      profileIndexes: profilesFor(current, index, tunNames.length),
      owner: {
        facts: kernel.facts,
        runFolder: () => runFolder,
        takenAddresses: () =>
          tunnels.flatMap((other, place) => {
            const state = other.state();
            if (place === index) return [];
            // Its server, too: an address of ours is local, and that tunnel would lose its way there.
            const server = 'endpoint' in state ? [state.endpoint.address] : [];
            if (state.kind !== 'up') return server;
            const { address, ipv6 } = state.tun;
            return [address, ...(ipv6 === undefined ? [] : [ipv6.address]), ...server];
          }),
        onChange: () => {
          wasCarrier = selection.carrier === index;
          hasMoved = selectAnew() || hasMoved;
          // A tunnel that asks for something has all applied in the same go.
          queueMicrotask(() => {
            if (!hasMoved) return;
            hasMoved = false;
            applyAll();
            kernel.forgetFlows();
          });
        },
        apply: (policy) => {
          wanted[index] = policy;
          applyAll();
          if (hasMoved) kernel.forgetFlows();
          hasMoved = false;
        },
        // The flows of clients are in another tunnel, where nothing has happened.
        forgetFlows: () => {
          if (wasCarrier) kernel.forgetFlows();
        },
        halt: (reason) => giveUp(cannotLock(reason)),
      },
    });
  };

  const tunNames = tunNamesOf(setup.facts);
  const tunnels = tunNames.map((tunName, index) => open(setup, tunName, index));
  const endTunnels = async () => {
    for (const tunnel of tunnels) tunnel.dispatch({ kind: 'stop' });
    await Promise.all([kernel.idle(), ...tunnels.map((tunnel) => tunnel.ended())]);
  };
  const control = createControl({
    setup,
    end: async () => {
      await Promise.race([failed, endTunnels()]);
      kernel.forgetFlows();
    },
    begin: (next) => {
      if (isStopping) return;
      selection = newSelection(performance.now());
      for (const [index, tunName] of tunNames.entries()) tunnels[index] = open(next, tunName, index);
      for (const tunnel of tunnels) tunnel.dispatch({ kind: 'start' });
    },
  });

  const hardening = describeHardening(setup);
  const pastTunnel = config.lanAllowances?.map(renderAllowance);
  const health = () => {
    const now = { clockMs: performance.now(), calendarMs: Date.now() };
    const snapshots = tunnels.map((tunnel) => ({
      tunnel: tunnel.state(),
      sinceMs: tunnel.sinceMs(),
      isServing: kernel.isServing(),
      repairs: kernel.repairs(),
      firewall: kernel.facts().firewall,
      hardening,
      wantsIpv6: config.ipv6 !== undefined,
      networkFault: kernel.facts().networkFault,
      dns: dns.report(),
      pastTunnel,
      now,
    }));
    const report = reportHealth(snapshots[selection.carrier] ?? assertSome(snapshots[0]));
    if (tunnels.length === 1) return report;
    const each = snapshots.map((snapshot, index) =>
      reportTunnel(snapshot, { interface: tunNames[index] ?? tunNames[0], isCarrying: index === selection.carrier }),
    );
    return { ...report, tunnels: each };
  };

  /** Rules of another program's run would keep everything shut. */
  const removeLeftovers = async () => {
    try {
      const programs = await removeOtherFirewalls(setup.facts.firewall);
      if (programs.length > 0) log.warn('rules of an earlier FIREWALL were removed', { programs });
    } catch (error) {
      if (!(error instanceof UnderbridgeError)) throw error;
      log.debug('no rules of an earlier FIREWALL were looked for', { reason: error.message });
    }
  };

  const { controlToken: token } = setup;
  const answer = createAnswers({
    health,
    observer,
    ...(token === undefined ? {} : { control: createControlAnswers({ token, control, log }) }),
  });
  const onProblem = (problem: unknown) => log.error('a request was not answered', { reason: `${problem}` });
  const hint = 'set it to an address of this container, 0.0.0.0 or 127.0.0.1, and a free port';
  const listen = () => serveHttp({ ...config.healthAddress, hint, answer, onProblem });
  if (!isLoopback(config.healthAddress.host)) {
    log.warn('the health endpoint is open to clients and to the uplink: they see every client, server and forward', {
      address: `${config.healthAddress.host}:${config.healthAddress.port}`,
      hint: 'leave HEALTH_ADDR out, or let nothing but the router be on the uplink',
    });
  }
  if (pastTunnel !== undefined) {
    log.warn('a part of the local network is reached past the tunnel, whether it is up or not', { pastTunnel });
  }
  if (config.isSidecar !== true && observeForwarding('all')) {
    const { what, why, remedy } = forwardsAtBoot('the router');
    log.warn(what, { reason: why, hint: remedy });
  }
  // An address that is ours only after the claim cannot be listened on before it.
  const isLate = config.healthAddress.host === config.gateway.address && !setup.isClaimed;
  let server = isLate ? undefined : await listen();
  const runFolder = makeRunFolder();
  openTunDevice();
  // What the kernel tracked before the locks was not translated, and would stay so. Before the first attempt: in the
  // middle of a handshake the server's packets would no longer count as answers.
  kernel.forgetFlows();
  await Promise.all([...tunNames.map((name) => ensureTun(name, config)), kernel.idle()]);
  // The address comes last: locks confirmed, nobody else there.
  const serve = async () => {
    await kernel.serve(firstPolicy);
    server ??= await listen();
    leftoverTimer = setTimeout(() => void removeLeftovers(), leftoverMs);
    observer.start();
  };
  forwards.start();
  for (const tunnel of tunnels) tunnel.dispatch({ kind: 'start' });
  void serve().catch((error) => giveUp(error instanceof UnderbridgeError ? error : unexpected(error)));
  return {
    health,
    failed,
    stop: async () => {
      isStopping = true;
      await forwards.stop();
      const ended = Promise.all([endTunnels(), control.idle()]);
      clearTimeout(leftoverTimer);
      kernel.stop();
      observer.stop();
      // A tool that hangs must not keep the container from ending: its namespace ends with it.
      await Promise.race([Promise.all([ended, dns.stop()]), sleep(stopMs)]);
      // What control has done is answered by then.
      await sleep(0);
      server?.close();
    },
  };
}

/** Profiles take turns between the tunnels, so that no two ever use the same one: providers allow one session of it. */
function profilesFor({ profiles }: RouterSetup, tunnel: number, tunnels: number): OneOrMore<number> {
  const [first = tunnel, ...others] = [...profiles.keys()].filter((index) => index % tunnels === tunnel);
  return [first, ...others];
}

function assertSome<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError('there is no tunnel');
  return value;
}

function cannotLock(reason: string): UnderbridgeError {
  return new UnderbridgeError({
    code: 'UB_APPLY',
    message: `the kernel did not take the lockdown: ${reason}`,
    hint: 'the router ends, and its network namespace with it, so that nothing can pass',
  });
}

function unexpected(error: unknown): UnderbridgeError {
  return new UnderbridgeError({
    code: 'UB_INTERNAL',
    message: error instanceof Error ? error.message : String(error),
    hint: 'this is a bug in Underbridge, please report it',
    cause: error,
  });
}
