import { UnderbridgeError } from '../errors.ts';
import { familyOf, type Ip, type Ipv4 } from '../net/address.ts';
import { planIpv6BootRules, tableIds } from '../plan/lockdown.ts';
import type { Plan, PlannedTun, Route, RoutingRule } from '../plan/plan.ts';
import { readDevice } from './device.ts';
import { run } from './exec.ts';
import { findFirewallDrift } from './firewall.ts';
import {
  changeIpv6Rules,
  changeNetwork,
  type ObservedNetwork,
  renderObservedRoute,
  renderObservedRule,
  renderRoute,
  renderRule,
} from './iproute.ts';

/**
 * Makes the kernel, which held `seen` when it was last looked at, hold rules and routes of the routing lock and the
 * tunnel's device as planned. What it holds afterwards; whether that is the plan, {@link findNetworkDrift} tells.
 */
export async function changeRouting(wanted: Plan, seen: ObservedNetwork): Promise<ObservedNetwork> {
  const plan = possiblePlan(wanted, seen);
  const changes = [...planTunChanges(plan, seen), ...planRoutingChanges(plan, seen)];
  // Both end before anything follows.
  const [network, ipv6Rules] = await Promise.allSettled([changeNetwork(changes), applyIpv6Rules(plan)]);
  if (network.status === 'rejected') throw network.reason;
  if (ipv6Rules.status === 'rejected') throw ipv6Rules.reason;
  return network.value;
}

/** Compares with the kernel, never with memory. @throws UnderbridgeError UB_APPLY when it holds something else. */
export async function confirmPlan(plan: Plan, network: ObservedNetwork): Promise<void> {
  const [inFirewall, inIpv6] = await Promise.all([
    findFirewallDrift(plan),
    hasOwnIpv6Rules(plan) ? findIpv6Drift(plan) : [],
  ]);
  const wrong = [...inFirewall, ...findNetworkDrift(plan, network), ...inIpv6.map((change) => `IPv6 needs: ${change}`)];
  if (wrong.length > 0) {
    throw new UnderbridgeError({
      code: 'UB_APPLY',
      message: `the kernel holds something else than was applied: ${wrong.slice(0, 3).join('; ')}`,
      hint: 'another program may change rules or routes of this container; the container needs NET_ADMIN',
    });
  }
}

/** Whatever of rules, routes and the tunnel's device is otherwise than the plan says, one text each. */
export function findNetworkDrift(wanted: Plan, seen: ObservedNetwork): readonly string[] {
  const plan = possiblePlan(wanted, seen);
  return [
    ...planRoutingChanges(plan, seen).map((change) => `routing needs: ${change}`),
    ...planTunChanges(plan, seen).map((change) => `tunnel device needs: ${change}`),
  ];
}

/** The changes that bring the routing rules of IPv6 back to what is planned. */
export async function findIpv6Drift({ ipv6Rules }: Pick<Plan, 'ipv6Rules'>): Promise<readonly string[]> {
  const rules = await changeIpv6Rules([]);
  if (rules === undefined) return [];
  return [
    ...ipv6Rules.flatMap((rule) => planRuleChanges(rule, { rules })),
    ...planRuleRemovals({ rules: ipv6Rules }, { rules }),
  ];
}

/** Without IPv6 of clients and a resolver there are only the boot's rules, which need no look at each apply. */
function hasOwnIpv6Rules({ ipv6Rules }: Plan): boolean {
  return ipv6Rules.length > bootIpv6Rules;
}

async function applyIpv6Rules(plan: Plan): Promise<void> {
  const changes = hasOwnIpv6Rules(plan) ? await findIpv6Drift(plan) : [];
  if (changes.length > 0) await changeIpv6Rules(changes);
}

/**
 * A route needs its device: while Docker has taken a network away, the lockdown has to hold all the same. The tunnel's
 * own device is brought up by the plan itself.
 */
function possiblePlan(plan: Plan, { links }: ObservedNetwork): Plan {
  const isUp = (name: string) => links.some(({ ifname, flags }) => ifname === name && flags.includes('UP'));
  const tuns = [plan.tun.name, plan.standbyTun?.name];
  const isPossible = ({ via }: Route) => via.kind === 'unreachable' || tuns.includes(via.name) || isUp(via.name);
  return { ...plan, routes: plan.routes.filter(isPossible) };
}

/** Forgets all tracked connections, so that a client's flow starts with fresh NAT on the next tunnel. */
export async function forgetFlows(): Promise<void> {
  // A new container has none.
  if (readDevice('/proc/sys/net/netfilter/nf_conntrack_count') === '0') return;
  await run({ file: 'conntrack', args: ['-F'] });
}

/** Forgets the flows that were forwarded to an address: what follows of them meets the rules anew. */
export async function forgetFlowsTo(address: Ip): Promise<void> {
  // Without any there it says 1.
  await run({ file: 'conntrack', args: ['-D', '-f', familyOf(address), '--dst-nat', address], accept: [1] });
}

/** Ends local TCP connections from an address that is gone: their owners would wait for answers until they give up. */
export async function endConnectionsFrom(address: Ipv4): Promise<void> {
  await run({ file: 'ss', args: ['-4', '-t', '-n', '-H', '-K', 'src', address] });
}

const bootIpv6Rules = planIpv6BootRules(0).length;

function planRoutingChanges(plan: Plan, seen: ObservedNetwork): readonly string[] {
  const ourTables = new Set<string>(Object.values(tableIds).map(String));
  const seenRoutes = seen.routes.filter((route) => ourTables.has(route.table ?? '')).map(renderObservedRoute);
  const wantedRoutes = plan.routes.map(renderRoute);
  return [
    ...plan.rules.flatMap((rule) => planRuleChanges(rule, seen)),
    ...planRuleRemovals(plan, seen),
    // Away first: a route that is replaced may share its key with the new one.
    ...difference(seenRoutes, wantedRoutes).map((route) => `route del ${route}`),
    ...difference(wantedRoutes, seenRoutes).map((route) => `route replace ${route}`),
  ];
}

/**
 * Rules that are not planned and would be asked before the last of ours: of a tunnel that was up, or somebody else's,
 * which would lead past the lock. The kernel's own stands at 0.
 */
function planRuleRemovals({ rules }: Pick<Plan, 'rules'>, seen: Pick<ObservedNetwork, 'rules'>): readonly string[] {
  const last = Math.max(...rules.map(({ preference }) => preference));
  return seen.rules
    .filter(({ priority }) => priority > 0 && priority < last)
    .filter(({ priority }) => rules.every(({ preference }) => preference !== priority))
    .map(({ priority }) => `rule del pref ${priority}`);
}

/** One preference holds our rule and no other. Deleting by preference alone also rids us of selectors we do not know. */
function planRuleChanges(rule: RoutingRule, seen: Pick<ObservedNetwork, 'rules'>): readonly string[] {
  const wanted = renderRule(rule);
  const there = seen.rules.filter(({ priority }) => priority === rule.preference).map(renderObservedRule);
  if (there.length === 1 && there[0] === wanted) return [];
  return [...there.map(() => `rule del pref ${rule.preference}`), `rule add ${wanted}`];
}

function planTunChanges({ tun, standbyTun }: Plan, seen: ObservedNetwork): readonly string[] {
  return [tun, ...(standbyTun === undefined ? [] : [standbyTun])].flatMap((each) => planOneTun(each, seen));
}

function planOneTun({ name, link: wanted }: PlannedTun, seen: ObservedNetwork): readonly string[] {
  const link = seen.links.find((candidate) => candidate.ifname === name);
  // Link-local ones are the kernel's own.
  const addresses = (link?.addr_info ?? [])
    .filter(({ scope }) => scope === 'global')
    .map(({ local, prefixlen }) => `${local}/${prefixlen}`);
  const wantedAddresses =
    wanted === undefined
      ? []
      : [`${wanted.address}/32`, ...(wanted.ipv6 === undefined ? [] : [`${wanted.ipv6.address}/128`])];
  const removals = difference(addresses, wantedAddresses).map((address) => `addr del ${address} dev ${name}`);
  if (wanted === undefined) return removals;
  return [
    // Before the old one goes: with a device's last address its routes go, too.
    ...difference(wantedAddresses, addresses).map((address) => `addr add ${address} dev ${name}`),
    ...removals,
    ...(link?.mtu === wanted.mtuBytes ? [] : [`link set ${name} mtu ${wanted.mtuBytes}`]),
    ...(link?.flags.includes('UP') ? [] : [`link set ${name} up`]),
  ];
}

function difference(from: readonly string[], others: readonly string[]): readonly string[] {
  const known = new Set(others);
  return from.filter((text) => !known.has(text));
}
