import { type IfName, renderSubnet } from '../net/address.ts';
import type { Ruleset, Table } from '../ruleset/model.ts';
import { planExcess } from './connection-limit.ts';
import { type Context, ipv6Of, linksOf } from './context.ts';
import { countRefusals } from './counting.ts';
import { planForwardChains, planNat } from './forwarding-rules.ts';
import { planArp, planEgress } from './frame-rules.ts';
import { planEarly, planInput, planLast, planOutput, planRefuse } from './host-rules.ts';
import { closed, filterTable } from './lockdown.ts';
import type { Plan, PlannedTun } from './plan.ts';
import { planIpv6RoutingRules, planRoutes, planRoutingRules } from './routes.ts';
import { planSidecarNat } from './sidecar.ts';

/** Computes all rules, routes and addresses that `policy` asks for. Pure: the same input gives the same plan. */
export function planRouter(context: Context): Plan {
  const { facts } = context;
  return {
    ruleset: planRuleset(context),
    firewall: facts.firewall,
    rules: planRoutingRules(context),
    ipv6Rules: planIpv6RoutingRules(context),
    routes: planRoutes(context),
    tun: planTun(facts.tunName, context),
    ...(facts.standbyTunName === undefined ? {} : { standbyTun: planTun(facts.standbyTunName, context) }),
  };
}

function planTun(name: IfName, { config, policy }: Context): PlannedTun {
  const link = linksOf(policy).find((candidate) => candidate.name === name);
  if (link === undefined) return { name };
  const { address } = link;
  const mtuBytes = Math.min(link.mtuBytes, config.mtuBytes ?? link.mtuBytes);
  const ipv6 = ipv6Of(config, link);
  return { name, link: { address, mtuBytes, ...(ipv6 === undefined ? {} : { ipv6: { address: ipv6.address } }) } };
}

function planRuleset(context: Context): Ruleset {
  const { config, facts } = context;
  const filter = planFilter(context);
  // iptables has no counters for each address, and the processes of a sidecar share theirs.
  const isCounting = facts.firewall === 'nft' && !config.isSidecar;
  const clients = { lan: facts.lan.name, subnet: renderSubnet(config.gateway) };
  return {
    tables: [
      isCounting ? countRefusals(filter, clients) : filter,
      ...(config.isSidecar ? [planSidecarNat(context)] : planNat(context)),
      ...(facts.extras.includes('egress-hook') ? [planEgress(context)] : []),
      ...(facts.extras.includes('arp-table') ? [planArp(context)] : []),
    ],
  };
}

const beforeRouting = { type: 'filter', at: 'prerouting', priority: 'filter', policy: 'accept' } as const;

function planFilter(context: Context): Table {
  const excess = planExcess(context);
  const refuse = planRefuse(context);
  return {
    family: 'inet',
    name: filterTable,
    sets: excess.sets,
    maps: [],
    chains: [
      {
        name: 'early',
        hook: { type: 'filter', at: 'prerouting', priority: 'raw', policy: 'accept' },
        rules: planEarly(context),
      },
      ...(refuse.length > 0 ? [{ name: 'refuse', hook: beforeRouting, rules: refuse }] : []),
      { name: 'input', hook: closed('input'), rules: planInput(context) },
      ...(context.config.isSidecar
        ? [{ name: 'forward', hook: closed('forward'), rules: [] }]
        : planForwardChains(context)),
      ...excess.chains,
      { name: 'output', hook: closed('output'), rules: planOutput(context) },
      {
        name: 'last',
        hook: { type: 'filter', at: 'postrouting', priority: 'last', policy: 'accept' },
        rules: planLast(context),
      },
    ],
  };
}
