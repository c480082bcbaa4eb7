import type { RouterConfig } from '../config/router-config.ts';
import type { Fault } from '../errors.ts';
import { contains, familyOf, type IpFamily, parseIp, renderSubnet } from '../net/address.ts';
import { firstHop, type Profile, type ProfileRemote } from '../openvpn/profile.ts';
import type { Firewall } from '../plan/facts.ts';
import { findIpv6Obstacles } from '../system/ipv6.ts';

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

/** Servers of the profile that the router cannot reach. */
export function remoteFaults(
  profile: Profile,
  config: Pick<RouterConfig, 'gateway'>,
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
