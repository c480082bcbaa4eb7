import { isIPv6 } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { defaultCredentialsPath } from '../config/credential-source.ts';
import { type Environment, parseRouterConfig } from '../config/env.ts';
import { parseGateway } from '../config/gateway.ts';
import type { FirewallChoice, RouterConfig } from '../config/router-config.ts';
import { type Fault, faulty, ok, type Parsed } from '../errors.ts';
import {
  contains,
  type IfName,
  type Ipv4,
  type Ipv4Cidr,
  parseIpv4,
  renderCidr,
  renderSubnet,
} from '../net/address.ts';
import type { OneOrMore } from '../one-or-more.ts';
import { firstHop, type Profile, type ProfileRemote } from '../openvpn/profile.ts';
import { type Extra, extras, type Firewall, type RouterFacts } from '../plan/facts.ts';
import { findInterfaces, type RouterInterfaces, type SeenDefault } from '../plan/interfaces.ts';
import { loopback } from '../plan/lockdown.ts';
import { planRouter } from '../plan/router.ts';
import { sampleEndpoint, sampleFacts, sampleTunnel } from '../plan/sample.ts';
import type { Ruleset } from '../ruleset/model.ts';
import { configFolder, readControlToken, readProfiles, readSecrets, type SecretSources } from '../system/files.ts';
import { checkFirewall } from '../system/firewall.ts';
import { changeNetwork, type ObservedNetwork } from '../system/iproute.ts';
import type { Log } from '../system/log.ts';
import { observeNeighbour, solicit } from '../system/neighbour.ts';
import { openvpnUid } from '../system/openvpn.ts';
import type { OpenvpnSecrets } from '../system/openvpn-login.ts';
import { findMissing } from '../system/prerequisites.ts';

/** The tunnel's interface; persistent, so that rules and routes can name it before OpenVPN runs. */
export const tunName = 'tun0' as IfName;
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
  const names =
    parsed.kind === 'ok' ? parsed.value.config.profileNames : [env.CONFIG ?? ''].filter((name) => name !== '');
  const profiles = readProfiles({ names, folder: configFolder });
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
  const interfaces = observeInterfaces(config, network);
  if (interfaces.kind === 'faults') {
    return faulty(...faults, ...interfaces.faults, ...missing);
  }
  const { lan, uplink, gateways } = interfaces.value;
  // Asking takes NET_ADMIN; without it, silence means nothing.
  const gateway = mayChange ? await findGateway(interfaces.value) : gateways[0];
  faults.push(
    ...missing,
    ...rules.faults,
    ...(profiles.kind === 'ok' ? profiles.value.flatMap((profile) => remoteFaults(profile, config)) : []),
  );
  if (config.hasStandby && profiles.kind === 'ok' && profiles.value.length < 2) faults.push(noSecondProfile);
  if (gateway === undefined) faults.push(silentGateway(interfaces.value));
  if (faults.length > 0 || gateway === undefined || complete.kind === 'faults' || controlToken.kind === 'faults') {
    return faulty(...faults);
  }
  return ok({
    config,
    warnings,
    profiles: complete.value,
    ...(controlToken.value === undefined ? {} : { controlToken: controlToken.value }),
    facts: {
      lan,
      uplink: { ...uplink, gateway },
      tunName,
      ...(config.hasStandby ? { standbyTunName } : {}),
      openvpnUid,
      firewall: rules.firewall,
      extras: rules.extras,
      canRejectBeforeRouting: rules.canRejectBeforeRouting,
    },
    network,
    isClaimed: holdsAddress(network, config.gateway),
  });
}

export const noSecondProfile: Fault = {
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
export function holdsAddress({ links }: ObservedNetwork, { address }: Ipv4Cidr): boolean {
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
  // Without a default route there are several that could be the gateway, and the one that was found is one of them.
  const isSame =
    facts.networkFault === undefined &&
    (gateways.length > 1 || gateways[0] === facts.uplink.gateway) &&
    lan.name === facts.lan.name &&
    uplink.name === facts.uplink.name &&
    renderCidr(uplink.cidr) === renderCidr(facts.uplink.cidr);
  if (isSame) return facts;
  const gateway = (await findGateway(interfaces.value)) ?? gateways[0];
  const { networkFault: _, ...known } = facts;
  return { ...known, lan, uplink: { ...uplink, gateway } };
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
  config: Pick<RouterConfig, 'gateway'> & { readonly uplinkGateway?: Ipv4 | undefined },
  network: ObservedNetwork,
): Parsed<RouterInterfaces> {
  return findInterfaces({
    gateway: config.gateway,
    uplinkGateway: config.uplinkGateway,
    interfaces: network.links
      .filter(({ ifname, link_type }) => link_type === 'ether' && ifname !== tunName)
      .map(({ ifname, addr_info }) => ({
        name: ifname,
        ipv4: addr_info
          .filter(({ family }) => family === 'inet')
          .map(({ local, prefixlen }) => `${local}/${prefixlen}`),
      })),
    defaults: observeDefaults(network),
  });
}

/** Default routes of the main table. */
export function observeDefaults({ routes }: ObservedNetwork): readonly SeenDefault[] {
  return routes.flatMap(({ dst, dev, gateway, table }) =>
    dst === 'default' && table === undefined && dev !== undefined && gateway !== undefined
      ? [{ device: dev, gateway }]
      : [],
  );
}

export interface CheckedRules {
  readonly faults: readonly Fault[];
  readonly firewall: Firewall;
  readonly extras: readonly Extra[];
  readonly canRejectBeforeRouting: boolean;
}

const noRules: CheckedRules = { faults: [], firewall: 'nft', extras: [], canRejectBeforeRouting: false };

/**
 * Lets the kernel check the widest ruleset without loading it, while the interfaces are still being looked for: it
 * checks expressions, not names. Rejecting in prerouting needs nft and Linux 5.9; without it clients still learn of a
 * dead tunnel, by ICMP. A kernel that has everything is asked once; another one then for each part.
 */
export async function checkRules(config: RouterConfig): Promise<CheckedRules> {
  const [first, ...others] = firewallsOf(config.firewall);
  const refusing = rulesOf({ config, firewall: first, isRefusing: true });
  if (first === 'nft') {
    const all = { tables: [...refusing.tables, ...rulesOf({ config, firewall: first, extras }).tables] };
    if ((await checkFirewall({ firewall: first, ruleset: all })) === undefined) {
      return { faults: [], firewall: first, extras, canRejectBeforeRouting: true };
    }
  }
  const problems: string[] = [];
  for (const firewall of [first, ...others]) {
    const takes = async (ruleset: Ruleset) => (await checkFirewall({ firewall, ruleset })) === undefined;
    const problem = await checkFirewall({ firewall, ruleset: rulesOf({ config, firewall }) });
    if (problem !== undefined) {
      problems.push(problem);
      continue;
    }
    if (firewall !== 'nft') return { faults: [], firewall, extras: [], canRejectBeforeRouting: false };
    const [canRejectBeforeRouting = false, ...taken] = await Promise.all([
      takes(refusing),
      ...extras.map((extra) => takes(rulesOf({ config, firewall, extras: [extra] }))),
    ]);
    return { faults: [], firewall, extras: extras.filter((_, index) => taken[index]), canRejectBeforeRouting };
  }
  return { ...noRules, faults: [firewallFault(problems.join('; '))], firewall: first };
}

/** In the order in which they are tried; the entrypoint tries the same. */
function firewallsOf(choice: FirewallChoice): OneOrMore<Firewall> {
  return choice === 'auto' ? ['nft', 'iptables-legacy'] : [choice];
}

function rulesOf({
  config,
  firewall,
  extras = [],
  isRefusing = false,
}: {
  readonly config: RouterConfig;
  readonly firewall: Firewall;
  readonly extras?: readonly Extra[];
  readonly isRefusing?: boolean;
}): Ruleset {
  const sample = sampleFacts({ tunName, openvpnUid, firewall });
  // A chain at egress needs a device that is there.
  const uplink = { ...sample.uplink, name: loopback };
  const facts = { ...sample, uplink, extras, canRejectBeforeRouting: isRefusing };
  const forward = { kind: 'forward', endpoint: sampleEndpoint, tun: sampleTunnel(tunName) } as const;
  return planRouter({ config, facts, policy: isRefusing ? { kind: 'lockdown' } : forward }).ruleset;
}

function firewallFault(problem: string): Fault {
  return {
    name: 'FIREWALL',
    problem: `the kernel does not take the firewall's rules (${problem})`,
    hint: 'Linux 4.18 or later with nf_tables, nft_ct, nft_nat and nft_masq is needed, or ip_tables with its modules; load them on the host',
  };
}

const gatewayWaitMs = 300;
const pollMs = 10;

/** The first likely next hop that answers ARP; a single one is taken as it is. */
async function findGateway({ uplink, gateways }: RouterInterfaces): Promise<Ipv4 | undefined> {
  if (gateways.length === 1) return gateways[0];
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

/** Servers of the profile that the router cannot reach. */
export function remoteFaults(profile: Profile, config: Pick<RouterConfig, 'gateway'>): readonly Fault[] {
  return profile.remotes.flatMap((remote: ProfileRemote) => {
    const { host } = firstHop(remote);
    // The regular expression behind isIPv6 takes 8 ms to compile.
    if (host.includes(':') && profile.remotes.every((each) => isIPv6(firstHop(each).host)))
      return [ipv6Fault(profile, { ...remote, host })];
    const address = parseIpv4(host);
    if (address === undefined || !contains(config.gateway, address)) return [];
    return [
      {
        name: `${profile.name}:${remote.line}`,
        value: host,
        problem: `the VPN server is inside the isolated network ${renderSubnet(config.gateway)}`,
        hint: 'use an address that the uplink reaches, or another subnet for the isolated network',
      },
    ];
  });
}

function ipv6Fault(profile: Profile, { line, host }: ProfileRemote): Fault {
  return {
    name: `${profile.name}:${line}`,
    value: host,
    problem: 'the VPN server has only an IPv6 address, which is not supported yet',
    hint: 'use a profile with a name or an IPv4 address',
  };
}
