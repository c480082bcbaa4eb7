import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { assertNever, UnderbridgeError } from '../errors.ts';
import { type HealthReport, reportHealth } from '../health/report.ts';
import { contains } from '../net/address.ts';
import { renderArguments, renderProfile } from '../openvpn/profile.ts';
import { enforcedResolvers, probeAddresses } from '../plan/context.ts';
import { applyForwarding } from '../system/forwarding.ts';
import { serveHealth } from '../system/http.ts';
import { changeNetwork } from '../system/iproute.ts';
import type { Log } from '../system/log.ts';
import { makeRunFolder, type OpenvpnProcess, openvpnUid, startOpenvpn } from '../system/openvpn.ts';
import { openTunDevice } from '../system/prerequisites.ts';
import { startProbe, type Target } from '../system/probe.ts';
import { initialState, step, type TunnelEffect, type TunnelEvent, type TunnelState } from '../tunnel/machine.ts';
import { type Endpoint, renderEndpoint, type TunnelLink } from '../tunnel/policy.ts';
import { openRouterKernel } from './router-kernel.ts';
import { endpointSource, resolveRemotes } from './router-remotes.ts';
import { type RouterSetup, tunName } from './router-setup.ts';

/** Docker kills after 10 s; a stop takes 50 ms unless something hangs. */
const stopMs = 1_500;

/** A running router. */
export interface Router {
  readonly health: () => HealthReport;
  /** Locks down, ends OpenVPN and resolves; the locks stay in the kernel. */
  readonly stop: () => Promise<void>;
  /** Settles only when the router cannot go on. */
  readonly failed: Promise<never>;
}

/**
 * Runs the router: one queue of events, one machine, effects whose results come back as events.
 * @throws UnderbridgeError UB_ADDRESS_TAKEN, UB_APPLY, UB_EXEC when it cannot start.
 */
export async function startRouter({ setup, log }: { setup: RouterSetup; log: Log }): Promise<Router> {
  const { config, profile, secrets } = setup;
  const source = endpointSource(setup);
  let state: TunnelState = initialState(source);
  let sinceMs = Date.now();
  let process: OpenvpnProcess | undefined;
  let ending: Promise<void> = Promise.resolve();
  let probe: { readonly stop: () => void } | undefined;
  let timer: NodeJS.Timeout | undefined;
  const { promise: failed, reject: giveUp } = Promise.withResolvers<never>();
  const { promise: firstPolicy, resolve: announceFirstPolicy } = Promise.withResolvers<void>();
  // The owner awaits it later; until then a rejection is not unhandled.
  failed.catch(() => undefined);

  const kernel = openRouterKernel({
    setup,
    log,
    onHeld: (policy) => {
      announceFirstPolicy();
      dispatch({ kind: 'policy-confirmed', policy });
    },
    onRefused: (policy, reason) => dispatch({ kind: 'policy-failed', policy, text: reason }),
    onBroken: (error) => giveUp(unexpected(error)),
  });

  const dispatch = (event: TunnelEvent) => {
    const before = state;
    const next = step(state, event);
    state = next.state;
    if (before.kind !== state.kind || isProven(before) !== isProven(state)) {
      sinceMs = Date.now();
      logTransition(log, state);
    }
    for (const effect of next.effects) execute(effect);
  };

  const execute = (effect: TunnelEffect): void => {
    switch (effect.kind) {
      case 'apply':
        return kernel.apply(effect.policy);
      case 'forget-flows':
        return kernel.forgetFlows();
      case 'resolve':
        return void resolveSoon();
      case 'start-openvpn':
        return void openSoon(effect);
      case 'release-hold':
        return process?.release();
      case 'end-openvpn':
        return endOpenvpn();
      case 'start-probe':
        return startProbing(effect);
      case 'stop-probe':
        return probe?.stop();
      case 'arm-timer': {
        const { timer: name, epoch, ms } = effect;
        clearTimeout(timer);
        // Jitter, so that many routers do not come back to one server at the same moment.
        const wait = name === 'retry' ? ms * (0.75 + Math.random() / 2) : ms;
        timer = setTimeout(() => dispatch({ kind: 'timer', timer: name, epoch }), wait);
        return;
      }
      case 'halt':
        return giveUp(cannotLock(effect.text));
      default:
        return assertNever(effect);
    }
  };

  const resolveSoon = async () => {
    const { endpoints, problems } = await resolveRemotes(setup);
    const [first, ...others] = endpoints;
    if (first !== undefined) return dispatch({ kind: 'resolved', endpoints: [first, ...others] });
    dispatch({ kind: 'resolve-failed', text: problems.join('; ') });
  };

  const openSoon = async ({ epoch, endpoint }: Extract<TunnelEffect, { kind: 'start-openvpn' }>) => {
    const remote = profile.remotes[endpoint.remoteIndex] ?? profile.remotes[0];
    try {
      await ending;
      await ensureTun();
      // The attempt may be over by now; nobody would end a process that is started for it.
      if (state.kind !== 'dialing' || state.course.epoch !== epoch) return;
      process = startOpenvpn({
        runFolder,
        epoch,
        tunName,
        args: (managementSocket) => renderArguments({ profile, managementSocket, tunName }),
        profileText: renderProfile({ profile, remote, address: endpoint.address }),
        secrets,
        log,
        onEvent: (event) =>
          dispatch(checkLink({ event: { ...event, epoch }, endpoint, config, facts: kernel.facts() })),
      });
    } catch (error) {
      dispatch({ kind: 'failed', epoch, cause: { code: 'openvpn-exited', text: text(error) } });
    }
  };

  const endOpenvpn = () => {
    const ended = process;
    process = undefined;
    if (ended !== undefined) ending = Promise.all([ending, ended.end()]).then(() => undefined);
  };

  const startProbing = ({ epoch, endpoint, tun }: Extract<TunnelEffect, { kind: 'start-probe' }>) => {
    probe?.stop();
    const target = probeTarget({ config, facts: kernel.facts(), endpoint, tun });
    if (target.kind === 'none' || target.kind === 'peer') {
      log.warn('no resolver to prove the tunnel with', {
        hint: 'the server pushed none: set DNS to a resolver, or HEALTH_PROBE to ADDRESS:PORT',
      });
    }
    probe = startProbe({
      tun,
      target,
      onOutcome: (outcome) => {
        if (outcome === 'answered') return dispatch({ kind: 'probe-answered', epoch });
        const cause =
          outcome === 'dead'
            ? ({ code: 'tunnel-dead', text: 'the tunnel is connected, but nothing comes back through it' } as const)
            : ({ code: 'tun-gone', text: `the device ${tun.name} was deleted` } as const);
        dispatch({ kind: 'failed', epoch, cause });
      },
    });
  };

  const health = () =>
    reportHealth({
      tunnel: state,
      sinceMs,
      isServing: kernel.isServing(),
      repairs: kernel.repairs(),
      firewall: kernel.facts().firewall,
    });

  const listen = () => serveHealth({ ...config.healthAddress, report: health });
  // An address that is ours only after the claim cannot be listened on before it.
  const isLate = config.healthAddress.host === config.gateway.address && !setup.isClaimed;
  let server = isLate ? undefined : await listen();
  const runFolder = makeRunFolder();
  openTunDevice();
  // What the kernel tracked before the locks was not translated, and would stay so. Before the first attempt: in the
  // middle of a handshake the server's packets would no longer count as answers.
  kernel.forgetFlows();
  await Promise.all([ensureTun(), kernel.idle()]);
  // The address comes last: locks confirmed, nobody else there.
  const serve = async () => {
    await kernel.serve(firstPolicy);
    server ??= await listen();
  };
  dispatch({ kind: 'start' });
  void serve().catch((error) => giveUp(error instanceof UnderbridgeError ? error : unexpected(error)));
  return {
    health,
    failed,
    stop: async () => {
      dispatch({ kind: 'stop' });
      clearTimeout(timer);
      kernel.stop();
      server?.close();
      // A tool that hangs must not keep the container from ending: its namespace ends with it.
      await Promise.race([Promise.all([kernel.idle(), ending]), sleep(stopMs)]);
    },
  };
}

function isProven(state: TunnelState): boolean {
  return state.kind === 'up' && state.isProven;
}

function logTransition(log: Log, state: TunnelState): void {
  switch (state.kind) {
    case 'blocked':
      return log.warn('blocked', { cause: state.cause.code, reason: state.cause.text, retryMs: state.retryMs });
    case 'resolving':
      return log.info('resolving the names of the profile');
    case 'dialing':
      return log.info('dialing', { remote: renderEndpoint(state.endpoint), attempt: state.course.attempts });
    case 'up':
      return log.info(state.isProven ? 'tunnel proven' : 'tunnel up', {
        remote: renderEndpoint(state.endpoint),
        interface: state.tun.name,
        address: state.tun.address,
      });
    case 'stopping':
      return log.info('stopping');
    default:
      return assertNever(state);
  }
}

async function ensureTun(): Promise<void> {
  if (existsSync(`/sys/class/net/${tunName}`)) return;
  await changeNetwork([`tuntap add dev ${tunName} mode tun user ${openvpnUid}`]);
  applyForwarding([{ name: tunName, forwards: true }]);
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
    message: text(error),
    hint: 'this is a bug in Underbridge, please report it',
    cause: error,
  });
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** A tunnel address inside one of our own networks would take it over. */
function checkLink({
  event,
  endpoint,
  config,
  facts,
}: Pick<RouterSetup, 'config' | 'facts'> & { readonly event: TunnelEvent; readonly endpoint: Endpoint }): TunnelEvent {
  if (event.kind !== 'connected') return event;
  const { address } = event.tun;
  const owners = [
    { owner: 'the isolated network', isOwned: contains(config.gateway, address) },
    { owner: 'the uplink', isOwned: contains(facts.uplink.cidr, address) },
    { owner: 'the VPN server itself', isOwned: address === endpoint.address },
    { owner: 'HEALTH_PROBE', isOwned: config.probe.kind === 'tcp' && config.probe.address === address },
    { owner: 'the enforced resolver', isOwned: enforcedResolvers(config, event.tun).includes(address) },
  ];
  const owner = owners.find(({ isOwned }) => isOwned)?.owner;
  if (owner === undefined) return event;
  const cause = { code: 'address-conflict', text: `the server gave ${address}, which belongs to ${owner}` } as const;
  return { kind: 'failed', epoch: event.epoch, cause };
}

function probeTarget({
  config,
  facts,
  endpoint,
  tun,
}: Pick<RouterSetup, 'config' | 'facts'> & { readonly endpoint: Endpoint; readonly tun: TunnelLink }): Target {
  const [first, ...others] = probeAddresses({ config, facts, endpoint, tun });
  if (first === undefined) return tun.peer === undefined ? { kind: 'none' } : { kind: 'peer', address: tun.peer };
  if (config.probe.kind === 'tcp') return { kind: 'tcp', address: first, port: config.probe.port };
  return { kind: 'resolvers', servers: [first, ...others] };
}
