import type { PortForward, RouterConfig } from '../config/router-config.ts';
import { type IfName, type Ipv4, type Ipv6, type Port, parseIpv4, parseIpv6 } from '../net/address.ts';
import type { Endpoint, TunnelLink } from '../tunnel/policy.ts';
import { extras, type RouterFacts } from './facts.ts';

const documentation = (last: number) => parseIpv4(`198.51.100.${last}`) as Ipv4;

const documentation6 = (last: number) => parseIpv6(`2001:db8::${last}`) as Ipv6;

/** Stands for a server that is not known yet (RFC 5737), to check or show a plan before anything is dialed. */
export const sampleEndpoint: Endpoint = {
  address: documentation(1),
  port: 1194 as Port,
  transport: 'udp',
  profileIndex: 0,
  remoteIndex: 0,
};

/** Stands for a tunnel that is not there yet. */
export function sampleTunnel(name: IfName): TunnelLink {
  return {
    name,
    address: documentation(2),
    mtuBytes: 1500,
    pushedDns: [documentation(3)],
    ipv6: { address: documentation6(2), pushedDns: [documentation6(3)] },
  };
}

/** Stands for the containers that are not looked up yet. */
export function sampleForwards({ namedForwards }: Pick<RouterConfig, 'namedForwards'>): readonly PortForward[] {
  return namedForwards.map(({ transports, outside, inside }) => ({
    transports,
    outside,
    inside,
    target: documentation(6),
  }));
}

/** Stands for a machine that was not looked at yet, with all that a kernel may offer. */
export function sampleFacts(known: Pick<RouterFacts, 'tunName' | 'openvpnUid' | 'firewall'>): RouterFacts {
  return {
    ...known,
    lan: { name: 'lan0' as IfName },
    uplink: {
      name: 'uplink0' as IfName,
      ipv4: { cidr: { address: documentation(4), prefixBits: 24 }, gateway: documentation(5) },
    },
    extras: known.firewall === 'nft' ? extras : [],
    canRejectBeforeRouting: true,
  };
}
