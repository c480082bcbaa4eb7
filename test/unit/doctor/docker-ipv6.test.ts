import { describe } from 'node:test';
import type { DockerWorld, SeenContainer, SeenNetwork } from '../../../src/doctor/docker-world.ts';
import { isolated, router, type Sick, testWorlds, type Well, withNetwork, withRouter } from './seen.ts';

const range6 = { subnet: 'fd00:22::/64', gateway: 'fd00:22::ffff', defaultGateway: 'fd00:22::1' };
/** A network with IPv6 as the README makes it, and a router that carries it. */
const carriedIpv6 = (
  { range = range6, network = {} }: { range?: typeof range6; network?: Partial<SeenNetwork> } = {},
  change: Partial<SeenContainer> = {},
): Partial<DockerWorld> => ({
  ...withNetwork({ hasIpv6: true, ranges: [range, ...isolated.ranges], ...network }),
  ...withRouter({
    ip6Addr: 'fd00:22::1/64',
    sysctls: { ...router.sysctls, 'net.ipv6.conf.all.forwarding': '1', 'net.ipv6.conf.all.ndisc_notify': '1' },
    ...change,
  }),
});

const sick: readonly Sick[] = [
  {
    given: 'IPV6=tunnel, and a network whose IPv6 gateway is the machine',
    world: carriedIpv6({ range: { ...range6, gateway: 'fd00:22::1', defaultGateway: '' } }),
    finds: ['leak', 'UB_DOCTOR_NETWORK_IPV6'],
    says: /does not tell its clients that fd00:22::1\/64 is their IPv6 gateway$/,
    advises:
      /DefaultGatewayIPv4=172\.22\.0\.1 --ipv6 --subnet fd00:22::\/64 --gateway fd00:22::ffff:ffff:ffff:ffff --aux-address DefaultGatewayIPv6=fd00:22::1 underbridge$/,
  },
  {
    given: 'IPV6=tunnel, and a network that names another IPv6 gateway',
    world: carriedIpv6({ range: { ...range6, defaultGateway: 'fd00:22::2' } }),
    finds: ['leak', 'UB_DOCTOR_NETWORK_IPV6'],
  },
  {
    given: 'IPV6=tunnel, and a network with another IPv6 subnet',
    world: carriedIpv6({ range: { ...range6, subnet: 'fd00:33::/64' } }),
    finds: ['leak', 'UB_DOCTOR_NETWORK_IPV6'],
  },
  {
    given: 'IPV6=tunnel, and a network without IPv6',
    world: carriedIpv6({ network: { hasIpv6: false, ranges: isolated.ranges } }),
    finds: ['break', 'UB_DOCTOR_NETWORK_IPV6'],
    says: /has no IPv6, and the router has IPV6=tunnel$/,
  },
  {
    given: 'an IP6_ADDR with the size of another subnet',
    world: carriedIpv6({}, { ip6Addr: 'fd00:22::1/80' }),
    finds: ['break', 'UB_DOCTOR_SETTING'],
    advises: /fd00:22::1\/64/,
  },
  {
    given: 'IPV6=tunnel without the sysctl that forwards',
    world: carriedIpv6({}, { sysctls: { ...router.sysctls, 'net.ipv6.conf.all.ndisc_notify': '1' } }),
    finds: ['break', 'UB_DOCTOR_SETTING'],
    says: /has not net\.ipv6\.conf\.all\.forwarding=1/,
  },
  {
    given: 'IPV6=tunnel without IP6_ADDR, and a network without IPv6',
    world: carriedIpv6({ network: { hasIpv6: false, ranges: isolated.ranges } }, { ip6Addr: '' }),
    finds: ['break', 'UB_DOCTOR_SETTING'],
    says: /^IP6_ADDR/,
  },
];

const well: readonly Well[] = [
  { given: 'IPv6 that the router carries', world: carriedIpv6() },
  {
    given: 'an IPv6 gateway that is written in another way',
    world: carriedIpv6({ range: { ...range6, defaultGateway: 'FD00:22:0::1' } }),
  },
];

describe('doctor with the Docker socket, where IPV6=tunnel', () => testWorlds({ well, sick }));
