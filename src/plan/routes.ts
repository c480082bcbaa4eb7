import { contains, renderSubnet } from '../net/address.ts';
import { type Context, endpointsOf, isLoopback, linksOf, partsOf, probeAddresses } from './context.ts';
import { planBootRules, tableIds } from './lockdown.ts';
import type { Route, RoutingRule } from './plan.ts';

/** Which table a packet may ask; the same in every state. */
export function planRoutingRules(context: Context): readonly RoutingRule[] {
  const { config, facts } = context;
  return [
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
    ...planBootRules(),
  ];
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

/** Every route of our tables. */
export function planRoutes(context: Context): readonly Route[] {
  const { config, facts, policy } = context;
  const lanSubnet = renderSubnet(config.gateway);
  const lan = { kind: 'device', name: facts.lan.name } as const;
  const uplink = { kind: 'device', name: facts.uplink.name } as const;
  const { own, clients, tunnel } = tableIds;
  const closedRoute = (table: number): Route => ({
    table,
    destination: 'default',
    via: { kind: 'unreachable' },
    why: 'Stays when the device and its routes vanish.',
  });
  const routes: Route[] = [
    { table: own, destination: lanSubnet, via: lan, why: 'Answers to clients.' },
    {
      table: own,
      destination: facts.uplink.gateway,
      via: uplink,
      why: 'Under rp_filter the kernel answers the ARP requests only of hosts that it has a route to.',
    },
    ...planNeighbours(context),
    closedRoute(clients),
    closedRoute(tunnel),
  ];
  // A server that is the gateway has its route already.
  for (const endpoint of endpointsOf(policy)) {
    if (endpoint.address === facts.uplink.gateway) continue;
    if (routes.some(({ destination }) => destination === endpoint.address)) continue;
    const onLink = contains(facts.uplink.cidr, endpoint.address);
    routes.push({
      table: own,
      destination: endpoint.address,
      via: onLink ? uplink : { ...uplink, gateway: facts.uplink.gateway },
      why: 'OpenVPN to the server of this attempt.',
    });
  }
  if (partsOf(policy).some(({ kind }) => kind === 'resolve') && policy.kind !== 'forward') {
    routes.push({
      table: own,
      destination: 'default',
      via: { ...uplink, gateway: facts.uplink.gateway },
      why: "The look-up of the VPN server's name; the firewall lets out nothing else.",
    });
  }
  if (policy.kind === 'forward') {
    const { tun: link, endpoint: server } = policy;
    const tun = { kind: 'device', name: policy.tun.name } as const;
    const servers = new Set(endpointsOf(policy).map(({ address }) => address));
    routes.push(
      ...[...servers].map((destination) => ({
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

/**
 * The uplink's subnet, only where something talks to it: a network beyond the tunnel may have the same one, and then
 * the reverse path check would drop its packets.
 */
function planNeighbours({ config, facts, policy }: Context): readonly Route[] {
  const isResolving = partsOf(policy).some(({ kind }) => kind === 'resolve');
  if (!isResolving && isLoopback(config.healthAddress.host)) return [];
  return [
    {
      table: tableIds.own,
      destination: renderSubnet(facts.uplink.cidr),
      via: { kind: 'device', name: facts.uplink.name },
      why: "A resolver in the uplink's network, and whoever asks the health endpoint from there.",
    },
  ];
}
