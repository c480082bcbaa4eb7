import { existsSync } from 'node:fs';
import { assertNever } from '../errors.ts';
import { contains, type IfName, type Ip } from '../net/address.ts';
import type { OneOrMore } from '../one-or-more.ts';
import { renderArguments, renderProfile } from '../openvpn/profile.ts';
import { enforcedIpv6Resolvers, ipv6Of, probeAddresses, upstreamResolvers } from '../plan/context.ts';
import type { RouterFacts } from '../plan/facts.ts';
import { applyForwarding } from '../system/forwarding.ts';
import { changeNetwork } from '../system/iproute.ts';
import { enableIpv6 } from '../system/ipv6.ts';
import type { Log } from '../system/log.ts';
import { type OpenvpnProcess, openvpnUid, startOpenvpn } from '../system/openvpn.ts';
import { peerPort, startProbe, type Target } from '../system/probe.ts';
import { hintOf } from '../tunnel/cause.ts';
import type { Course } from '../tunnel/course.ts';
import {
  initialState,
  isProven,
  step,
  type TunnelEffect,
  type TunnelEvent,
  type TunnelState,
} from '../tunnel/machine.ts';
import { type Endpoint, renderEndpoint, type TunnelLink, type TunnelPolicy } from '../tunnel/policy.ts';
import { listProfiles, observeResolverScope, resolveRemotes } from './router-remotes.ts';
import type { RouterSetup } from './router-setup.ts';

/** One tunnel on a device of its own: its machine, its OpenVPN, its probe and its timer. */
export interface RouterTunnel {
  readonly tunName: IfName;
  readonly state: () => TunnelState;
  /** When the state last changed its kind, or was proven, in milliseconds since the epoch. */
  readonly sinceMs: () => number;
  readonly dispatch: (event: TunnelEvent) => void;
  /** Settles when the OpenVPN that was ended last is gone. */
  readonly ended: () => Promise<void>;
}

/** What a tunnel leaves to its owner, because others have a part in it. */
export interface TunnelOwner {
  readonly facts: () => RouterFacts;
  readonly runFolder: () => string;
  /** Addresses of the other tunnels. */
  readonly takenAddresses: () => readonly Ip[];
  /** The state is a new one, and its effects come next. */
  readonly onChange: () => void;
  readonly apply: (policy: TunnelPolicy) => void;
  readonly forgetFlows: () => void;
  readonly halt: (reason: string) => void;
}

/** Makes a tunnel of these profiles, told by their places in CONFIG; it does nothing until it is started. */
export function openTunnel({
  setup,
  log,
  tunName,
  profileIndexes,
  owner,
}: {
  readonly setup: RouterSetup;
  readonly log: Log;
  readonly tunName: IfName;
  readonly profileIndexes: OneOrMore<number>;
  readonly owner: TunnelOwner;
}): RouterTunnel {
  const { config, profiles } = setup;
  const all = listProfiles(setup);
  const [first, ...others] = profileIndexes.map((index) => all[index] ?? all[0]);
  let state: TunnelState = initialState([first ?? all[0], ...others], config);
  let sinceMs = Date.now();
  let process: OpenvpnProcess | undefined;
  let ending: Promise<void> = Promise.resolve();
  let probe: { readonly stop: () => void } | undefined;
  let timer: NodeJS.Timeout | undefined;

  const dispatch = (event: TunnelEvent) => {
    const before = state;
    const next = step(state, event, { nowMs: performance.now(), random: Math.random() });
    state = next.state;
    if (before.kind !== state.kind || isProven(before) !== isProven(state)) {
      sinceMs = Date.now();
      logTransition(log, state);
    }
    owner.onChange();
    for (const effect of next.effects) execute(effect);
  };

  const execute = (effect: TunnelEffect): void => {
    switch (effect.kind) {
      case 'apply':
        return owner.apply(current(effect.policy, config));
      case 'forget-flows':
        return owner.forgetFlows();
      case 'resolve':
        return void resolveSoon(effect);
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
        timer = setTimeout(() => dispatch({ kind: 'timer', timer: name, epoch }), ms);
        return;
      }
      case 'halt':
        return owner.halt(effect.text);
      default:
        return assertNever(effect);
    }
  };

  const resolveSoon = async ({ epoch, profileIndex }: Extract<TunnelEffect, { kind: 'resolve' }>) => {
    const { endpoints, problems } = await resolveRemotes(
      { config, profiles, facts: owner.facts() },
      profileIndexes[profileIndex] ?? profileIndexes[0],
    );
    const [first, ...others] = endpoints;
    if (first !== undefined) return dispatch({ kind: 'resolved', epoch, endpoints: [first, ...others] });
    dispatch({ kind: 'resolve-failed', epoch, text: problems.join('; ') });
  };

  const openSoon = async ({ epoch, endpoint }: Extract<TunnelEffect, { kind: 'start-openvpn' }>) => {
    const { profile, secrets } = profiles[endpoint.profileIndex] ?? profiles[0];
    const remote = profile.remotes[endpoint.remoteIndex] ?? profile.remotes[0];
    try {
      await ending;
      await ensureTun(tunName, config);
      // The attempt may be over by now; nobody would end a process that is started for it.
      if (state.kind !== 'dialing' || state.course.epoch !== epoch) return;
      process = startOpenvpn({
        runFolder: owner.runFolder(),
        epoch,
        tunName,
        args: (managementSocket) => renderArguments({ profile, managementSocket, tunName }),
        context: { profile, remote, server: renderEndpoint(endpoint) },
        profileText: renderProfile({ profile, remote, address: endpoint.address }),
        secrets: remote.proxy?.credentials === undefined ? secrets : { ...secrets, proxy: remote.proxy.credentials },
        log,
        onEvent: (event) =>
          dispatch(
            checkLink({
              event: { ...event, epoch },
              endpoint,
              config,
              facts: owner.facts(),
              taken: owner.takenAddresses(),
            }),
          ),
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
    if (config.ipv6 !== undefined && tun.ipv6 === undefined) {
      log.warn("the server gave no IPv6 address: clients' IPv6 is refused", {
        hint: 'ask the provider for a profile with IPv6, or set IPV6=off',
      });
    }
    const target = probeTarget({ config, facts: owner.facts(), endpoint, tun });
    if (target.kind === 'none' || target.kind === 'peer') {
      log.warn('no resolver to prove the tunnel with', {
        hint: 'the server pushed none: set DNS to a resolver, or HEALTH_PROBE to ADDRESS:PORT',
      });
    }
    probe = startProbe({
      tun,
      target,
      pace: config.hasStandby ? 'fast' : 'usual',
      onAnswer: (clientPackets) => dispatch({ kind: 'probe-answered', epoch, clientPackets }),
      onEnd: (outcome) => {
        const cause =
          outcome === 'dead'
            ? ({ code: 'tunnel-dead', text: 'the tunnel is connected, but nothing comes back through it' } as const)
            : ({ code: 'tun-gone', text: `the device ${tun.name} was deleted` } as const);
        dispatch({ kind: 'failed', epoch, cause });
      },
    });
  };

  return {
    tunName,
    state: () => state,
    sinceMs: () => sinceMs,
    dispatch: (event) => {
      if (event.kind === 'stop') clearTimeout(timer);
      dispatch(event);
    },
    ended: () => ending,
  };
}

/** The machine knows the resolvers of its start; a network that came back may have brought others. */
function current(policy: TunnelPolicy, config: RouterSetup['config']): TunnelPolicy {
  return policy.kind === 'resolve' ? { ...policy, scope: observeResolverScope(config) } : policy;
}

function logTransition(log: Log, state: TunnelState): void {
  switch (state.kind) {
    case 'blocked':
      return log.warn('blocked', {
        cause: state.cause.code,
        reason: state.cause.text,
        hint: hintOf(state.cause.code),
        ...retryOf(state),
      });
    case 'resolving':
      return log.info('resolving the names of the profile');
    case 'dialing':
      return log.info('dialing', {
        profile: profileNameOf(state.course),
        remote: renderEndpoint(state.endpoint),
        attempt: state.course.attempts,
      });
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

function retryOf({ retryAtMs }: Extract<TunnelState, { kind: 'blocked' }>): { readonly retryMs?: number } {
  return retryAtMs === undefined ? {} : { retryMs: Math.round(retryAtMs - performance.now()) };
}

function profileNameOf({ profiles, profileIndex }: Course): string {
  return (profiles[profileIndex] ?? profiles[0]).name;
}

/** The tunnel's device, persistent and owned by OpenVPN's user. */
export async function ensureTun(
  tunName: IfName,
  { ipv6, isSidecar }: Pick<RouterSetup['config'], 'ipv6' | 'isSidecar'>,
): Promise<void> {
  if (!existsSync(`/sys/class/net/${tunName}`)) {
    await changeNetwork([`tuntap add dev ${tunName} mode tun user ${openvpnUid}`]);
  }
  if (ipv6 !== undefined) enableIpv6(tunName);
  if (!isSidecar) applyForwarding([{ name: tunName, forwards: true }]);
}

/** A tunnel address inside one of our own networks would take it over. */
function checkLink({
  event,
  endpoint,
  config,
  facts,
  taken,
}: Pick<RouterSetup, 'config' | 'facts'> & {
  readonly event: TunnelEvent;
  readonly endpoint: Endpoint;
  readonly taken: readonly Ip[];
}): TunnelEvent {
  if (event.kind !== 'connected') return event;
  const { tun } = event;
  const { ipv4, ipv6 } = facts.uplink;
  const isolated = [config.gateway, ...(config.ipv6 === undefined ? [] : [config.ipv6.gateway])];
  const uplink = [...(ipv4 === undefined ? [] : [ipv4.cidr]), ...(ipv6?.cidrs ?? [])];
  const resolvers: readonly Ip[] = [...upstreamResolvers(config, tun), ...enforcedIpv6Resolvers(config, tun)];
  const ownersOf = (address: Ip) => [
    { owner: 'the isolated network', isOwned: isolated.some((cidr) => contains(cidr, address)) },
    { owner: 'the uplink', isOwned: uplink.some((cidr) => contains(cidr, address)) },
    { owner: 'the other tunnel', isOwned: taken.includes(address) },
    { owner: 'the VPN server itself', isOwned: address === endpoint.address },
    { owner: 'HEALTH_PROBE', isOwned: config.probe.kind === 'tcp' && config.probe.address === address },
    { owner: 'the enforced resolver', isOwned: resolvers.includes(address) },
  ];
  const second = ipv6Of(config, tun)?.address;
  for (const address of [tun.address, ...(second === undefined ? [] : [second])]) {
    const owner = ownersOf(address).find(({ isOwned }) => isOwned)?.owner;
    if (owner === undefined) continue;
    const cause = { code: 'address-conflict', text: `the server gave ${address}, which belongs to ${owner}` } as const;
    return { kind: 'failed', epoch: event.epoch, cause };
  }
  return event;
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
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
  if (config.dns.kind === 'tls') {
    // A resolver that is silent is no dead tunnel, as long as the other end of the tunnel says something.
    const reachable = config.dns.servers.filter(({ address }) => address === first || others.includes(address));
    const peer = tun.peer === undefined ? [] : [{ address: tun.peer, port: peerPort }];
    return { kind: 'sockets', sockets: [...reachable, ...peer] };
  }
  return { kind: 'resolvers', servers: [first, ...others] };
}
