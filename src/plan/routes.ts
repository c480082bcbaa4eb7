import { contains, isIpv4, isIpv6, renderSubnet } from '../net/address.ts';
import {
  type Context,
  endpointsOf,
  ipv6Of,
  isLoopback,
  linksOf,
  partsOf,
  probeAddresses,
  tunNamesOf,
  uplinkIpv6InUse,
} from './context.ts';
import { planAllowedRoutes, planAllowedRoutingRules } from './lan-rules.ts';
import { planResolverRoutes, planResolverRules } from './local-resolver.ts';
import { closedRoute, planBootRules, planIpv6BootRules, tableIds } from './lockdown.ts';
import type { Route, RoutingRule } from './plan.ts';
import { planForcedRoutes, planSidecarRoutingRules } from './sidecar.ts';

/** Which table a packet may ask; the same in every state. */
export function planRoutingRules(context: Context): readonly RoutingRule[] {
  const { config, facts } = context;
  if (config.isSidecar) {
    const rules = [...planBootRules(), ...planSidecarRoutingRules(context)];
    return [...planAllowedRoutingRules(context), ...withResolver(rules, context)];
  }
  return [
    ...planAllowedRoutingRules(context),
    {
      preference: 100,
      from: { kind: 'interface', name: facts.lan.name, source: renderSubnet(config.gateway) },
      to: { kind: 'table', table: tableIds.clients },
      why: 'Packets from clients can meet only the tunnel.',
    },
    {
      preference: 101,
      from: { kind: 'interface', name: facts.tunName },
      to: { kind: 'table', table: tableIds.tunnel },
      why: 'Packets from the tunnel can meet only the isolated network.',
    },
    ...planStandbyRules(context),
    {
      preference: 105,
      from: { kind: 'interface', name: facts.lan.name },
      to: { kind: 'blackhole' },
      why: "A forged source gets no error: one for the VPN server's address would leave on the uplink and quote the packet.",
    },
    ...withResolver(planBootRules(), context),
  ];
}

/** The same for IPv6; without `IPV6: tunnel` only the router's own packets go anywhere. */
export function planIpv6RoutingRules(context: Context): readonly RoutingRule[] {
  const { config, facts } = context;
  const always = withResolver(planIpv6BootRules(facts.openvpnUid), context);
  if (config.ipv6 === undefined) return always;
  const fromLan = { kind: 'interface', name: facts.lan.name } as const;
  return [
    {
      preference: 100,
      from: { ...fromLan, source: renderSubnet(config.ipv6.gateway) },
      to: { kind: 'table', table: tableIds.clients },
      why: 'Packets from clients can meet only the tunnel.',
    },
    ...tunNamesOf(facts).map((name, index) => ({
      preference: 101 + index,
      from: { kind: 'interface', name } as const,
      to: { kind: 'table', table: tableIds.tunnel } as const,
      why: 'Packets from a tunnel can meet only the isolated network.',
    })),
    {
      preference: 105,
      from: fromLan,
      to: { kind: 'blackhole' },
      why: 'A forged source gets no error, which would leave where that source is.',
    },
    ...always,
  ];
}

/** In their order. */
function withResolver(rules: readonly RoutingRule[], context: Context): readonly RoutingRule[] {
  return [...rules, ...planResolverRules(context)].sort((one, other) => one.preference - other.preference);
}

/** With two tunnels the address that a probe is sent from says which one it is about. */
function planStandbyRules({ facts, policy }: Context): readonly RoutingRule[] {
  if (facts.standbyTunName === undefined) return [];
  const probes = linksOf(policy).map((link): RoutingRule => {
    const isStandby = link.name === facts.standbyTunName;
    return {
      preference: isStandby ? 104 : 103,
      from: { kind: 'source', address: link.address },
      to: { kind: 'table', table: isStandby ? tableIds.standbyProbes : tableIds.probes },
      why: 'A probe of this tunnel goes through this tunnel, whichever one clients are in.',
    };
  });
  const fromStandby: RoutingRule = {
    preference: 102,
    from: { kind: 'interface', name: facts.standbyTunName },
    to: { kind: 'table', table: tableIds.tunnel },
    why: 'Packets from the other tunnel can meet only the isolated network.',
  };
  return [fromStandby, ...probes];
}

const hairpinWhy = 'From a client to a forwarded port (PORT_FWD_HAIRPIN).';

/** Every route of our tables. */
export function planRoutes(context: Context): readonly Route[] {
  const { config, facts, policy } = context;
  const lanSubnet = renderSubnet(config.gateway);
  const lan = { kind: 'device', name: facts.lan.name } as const;
  const uplink = { kind: 'device', name: facts.uplink.name } as const;
  const { own, clients, tunnel, openvpn } = tableIds;
  /** Of a sidecar's processes only OpenVPN's user has a way on the uplink. */
  const outside = config.isSidecar ? openvpn : own;
  const routes: Route[] = [
    ...(config.isSidecar
      ? [closedRoute(openvpn)]
      : [{ table: own, destination: lanSubnet, via: lan, why: 'Answers to clients.' }]),
    ...planUplinkGateway(context),
    ...planNeighbours(context),
    ...(config.isSidecar ? planForcedRoutes(context) : [closedRoute(clients), closedRoute(tunnel)]),
    ...planIpv6Routes(context),
    ...planAllowedRoutes(context),
    ...planResolverRoutes(context),
  ];
  // A server that is the gateway has its route already.
  for (const { address } of endpointsOf(policy)) {
    if (routes.some(({ destination }) => destination === address)) continue;
    const { ipv4, ipv6 } = facts.uplink;
    const gateway = isIpv6(address) ? ipv6?.gateway : ipv4?.gateway;
    // Without that family, which an uplink may lose, there is no way; the attempt fails.
    if (gateway === undefined) continue;
    const subnets = isIpv6(address) ? (ipv6?.cidrs ?? []) : [ipv4?.cidr].filter((cidr) => cidr !== undefined);
    const onLink = gateway === address || subnets.some((subnet) => contains(subnet, address));
    routes.push({
      table: isIpv6(address) ? openvpn : outside,
      destination: address,
      via: onLink ? uplink : { ...uplink, gateway },
      why: 'OpenVPN to the server of this attempt.',
    });
  }
  if (partsOf(policy).some(({ kind }) => kind === 'resolve') && policy.kind !== 'forward') {
    const why = "The look-up of the VPN server's name; the firewall lets out nothing else.";
    const ipv4 = facts.uplink.ipv4?.gateway;
    const ipv6 = uplinkIpv6InUse(context)?.gateway;
    if (ipv4 !== undefined)
      routes.push({ table: outside, destination: 'default', via: { ...uplink, gateway: ipv4 }, why });
    if (ipv6 !== undefined)
      routes.push({ table: outside, destination: '::/0', via: { ...uplink, gateway: ipv6 }, why });
  }
  if (policy.kind === 'forward' && config.isSidecar) {
    const via = { kind: 'device', name: policy.tun.name } as const;
    routes.push({ table: own, destination: 'default', via, why: 'Local processes through the tunnel.' });
  } else if (policy.kind === 'forward') {
    const { tun: link, endpoint: server } = policy;
    const tun = { kind: 'device', name: policy.tun.name } as const;
    const servers = new Set(endpointsOf(policy).map(({ address }) => address));
    routes.push(
      ...[...servers].filter(isIpv4).map((destination) => ({
        table: own,
        destination,
        via: { kind: 'unreachable' } as const,
        why: "Stays when the uplink and its routes vanish: OpenVPN's own packets would run round in the tunnel.",
      })),
      { table: own, destination: 'default', via: tun, why: "The probe, and the kernel's reverse path check." },
      ...probeAddresses({ config, facts, endpoint: server, tun: link })
        .filter((address) => !servers.has(address))
        .map((destination) => ({
          table: own,
          destination,
          via: tun,
          why: "The probe, also where its address lies in the uplink's subnet.",
        })),
      { table: clients, destination: 'default', via: tun, why: 'Clients through the tunnel.' },
      { table: tunnel, destination: lanSubnet, via: lan, why: 'Answers and forwarded ports to clients.' },
      ...(config.hairpin === undefined ? [] : [{ table: clients, destination: lanSubnet, via: lan, why: hairpinWhy }]),
    );
  }
  if (facts.standbyTunName !== undefined) {
    for (const { name } of linksOf(policy)) {
      const table = name === facts.standbyTunName ? tableIds.standbyProbes : tableIds.probes;
      routes.push(
        { table, destination: 'default', via: { kind: 'device', name }, why: 'The probe of this tunnel.' },
        {
          table,
          destination: lanSubnet,
          via: lan,
          why: "Refusals of what a client sends to the tunnel's address: in the tunnel they would name the client.",
        },
      );
    }
  }
  return routes;
}

function planUplinkGateway({ config, facts: { uplink } }: Context): readonly Route[] {
  if (uplink.ipv4 === undefined) return [];
  return [
    {
      table: config.isSidecar ? tableIds.openvpn : tableIds.own,
      destination: uplink.ipv4.gateway,
      via: { kind: 'device', name: uplink.name },
      why: 'Under rp_filter the kernel answers the ARP requests only of hosts that it has a route to.',
    },
  ];
}

/** The same ways for clients' IPv6. The router's own packets take none of them but the answers to clients. */
function planIpv6Routes({ config, facts, policy }: Context): readonly Route[] {
  if (config.ipv6 === undefined) return [];
  const subnet = renderSubnet(config.ipv6.gateway);
  const lan = { kind: 'device', name: facts.lan.name } as const;
  const { own, clients, tunnel } = tableIds;
  const carrying = policy.kind === 'forward' && ipv6Of(config, policy.tun) !== undefined ? policy.tun.name : undefined;
  return [
    { table: own, destination: subnet, via: lan, why: 'Answers to clients.' },
    ...[clients, tunnel].map((table) => ({
      table,
      destination: '::/0',
      via: { kind: 'unreachable' } as const,
      why: 'Stays when the device and its routes vanish.',
    })),
    ...(carrying === undefined
      ? []
      : [
          {
            table: clients,
            destination: '::/0',
            via: { kind: 'device', name: carrying } as const,
            why: 'Clients through the tunnel.',
          },
          { table: tunnel, destination: subnet, via: lan, why: 'Answers and forwarded ports to clients.' },
          ...(config.hairpin === undefined ? [] : [{ table: clients, destination: subnet, via: lan, why: hairpinWhy }]),
        ]),
  ];
}

/**
 * The uplink's subnet, only where something talks to it: a network beyond the tunnel may have the same one, and then
 * the reverse path check would drop its packets.
 */
function planNeighbours({ config, facts, policy }: Context): readonly Route[] {
  const isResolving = partsOf(policy).some(({ kind }) => kind === 'resolve');
  const { name, ipv4, ipv6 } = facts.uplink;
  const cidrs = [
    ...(ipv4 !== undefined && (isResolving || !isLoopback(config.healthAddress.host)) ? [ipv4.cidr] : []),
    ...(isResolving && uplinkIpv6InUse({ facts, policy }) !== undefined ? (ipv6?.cidrs ?? []) : []),
  ];
  return [...new Set(cidrs.map(renderSubnet))].map((destination) => ({
    table: config.isSidecar ? tableIds.openvpn : tableIds.own,
    destination,
    via: { kind: 'device', name },
    why: "A resolver in the uplink's network, and whoever asks the health endpoint from there.",
  }));
}
