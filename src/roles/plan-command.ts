import { describeHardening } from '../plan/hardening.ts';
import type { Plan } from '../plan/plan.ts';
import { planRouter } from '../plan/router.ts';
import { sampleEndpoint, sampleForwards, sampleTunnel } from '../plan/sample.ts';
import { translateRuleset } from '../ruleset/iptables.ts';
import { renderRestore } from '../ruleset/iptables-restore.ts';
import type { Rule, Ruleset } from '../ruleset/model.ts';
import { renderNft } from '../ruleset/nft.ts';
import { renderRoute, renderRule } from '../system/iproute.ts';
import { type Policy, renderPolicy } from '../tunnel/policy.ts';
import { listProfiles } from './router-remotes.ts';
import { tunName } from './router-rules.ts';
import type { RouterSetup } from './router-setup.ts';

/**
 * What would be applied in each state, as text. A server or a container whose name is not resolved yet, and a tunnel
 * that is not there yet, are shown with addresses from 198.51.100.0/24 (RFC 5737).
 */
export function renderPlan(setup: RouterSetup): string {
  const { config, facts } = setup;
  const [{ source }] = listProfiles(setup);
  const shown = { ...config, forwards: [...config.forwards, ...sampleForwards(config)] };
  const endpoint = source.kind === 'addresses' ? source.endpoints[0] : sampleEndpoint;
  const policies: readonly Policy[] = [
    { kind: 'lockdown' },
    ...(source.kind === 'names' ? [{ kind: 'resolve', scope: source.scope } as const] : []),
    { kind: 'dial', endpoint },
    { kind: 'forward', endpoint, tun: sampleTunnel(tunName) },
  ];
  const hardening = Object.entries(describeHardening(setup)).map(([layer, state]) => `#   ${layer}: ${state}\n`);
  const plans = policies
    .map((policy) => `# ${renderPolicy(policy)}\n${renderOne(planRouter({ config: shown, facts, policy }))}`)
    .join('\n');
  return `# layers of defence on this kernel\n${hardening.join('')}\n${plans}`;
}

function renderOne({ ruleset, firewall, rules, routes }: Plan): string {
  const reasons = ruleset.tables
    .flatMap(({ chains }) => chains)
    .flatMap((chain) => chain.rules)
    .map(({ id, why }: Rule) => `#   ${id}: ${why}\n`);
  return [
    firewall === 'nft' ? renderNft(ruleset) : renderIptables(ruleset),
    '# rules by name\n',
    ...reasons,
    '# routing\n',
    ...rules.map((rule) => `ip rule add ${renderRule(rule)}  # ${rule.why}\n`),
    ...routes.map((route) => `ip route replace ${renderRoute(route)}  # ${route.why}\n`),
  ].join('');
}

/** As if nothing was loaded yet, IPv4 first. */
function renderIptables(ruleset: Ruleset): string {
  return (['ipv4', 'ipv6'] as const)
    .map((family) => `# ${family}\n${renderRestore({ wanted: translateRuleset(ruleset, family), saved: new Map() })}`)
    .join('');
}
