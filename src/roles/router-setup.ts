import { setTimeout as sleep } from 'node:timers/promises';
import { type Environment, type EnvironmentReading, parseRouterConfig, type ReadableConfig } from '../config/env.ts';
import type { RouterConfig } from '../config/router-config.ts';
import { type Fault, faulty, ok, type Parsed } from '../errors.ts';
import { contains, type IfName, type Ip, type Ipv4, parseIfName, parseIpv4Cidr, renderCidr } from '../net/address.ts';
import type { Profile } from '../openvpn/profile.ts';
import type { Firewall, RouterFacts } from '../plan/facts.ts';
import { findInterfaces, type RouterInterfaces, type SeenDefault } from '../plan/interfaces.ts';
import {
  configFolder,
  findAuthorityFaults,
  readControlToken,
  readProfiles,
  readSecrets,
  readSharedSecrets,
  type SecretSources,
} from '../system/files.ts';
import { changeNetwork, type ObservedNetwork } from '../system/iproute.ts';
import { heedsAdvertisements } from '../system/ipv6.ts';
import type { Log } from '../system/log.ts';
import { observeNeighbour, solicit } from '../system/neighbour.ts';
import { openvpnUid } from '../system/openvpn.ts';
import type { OpenvpnSecrets } from '../system/openvpn-login.ts';
import { findMissing } from '../system/prerequisites.ts';
import { containerNameFaults, forwardFileFaults, ipv6Faults, ownAddressFaults, remoteFaults } from './reach-faults.ts';
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
  const checking = parsed.kind === 'ok' && mayChange ? checkRules(parsed.value.config) : noRules;
  const { known, profiles, complete, controlToken } = readNamedFiles(parsed);
  const [network, rules] = await Promise.all([observing, checking]);
  const faults = parsed.kind === 'faults' ? [...parsed.faults] : [];
  // What is wrong with a setting that is faulty itself would only be said twice.
  const tell = (...more: readonly Fault[]) => faults.push(...more.filter(({ name }) => !mentions(parsed, name)));
  for (const read of [profiles, complete, controlToken]) if (read.kind === 'faults') tell(...read.faults);
  tell(...unmetWants(known, { profiles, network }));
  const interfaces = observeKnownInterfaces(known, network);
  if (interfaces.kind === 'faults') tell(...interfaces.faults);
  if (purpose === 'run') tell(...lacking);
  if (interfaces.kind === 'faults') return faulty(...faults);
  const { lan, uplink, gateways } = interfaces.value;
  // Asking takes NET_ADMIN; without it, silence means nothing.
  const gateway = mayChange ? await findGateway(interfaces.value) : gateways[0];
  const { firewall } = rules;
  const families = {
    ipv4: uplink.cidr !== undefined,
    ipv6: (uplink.ipv6 !== undefined || heedsAdvertisements(uplink.name)) && firewall === 'nft',
  };
  tell(
    ...rules.faults,
    ...(profiles.kind === 'ok' ? profiles.value.flatMap((profile) => remoteFaults(profile, known, families)) : []),
    ...(known.ipv6 === undefined ? [] : ipv6Faults({ firewall, purpose })),
  );
  if (gateway === undefined && families.ipv4) tell(silentGateway(interfaces.value));
  if (faults.length > 0 || parsed.kind === 'faults' || complete.kind === 'faults' || controlToken.kind === 'faults') {
    return faulty(...faults);
  }
  const { config, warnings } = parsed.value;
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
    isClaimed: config.isSidecar === true || holdersOf(network, config.gateway.address).includes(lan.name),
  });
}

/** Every file that the settings name, as far as these can be read. */
export function readNamedFiles(parsed: EnvironmentReading): {
  readonly known: ReadableConfig;
  readonly profiles: Parsed<readonly [Profile, ...Profile[]]>;
  /** Without faults only where neither the settings nor the profiles have any. */
  readonly complete: Parsed<RouterSetup['profiles']>;
  readonly controlToken: Parsed<string | undefined>;
} {
  const known = parsed.kind === 'ok' ? parsed.value.config : parsed.readable;
  const { credentials, totp, profileNames = [], controlTokenFile } = known;
  const profiles = mentions(parsed, 'CONFIG') ? faulty() : readProfiles({ names: profileNames, folder: configFolder });
  const areSourcesFaulty = parsed.kind === 'faults' && parsed.faults.some(({ name }) => /^(OPENVPN|TOTP)_/.test(name));
  const controlToken = readControlToken(controlTokenFile);
  if (profiles.kind === 'ok' && credentials !== undefined && !areSourcesFaulty) {
    const sources = { credentials, ...(totp !== undefined && { totp }) };
    return { known, profiles, complete: withSecrets(profiles.value, sources), controlToken };
  }
  const shared = readSharedSecrets({ credentials, totp });
  return { known, profiles, complete: shared.kind === 'faults' ? shared : faulty(), controlToken };
}

/** What settings want of files, profiles, networks and Docker's resolver, and is not there. */
export function unmetWants(
  known: ReadableConfig,
  { profiles, network }: { readonly profiles: Parsed<readonly Profile[]>; readonly network: ObservedNetwork },
): readonly Fault[] {
  return [
    ...findAuthorityFaults(known.localResolver?.authoritiesFile),
    ...containerNameFaults(known),
    ...ownAddressFaults(known, (address) => holdersOf(network, address).length > 0),
    ...forwardFileFaults(known),
    ...(known.hasStandby && profiles.kind === 'ok' && profiles.value.length < 2 ? [noSecondProfile] : []),
  ];
}

const noSecondProfile: Fault = {
  name: 'STANDBY',
  value: 'on',
  problem: 'there is only one profile, and the second tunnel needs another one',
  hint: 'name two profiles in CONFIG, or leave STANDBY out',
};

/** Each profile with its secrets, or every fault, each once: profiles share the credentials of the settings. */
function withSecrets(
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

/** The interfaces that have the address. */
export function holdersOf({ links }: ObservedNetwork, address: Ip): readonly string[] {
  return links.flatMap(({ ifname, addr_info }) => (addr_info.some(({ local }) => local === address) ? ifname : []));
}

/** True when there is an interface of this name, up or down. */
export function hasDevice({ links }: ObservedNetwork, name: IfName): boolean {
  return links.some(({ ifname }) => ifname === name);
}

/**
 * The facts as they are now: Docker may have taken a network away and given it back with another name or address, or
 * another gateway. While they do not fit the settings the old facts stand, but for a name that another device has now; an
 * attempt fails for want of a route, and the log and the health report say why.
 */
export async function refreshFacts({
  facts,
  config,
  network,
  lanIndex,
  log,
}: {
  readonly facts: RouterFacts;
  readonly config: RouterConfig;
  readonly network: ObservedNetwork;
  /** Of the isolated network's device, when it was seen last. */
  readonly lanIndex: number | undefined;
  readonly log: Log;
}): Promise<RouterFacts> {
  const interfaces = observeInterfaces(config, network);
  if (interfaces.kind === 'faults') {
    const [fault] = interfaces.faults;
    if (fault === undefined || fault.problem === facts.networkFault?.problem) return facts;
    const { name, ...rest } = fault;
    log.warn('the networks of this container do not fit', { setting: name, ...rest });
    const lan = config.isSidecar ? facts.lan : findLan({ facts, config, network, lanIndex });
    const uplink = lan.name === facts.uplink.name ? { ...facts.uplink, name: noUplink } : facts.uplink;
    return { ...facts, lan, uplink, networkFault: fault };
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

/** Names that no device has. */
const noLan = 'ub-no-lan' as IfName;
const noUplink = 'ub-no-uplink' as IfName;

/**
 * The isolated network's device while something else does not fit. Docker gives names anew: one by the known name that has
 * another index, or an address of elsewhere, may be the uplink, where the gateway address has no business.
 */
function findLan({
  facts: { lan },
  config: { gateway },
  network: { links },
  lanIndex,
}: Pick<Parameters<typeof refreshFacts>[0], 'facts' | 'config' | 'network' | 'lanIndex'>): RouterFacts['lan'] {
  const addressesOf = ({ addr_info }: ObservedNetwork['links'][number]) =>
    cidrsOf(addr_info, 'inet').flatMap((text) => {
      const cidr = parseIpv4Cidr(text);
      return cidr === undefined || cidr.address === gateway.address ? [] : cidr.address;
    });
  const [found, ...others] = links.flatMap((link) =>
    addressesOf(link).some((address) => contains(gateway, address)) ? (parseIfName(link.ifname) ?? []) : [],
  );
  if (found !== undefined && others.length === 0) return { name: found };
  const known = links.find(({ ifname }) => ifname === lan.name);
  const isOther = known !== undefined && (known.ifindex !== lanIndex || addressesOf(known).length > 0);
  return found === undefined && isOther ? { name: noLan } : lan;
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

function mentions(parsed: Parsed<unknown>, name: string): boolean {
  return parsed.kind === 'faults' && parsed.faults.some((fault) => fault.name === name);
}

/** The same where the subnet of the isolated network may not be known; then nothing is found, and no fault told. */
export function observeKnownInterfaces(known: ReadableConfig, network: ObservedNetwork): Parsed<RouterInterfaces> {
  const { gateway } = known;
  return gateway === undefined ? faulty() : observeInterfaces({ ...known, gateway }, network);
}

/** The two networks of this container, as they are now. */
export function observeInterfaces(
  config: ReadableConfig & Pick<RouterConfig, 'gateway'>,
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
