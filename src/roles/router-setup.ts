import { setTimeout as sleep } from 'node:timers/promises';
import { defaultCredentialsPath } from '../config/credential-source.ts';
import { type Environment, parseRouterConfig } from '../config/env.ts';
import { parseGateway } from '../config/gateway.ts';
import type { RouterConfig } from '../config/router-config.ts';
import { parseProfileNames } from '../config/scalar.ts';
import { type Fault, faulty, ok, type Parsed } from '../errors.ts';
import { type IfName, type Ipv4, type Ipv4Cidr, type Ipv6Cidr, parseIpv4, renderCidr } from '../net/address.ts';
import type { Profile } from '../openvpn/profile.ts';
import type { Firewall, RouterFacts } from '../plan/facts.ts';
import { findInterfaces, type RouterInterfaces, type SeenDefault } from '../plan/interfaces.ts';
import {
  configFolder,
  findAuthorityFaults,
  readControlToken,
  readProfiles,
  readSecrets,
  type SecretSources,
} from '../system/files.ts';
import { changeNetwork, type ObservedNetwork } from '../system/iproute.ts';
import { heedsAdvertisements } from '../system/ipv6.ts';
import type { Log } from '../system/log.ts';
import { observeNeighbour, solicit } from '../system/neighbour.ts';
import { openvpnUid } from '../system/openvpn.ts';
import type { OpenvpnSecrets } from '../system/openvpn-login.ts';
import { findMissing } from '../system/prerequisites.ts';
import { containerNameFaults, forwardFileFaults, ipv6Faults, remoteFaults } from './reach-faults.ts';
import { checkRules, noRules, tunName } from './router-rules.ts';

/** The interface of the tunnel that stands by. */
export const standbyTunName = 'tun1' as IfName;

/** A profile, and what its server and its keys are answered with. */
export interface ProfileSetup {
  readonly profile: Profile;
  readonly secrets: OpenvpnSecrets;
}

/** Everything the router is told and finds before it changes anything. */
export interface RouterSetup {
  readonly config: RouterConfig;
  readonly warnings: readonly Fault[];
  /** In failover order. */
  readonly profiles: readonly [ProfileSetup, ...ProfileSetup[]];
  readonly facts: RouterFacts;
  readonly network: ObservedNetwork;
  /** What lets its bearer control the router; absent: nobody may. */
  readonly controlToken?: string;
  /** The gateway address is on our interface already: we were here before. */
  readonly isClaimed: boolean;
}

/**
 * Reads settings, files and the machine, and reports every fault that can be told at once. Changes no rule, route or
 * address.
 */
export async function setUpRouter({
  env,
  purpose,
}: {
  readonly env: Environment;
  /** A plan is only looked at: it needs no capability and no device. */
  readonly purpose: 'run' | 'plan';
}): Promise<Parsed<RouterSetup>> {
  // The tools run while settings and files are read.
  const observing = changeNetwork([]);
  const parsed = parseRouterConfig(env);
  const lacking = findMissing();
  const mayChange = !lacking.some(({ value }) => value === 'NET_ADMIN');
  const missing = purpose === 'run' ? lacking : [];
  const checking = parsed.kind === 'ok' && mayChange ? checkRules(parsed.value.config) : noRules;
  const profiles = readProfiles({ names: profileNamesOf(parsed, env), folder: configFolder });
  const [network, rules] = await Promise.all([observing, checking]);
  const faults = [
    ...(parsed.kind === 'faults' ? parsed.faults : []),
    ...(profiles.kind === 'faults' && !mentions(parsed, 'CONFIG') ? profiles.faults : []),
  ];
  if (parsed.kind === 'faults') {
    return faulty(...faults, ...furtherFaults({ env, network, profiles }), ...missing);
  }
  const { config, warnings } = parsed.value;
  const complete = profiles.kind === 'ok' ? withSecrets(profiles.value, config) : profiles;
  if (complete.kind === 'faults' && complete !== profiles) faults.push(...complete.faults);
  const controlToken = readControlToken(config.controlTokenFile);
  if (controlToken.kind === 'faults') faults.push(...controlToken.faults);
  faults.push(...unmetWants(config, profiles));
  const interfaces = observeInterfaces(config, network);
  if (interfaces.kind === 'faults') {
    return faulty(...faults, ...interfaces.faults, ...missing);
  }
  const { lan, uplink, gateways } = interfaces.value;
  // Asking takes NET_ADMIN; without it, silence means nothing.
  const gateway = mayChange ? await findGateway(interfaces.value) : gateways[0];
  const { firewall } = rules;
  const families = {
    ipv4: uplink.cidr !== undefined,
    ipv6: (uplink.ipv6 !== undefined || heedsAdvertisements(uplink.name)) && firewall === 'nft',
  };
  faults.push(
    ...missing,
    ...rules.faults,
    ...(profiles.kind === 'ok' ? profiles.value.flatMap((profile) => remoteFaults(profile, config, families)) : []),
    ...(config.ipv6 === undefined ? [] : ipv6Faults({ firewall, purpose })),
  );
  if (gateway === undefined && families.ipv4) faults.push(silentGateway(interfaces.value));
  if (faults.length > 0 || complete.kind === 'faults' || controlToken.kind === 'faults') {
    return faulty(...faults);
  }
  return ok({
    config,
    warnings,
    profiles: complete.value,
    ...(controlToken.value === undefined ? {} : { controlToken: controlToken.value }),
    facts: {
      lan,
      uplink: uplinkFacts({ uplink, gateway, firewall }),
      tunName,
      ...(config.hasStandby ? { standbyTunName } : {}),
      openvpnUid,
      firewall,
      extras: rules.extras,
      canRejectBeforeRouting: rules.canRejectBeforeRouting,
    },
    network,
    isClaimed: holdsAddress(network, config.gateway),
  });
}

/** Profiles as CONFIG names them, also where another setting is faulty. */
export function profileNamesOf(parsed: ReturnType<typeof parseRouterConfig>, env: Environment): readonly string[] {
  if (parsed.kind === 'ok') return parsed.value.config.profileNames;
  const names = parseProfileNames(env.CONFIG ?? '');
  return names.kind === 'ok' ? names.value : [];
}

/** What settings want of files, profiles and Docker's resolver, and is not there. */
export function unmetWants(config: RouterConfig, profiles: Parsed<readonly Profile[]>): readonly Fault[] {
  return [
    ...findAuthorityFaults(config.localResolver?.authoritiesFile),
    ...containerNameFaults(config),
    ...forwardFileFaults(config),
    ...(config.hasStandby && profiles.kind === 'ok' && profiles.value.length < 2 ? [noSecondProfile] : []),
  ];
}

const noSecondProfile: Fault = {
  name: 'STANDBY',
  value: 'on',
  problem: 'there is only one profile, and the second tunnel needs another one',
  hint: 'name two profiles in CONFIG, or leave STANDBY out',
};

/** Each profile with its secrets, or every fault, each once: profiles share the credentials of the settings. */
export function withSecrets(
  [first, ...others]: readonly [Profile, ...Profile[]],
  sources: SecretSources,
): Parsed<RouterSetup['profiles']> {
  const profiles = others.length > 0 ? 'several' : 'one';
  const read = (profile: Profile) => ({ profile, secrets: readSecrets({ sources, profile, profiles }) });
  const all = [read(first), ...others.map(read)];
  const faults = all.flatMap(({ secrets }) => (secrets.kind === 'faults' ? secrets.faults : []));
  const [one, ...more] = all.flatMap(({ profile, secrets }) =>
    secrets.kind === 'ok' ? { profile, secrets: secrets.value } : [],
  );
  if (faults.length === 0 && one !== undefined) return ok([one, ...more]);
  return faulty(...faults.filter((fault, index) => faults.findIndex((other) => isSame(fault, other)) === index));
}

function isSame(one: Fault, other: Fault): boolean {
  return one.name === other.name && one.problem === other.problem;
}

/** True when one of our interfaces has the address. */
export function holdsAddress({ links }: ObservedNetwork, { address }: Ipv4Cidr | Ipv6Cidr): boolean {
  return links.some(({ addr_info }) => addr_info.some(({ local }) => local === address));
}

/** True when there is an interface of this name, up or down. */
export function hasDevice({ links }: ObservedNetwork, name: IfName): boolean {
  return links.some(({ ifname }) => ifname === name);
}

/**
 * The facts as they are now: Docker may have taken a network away and given it back with another name or address, or
 * another gateway. While they do not fit the settings the old facts stand, an attempt fails for want of a route, and the
 * log and the health report say why.
 */
export async function refreshFacts({
  facts,
  config,
  network,
  log,
}: {
  readonly facts: RouterFacts;
  readonly config: RouterConfig;
  readonly network: ObservedNetwork;
  readonly log: Log;
}): Promise<RouterFacts> {
  const interfaces = observeInterfaces(config, network);
  if (interfaces.kind === 'faults') {
    const [fault] = interfaces.faults;
    if (fault === undefined || fault.problem === facts.networkFault?.problem) return facts;
    const { name, ...rest } = fault;
    log.warn('the networks of this container do not fit', { setting: name, ...rest });
    return { ...facts, networkFault: fault };
  }
  const { lan, uplink, gateways } = interfaces.value;
  const { firewall } = facts;
  const next = uplinkFacts({ uplink, gateway: facts.uplink.ipv4?.gateway ?? gateways[0], firewall });
  // Without a default route there are several that could be the gateway, and the one that was found is one of them.
  const isSame =
    facts.networkFault === undefined &&
    (gateways.length > 1 || gateways[0] === facts.uplink.ipv4?.gateway) &&
    lan.name === facts.lan.name &&
    uplink.name === facts.uplink.name &&
    renderOwn(next) === renderOwn(facts.uplink);
  if (isSame) return facts;
  const gateway = (await findGateway(interfaces.value)) ?? gateways[0];
  const { networkFault: _, ...known } = facts;
  return { ...known, lan, uplink: uplinkFacts({ uplink, gateway, firewall }) };
}

/** What the uplink has. The rules of iptables know no IPv6 there. */
function uplinkFacts({
  uplink: { name, cidr, ipv6 },
  gateway,
  firewall,
}: {
  readonly uplink: RouterInterfaces['uplink'];
  readonly gateway: Ipv4 | undefined;
  readonly firewall: Firewall;
}): RouterFacts['uplink'] {
  return {
    name,
    ...(cidr === undefined || gateway === undefined ? {} : { ipv4: { cidr, gateway } }),
    ...(ipv6 === undefined || firewall !== 'nft' ? {} : { ipv6 }),
    ...(firewall === 'nft' && heedsAdvertisements(name) ? { heedsAdvertisements: true } : {}),
  };
}

/** An uplink's own addresses, and the next hop that nobody has to be asked for. */
function renderOwn({ ipv4, ipv6 }: RouterFacts['uplink']): string {
  const cidrs = [...(ipv4 === undefined ? [] : [ipv4.cidr]), ...(ipv6?.cidrs ?? [])];
  return [...cidrs.map(renderCidr), ipv6?.gateway ?? ''].join(' ');
}

/** What can still be told while a setting is faulty, so that the user does not learn of it one start later. */
function furtherFaults({
  env,
  network,
  profiles,
}: {
  readonly env: Environment;
  readonly network: ObservedNetwork;
  readonly profiles: Parsed<readonly [Profile, ...Profile[]]>;
}): readonly Fault[] {
  const gateway = parseGateway(env.IP_ADDR?.trim() ?? '');
  const uplinkGateway = parseIpv4(env.UPLINK_GATEWAY?.trim() ?? '');
  const interfaces =
    gateway.kind === 'ok' ? observeInterfaces({ gateway: gateway.value, uplinkGateway }, network) : gateway;
  // Credentials by settings may be what is faulty; the file where everybody looks for them is not.
  const source = { kind: 'file', path: defaultCredentialsPath, required: false } as const;
  const isFile = !Object.keys(env).some((name) => name.startsWith('OPENVPN_') && env[name] !== '');
  const secrets = profiles.kind === 'ok' && isFile ? withSecrets(profiles.value, { credentials: source }) : undefined;
  return [
    ...(gateway.kind === 'ok' && interfaces.kind === 'faults' ? interfaces.faults : []),
    ...(secrets?.kind === 'faults' ? secrets.faults : []),
  ];
}

function mentions(parsed: Parsed<unknown>, name: string): boolean {
  return parsed.kind === 'faults' && parsed.faults.some((fault) => fault.name === name);
}

/** The two networks of this container, as they are now. */
export function observeInterfaces(
  config: Pick<RouterConfig, 'gateway' | 'ipv6' | 'uplinkGateway6'> & { readonly uplinkGateway?: Ipv4 | undefined },
  network: ObservedNetwork,
): Parsed<RouterInterfaces> {
  return findInterfaces({
    gateway: config.gateway,
    ipv6: config.ipv6,
    uplinkGateway: config.uplinkGateway,
    uplinkGateway6: config.uplinkGateway6,
    interfaces: network.links
      .filter(({ ifname, link_type }) => link_type === 'ether' && ifname !== tunName)
      .map(({ ifname, addr_info }) => ({
        name: ifname,
        ipv4: cidrsOf(addr_info, 'inet'),
        ipv6: cidrsOf(addr_info, 'inet6'),
      })),
    defaults: observeDefaults(network),
  });
}

/** Link-local addresses of IPv6 are left out: every link has one. */
function cidrsOf(addresses: ObservedNetwork['links'][number]['addr_info'], family: string): readonly string[] {
  return addresses
    .filter((address) => address.family === family && (family === 'inet' || address.scope === 'global'))
    .map(({ local, prefixlen }) => `${local}/${prefixlen}`);
}

/** Default routes of the main table. */
export function observeDefaults({ routes }: ObservedNetwork): readonly SeenDefault[] {
  return routes.flatMap(({ dst, dev, gateway, table }) =>
    dst === 'default' && table === undefined && dev !== undefined && gateway !== undefined
      ? [{ device: dev, gateway }]
      : [],
  );
}

const gatewayWaitMs = 300;
const pollMs = 10;

/** The first likely next hop that answers ARP; a single one is taken as it is. */
async function findGateway({ uplink, gateways }: RouterInterfaces): Promise<Ipv4 | undefined> {
  if (gateways.length <= 1) return gateways[0];
  await solicit({ device: uplink.name, addresses: gateways });
  for (let waitedMs = 0; waitedMs < gatewayWaitMs; waitedMs += pollMs) {
    for (const address of gateways) {
      if ((await observeNeighbour({ device: uplink.name, address })) !== undefined) return address;
    }
    await sleep(pollMs);
  }
  return undefined;
}

function silentGateway({ uplink, gateways }: RouterInterfaces): Fault {
  return {
    name: 'UPLINK_GATEWAY',
    problem: `the uplink ${uplink.name} has no default route, and neither of ${gateways.join(' and ')} answers there`,
    hint: 'set UPLINK_GATEWAY to the gateway address of the uplink network',
  };
}
