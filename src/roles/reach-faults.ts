import type { ReadableConfig } from '../config/env.ts';
import type { ContainerPlace } from '../config/router-config.ts';
import type { Fault } from '../errors.ts';
import { contains, familyOf, type Ip, type IpFamily, parseIp, renderSubnet } from '../net/address.ts';
import { firstHop, type Profile, type ProfileRemote } from '../openvpn/profile.ts';
import type { Firewall } from '../plan/facts.ts';
import { observeDockerResolver } from '../system/container-names.ts';
import { findIpv6Obstacles } from '../system/ipv6.ts';
import { isForeignFile } from '../system/shared-file.ts';

/** What keeps clients' IPv6 from the tunnel. */
export function ipv6Faults({ firewall, purpose }: { firewall: Firewall; purpose: 'run' | 'plan' }): readonly Fault[] {
  const byNft: Fault = {
    name: 'IPV6',
    value: 'tunnel',
    problem: `the rules are loaded by ${firewall}, and only nft can carry clients' IPv6`,
    hint: 'set IPV6=off, or FIREWALL=nft where the kernel has nf_tables',
  };
  return [...(firewall === 'nft' ? [] : [byNft]), ...(purpose === 'run' ? findIpv6Obstacles() : [])];
}

/** Containers' names that could not be looked up without telling others. */
export function containerNameFaults(config: ReadableConfig): readonly Fault[] {
  const setting = (config.namedForwards ?? []).length > 0 ? 'PORT_FWD' : namedSetting(config);
  const resolver = setting === undefined ? 'keeps' : observeDockerResolver();
  if (setting === undefined || resolver === 'keeps') return [];
  if (resolver === 'none') {
    const problem = "names a container, and Docker's resolver (127.0.0.11) is not there to ask";
    return [{ name: setting, problem, hint: 'attach the router to a network of its own, or write an address' }];
  }
  return [
    {
      name: setting,
      problem: 'names a container, and Docker would ask the resolvers of the machine for it while it is absent',
      hint: "add `dns_opt: ['ndots:1']` to the router (docker run: --dns-option ndots:1)",
    },
  ];
}

/** Targets that are no container's, but the address that Docker gave the router itself in the isolated network. */
export function ownAddressFaults(
  { isSidecar, forwards = [], lanAllowances = [], dynamicForward, forwardHook }: ReadableConfig,
  isOwn: (address: Ip) => boolean,
): readonly Fault[] {
  // There the router's own address is the only target.
  if (isSidecar) return [];
  const targets: readonly (readonly [setting: string, address: Ip | undefined])[] = [
    ...forwards.map(({ target }) => ['PORT_FWD', target] as const),
    ['PORT_FWD_DYNAMIC', addressOf(dynamicForward?.place)],
    ['PORT_FWD_HOOK', addressOf(forwardHook?.place)],
    ...lanAllowances.map(({ target }) => ['LAN_ALLOW_IN', target] as const),
  ];
  const problem = "leads to the router's own address in the isolated network, where no container is";
  const hint = 'give the address of the container that the port is for';
  const found = new Map(
    targets.flatMap(([name, value]) =>
      value !== undefined && isOwn(value) ? [[`${name} ${value}`, { name, value, problem, hint }]] : [],
    ),
  );
  return [...found.values()];
}

function addressOf(place: ContainerPlace | undefined): Ip | undefined {
  return place?.kind === 'address' ? place.address : undefined;
}

/** A path that names somebody else's file by mistake, a profile say: it would be deleted at the start. */
export function forwardFileFaults({ forwardFile }: ReadableConfig): readonly Fault[] {
  if (forwardFile === undefined || !isForeignFile(forwardFile)) return [];
  const problem = 'has something else than a port in it';
  return [{ name: 'PORT_FWD_FILE', value: forwardFile, problem, hint: 'name a file that nothing else uses' }];
}

function namedSetting({ dynamicForward, forwardHook }: ReadableConfig): string | undefined {
  if (dynamicForward?.place.kind === 'name') return 'PORT_FWD_DYNAMIC';
  return forwardHook?.place.kind === 'name' ? 'PORT_FWD_HOOK' : undefined;
}

/** Servers of the profile that the router cannot reach. */
export function remoteFaults(
  profile: Profile,
  { gateway }: ReadableConfig,
  /** What the uplink has addresses of. */
  families: Readonly<Record<IpFamily, boolean>>,
): readonly Fault[] {
  const isOutOfReach = ({ host }: Pick<ProfileRemote, 'host'>) => {
    const address = parseIp(host);
    return address !== undefined && !families[familyOf(address)];
  };
  const areAllOutOfReach = profile.remotes.every((remote) => isOutOfReach(firstHop(remote)));
  return profile.remotes.flatMap((remote: ProfileRemote) => {
    const { host } = firstHop(remote);
    if (areAllOutOfReach) return [familyFault(profile, { ...remote, host })];
    const address = parseIp(host);
    if (address === undefined || gateway === undefined || !contains(gateway, address)) return [];
    return [
      {
        name: `${profile.name}:${remote.line}`,
        value: host,
        problem: `the VPN server is inside the isolated network ${renderSubnet(gateway)}`,
        hint: 'use an address that the uplink reaches, or another subnet for the isolated network',
      },
    ];
  });
}

function familyFault(profile: Profile, { line, host }: ProfileRemote): Fault {
  const [its, other] = familyOf(host) === 'ipv6' ? ['IPv6', 'IPv4'] : ['IPv4', 'IPv6'];
  return {
    name: `${profile.name}:${line}`,
    value: host,
    problem: `the VPN server has only an ${its} address, and the uplink none that the router can use`,
    hint:
      its === 'IPv6'
        ? 'give the uplink a network with IPv6 (which FIREWALL=iptables-… does not use), or name a server by IPv4'
        : `give the uplink a network with ${its}, or name a server by ${other}`,
  };
}
