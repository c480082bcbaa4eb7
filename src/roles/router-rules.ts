import type { FirewallChoice, RouterConfig } from '../config/router-config.ts';
import type { Fault } from '../errors.ts';
import type { IfName } from '../net/address.ts';
import type { OneOrMore } from '../one-or-more.ts';
import { type Extra, extras, type Firewall } from '../plan/facts.ts';
import { loopback } from '../plan/lockdown.ts';
import { planRouter } from '../plan/router.ts';
import { sampleEndpoint, sampleFacts, sampleForwards, sampleTunnel } from '../plan/sample.ts';
import type { Ruleset } from '../ruleset/model.ts';
import { checkFirewall } from '../system/firewall.ts';
import { openvpnUid } from '../system/openvpn.ts';
import { holds } from '../system/prerequisites.ts';

/** The tunnel's interface; persistent, so that rules and routes can name it before OpenVPN runs. */
export const tunName = 'tun0' as IfName;

/** Which firewall takes the router's rules, and what of them. */
export interface CheckedRules {
  readonly faults: readonly Fault[];
  readonly firewall: Firewall;
  readonly extras: readonly Extra[];
  readonly canRejectBeforeRouting: boolean;
}

export const noRules: CheckedRules = { faults: [], firewall: 'nft', extras: [], canRejectBeforeRouting: false };

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
    const problem = await problemOf(firewall, rulesOf({ config, firewall }));
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

async function problemOf(firewall: Firewall, ruleset: Ruleset): Promise<string | undefined> {
  // It would only say that it is "unable to initialize table 'filter'".
  if (firewall === 'iptables-legacy' && !holds('NET_RAW'))
    return 'iptables-legacy takes a raw socket, and the container has no NET_RAW';
  return checkFirewall({ firewall, ruleset });
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
  // By iptables clients' IPv6 is not carried, which is a fault of its own.
  const { ipv6, ...ipv4 } = config;
  const carried = ipv6 === undefined || firewall !== 'nft' ? ipv4 : config;
  const forwards = [...config.forwards, ...sampleForwards(config)];
  return planRouter({ config: { ...carried, forwards }, facts, policy: isRefusing ? { kind: 'lockdown' } : forward })
    .ruleset;
}

function firewallFault(problem: string): Fault {
  return {
    name: 'FIREWALL',
    problem: `the kernel does not take the firewall's rules (${problem})`,
    hint: 'Linux 4.18 or later with nf_tables, nft_ct, nft_nat and nft_masq is needed, or ip_tables with its modules (load them on the host) and `cap_add: [NET_RAW]`',
  };
}
