import { complainAboutPlace, isolatedNetwork } from '../config/port-forward.ts';
import type { DynamicForward, NamedForward, RouterConfig } from '../config/router-config.ts';
import type { DynamicReport } from '../health/status.ts';
import { contains, familyOf, type Ip, type IpFamily, isIpv4, type Port } from '../net/address.ts';
import type { ContainerName } from '../net/container-name.ts';
import { addressOf, ownPortOf, type Places, planForwards } from '../plan/live-forwards.ts';
import { type Lease, portOf } from '../port-mapping/lease.ts';
import { findContainers } from '../system/container-names.ts';
import { callHook } from '../system/hook.ts';
import type { Log } from '../system/log.ts';
import { removeSharedFile, writeSharedFile } from '../system/shared-file.ts';
import type { Policy } from '../tunnel/policy.ts';
import type { RouterKernel } from './router-kernel.ts';
import { keepLease, type LeaseKeeper } from './router-lease.ts';

/** A container that moves is followed after two of these, a question's second and the change of the map at most. */
const lookEveryMs = 1_500;
const hookEveryMs = 5_000;

/** Follows containers by their names, and keeps the port that the provider gives. Decides nothing about the tunnel. */
export interface RouterForwards {
  readonly start: () => void;
  /** To be called with every policy that the kernel has confirmed. */
  readonly onHeld: (policy: Policy) => void;
  readonly placesOf: (forward: NamedForward) => readonly Ip[];
  readonly dynamic: () => DynamicReport | undefined;
  /** Gives the port back, while the tunnel is still there. */
  readonly stop: () => Promise<void>;
}

/** Puts the forwards that are not fixed into the kernel, and tells others of the provider's port. */
export function openForwards({
  config,
  log,
  kernel,
}: {
  readonly config: RouterConfig;
  readonly log: Log;
  readonly kernel: Pick<RouterKernel, 'changeForwards' | 'facts'>;
}): RouterForwards {
  const { dynamicForward, forwardFile, forwardHook } = config;
  const names = namesOf(config);
  let places: Places = new Map();
  let keeper: LeaseKeeper | undefined;
  /** Which tunnel the keeper is about. */
  let tunnel = '';
  let lease: Lease | undefined;
  let problem: string | undefined;
  let wish: Port | 0 = 0;
  let held = '';
  let lookTimer: NodeJS.Timeout | undefined;
  let hookTimer: NodeJS.Timeout | undefined;
  /** The port and the container that it was told to. */
  let told = '';
  let isTelling = false;
  let hookProblem: string | undefined;
  let fileProblem: string | undefined;
  let isStopped = false;

  const update = () => {
    const next = planForwards(config, places, lease);
    const text = JSON.stringify(next);
    if (text === held || isStopped) return;
    held = text;
    // Told only when it leads somewhere.
    kernel.changeForwards(next, () => void tellHook());
  };

  const look = async () => {
    const found = await findContainers(names, config.ipv6 === undefined ? ['ipv4'] : ['ipv4', 'ipv6']);
    const next = new Map(places);
    for (const name of names) {
      const where = found.get(name);
      if (where?.kind !== 'at') continue;
      const before = places.get(name);
      const now = choose(where.addresses.filter(isClient), before ?? []);
      if (now.length === 0) next.delete(name);
      else next.set(name, now);
      logMove(name, before, now);
    }
    places = next;
    update();
    if (!isStopped) lookTimer = setTimeout(() => void look(), lookEveryMs);
  };

  const network = isolatedNetwork(config.gateway);
  const isClient = (address: Ip): boolean => {
    if (isIpv4(address)) return complainAboutPlace(address, network) === undefined;
    const gateway = config.ipv6?.gateway;
    return gateway !== undefined && contains(gateway, address) && address !== gateway.address;
  };

  const seen = new Set<ContainerName>();
  const logMove = (name: ContainerName, before: readonly Ip[] | undefined, now: readonly Ip[]) => {
    const isFirst = !seen.has(name);
    seen.add(name);
    if (!isFirst && `${before ?? ''}` === `${now}`) return;
    if (now.length > 0) return log.info('container found', { container: name, addresses: now });
    log.info('container absent: its forwards wait', { container: name });
  };

  const onLease = (next: Lease) => {
    const [before, after] = [lease && portOf(lease), portOf(next)];
    lease = next;
    if (after !== undefined) wish = after;
    if (after !== before) announce(after);
    else if (fileProblem !== undefined) tellFile(after);
    if (next.problem !== problem) {
      problem = next.problem;
      if (problem !== undefined) log.warn('the provider gives no port', { reason: problem });
    }
    update();
  };

  const announce = (port: Port | undefined) => {
    if (port === undefined) log.warn('the assigned port is lost');
    else log.info('port assigned', { port, publicAddress: lease?.publicAddress });
    tellFile(port);
  };

  const tellFile = (port: Port | undefined) => {
    if (forwardFile === undefined) return;
    const reason = port === undefined ? removeSharedFile(forwardFile) : writeSharedFile(forwardFile, `${port}\n`);
    if (reason !== undefined && reason !== fileProblem)
      log.warn('PORT_FWD_FILE was not written, and is tried again', { reason });
    fileProblem = reason;
  };

  /** One request at a time, or an earlier number could arrive last. */
  const tellHook = async (): Promise<void> => {
    if (isTelling) return;
    clearTimeout(hookTimer);
    const port = lease && portOf(lease);
    const address = forwardHook && addressOf(forwardHook.place, places);
    const now = `${address} ${port}`;
    if (address === undefined) told = '';
    if (forwardHook === undefined || address === undefined || port === undefined || now === told || isStopped) return;
    const host = forwardHook.place.kind === 'name' ? forwardHook.place.name : address;
    isTelling = true;
    const reason = await callHook({ address, port: forwardHook.port, host, path: fill(forwardHook.path, port) });
    isTelling = false;
    if (reason !== undefined && reason !== hookProblem)
      log.warn('PORT_FWD_HOOK was not taken, and is tried again', { host, port, reason });
    hookProblem = reason;
    if (reason !== undefined && !isStopped) hookTimer = setTimeout(() => void tellHook(), hookEveryMs);
    if (reason !== undefined) return;
    told = now;
    log.info('PORT_FWD_HOOK was told the port', { host, port });
    // There may be another one by now.
    return tellHook();
  };

  const leave = () => {
    void keeper?.end('leave');
    keeper = undefined;
    tunnel = '';
    const hadPort = lease !== undefined && portOf(lease) !== undefined;
    lease = undefined;
    problem = undefined;
    told = '';
    if (hadPort) announce(undefined);
    update();
  };

  const onHeld = (policy: Policy) => {
    if (dynamicForward === undefined || isStopped) return;
    if (policy.kind !== 'forward') return leave();
    const { tun, endpoint } = policy;
    const now = JSON.stringify([tun, endpoint]);
    if (now === tunnel) return;
    leave();
    tunnel = now;
    const { peer } = tun;
    // The router's packets to these two do not enter the tunnel.
    if (peer === undefined || peer === endpoint.address || peer === kernel.facts().uplink.ipv4?.gateway) {
      problem = 'the VPN server told no gateway that could be asked through the tunnel';
      return log.warn('the provider gives no port', { reason: problem });
    }
    const { protocol, transports } = dynamicForward;
    keeper = keepLease({
      protocol,
      transports,
      inside: ownPortOf(config),
      wish,
      tun,
      gateway: peer,
      onAnswer: onLease,
    });
  };

  return {
    start: () => {
      if (forwardFile !== undefined) removeSharedFile(forwardFile);
      if (names.length > 0) void look();
    },
    onHeld,
    placesOf: ({ host }) => places.get(host) ?? [],
    dynamic: () => dynamicForward && reportDynamic(dynamicForward, { places, lease, problem }),
    stop: async () => {
      isStopped = true;
      clearTimeout(lookTimer);
      clearTimeout(hookTimer);
      if (forwardFile !== undefined) removeSharedFile(forwardFile);
      await keeper?.end('give-back');
    },
  };
}

/** Every container that is looked for, once. */
function namesOf({ namedForwards, dynamicForward, forwardHook }: RouterConfig): readonly ContainerName[] {
  const others = [dynamicForward?.place, forwardHook?.place].flatMap((place) =>
    place?.kind === 'name' ? [place.name] : [],
  );
  return [...new Set([...namedForwards.map(({ host }) => host), ...others])];
}

/** One address of each family: the one that it was, or the first in order. */
function choose(addresses: readonly Ip[], before: readonly Ip[]): readonly Ip[] {
  const one = (family: IpFamily) => {
    const candidates = addresses.filter((address) => familyOf(address) === family).sort();
    return candidates.find((address) => before.includes(address)) ?? candidates[0];
  };
  return [one('ipv4'), one('ipv6')].filter((address) => address !== undefined);
}

/** The path with the port in it, and with what no path may hold as escapes. */
function fill(path: string, port: Port): string {
  return path.replaceAll('{port}', `${port}`).replace(/["{}\\^`|<>]/g, encodeURIComponent);
}

function reportDynamic(
  { protocol, transports, place, inside }: DynamicForward,
  {
    places,
    lease,
    problem,
  }: { readonly places: Places; readonly lease: Lease | undefined; readonly problem: string | undefined },
): DynamicReport {
  const [port, address] = [lease && portOf(lease), addressOf(place, places)];
  return {
    protocol,
    transports,
    target: place.kind === 'name' ? place.name : place.address,
    inside: `${inside}`,
    ...(address === undefined ? {} : { address }),
    ...(port === undefined ? {} : { port }),
    ...(lease?.publicAddress === undefined ? {} : { publicAddress: lease.publicAddress }),
    ...(problem === undefined ? {} : { problem }),
  };
}
