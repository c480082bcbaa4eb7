import type { IfName } from '../net/address.ts';
import type { Chain, Match, Rule, Table } from '../ruleset/model.ts';
import { loopback } from './lockdown.ts';

/** Refused packets by client and reason. A reason takes an element for each client, and a hostile one forges others. */
const refusedSet = { name: 'refused', family: 'ipv4', key: 'source-and-mark', mostElements: 4096 } as const;

/** The clients of a bigger network that come later are not counted one by one. */
export const mostClients = 1024;

export const passedTable = 'underbridge_passed';

/**
 * Lets every rule that refuses clients jump to a chain of its own, which counts the client and then does what the rule
 * did. A packet that is not refused meets nothing more than before; what is refused stays refused, whether it was
 * counted or not. The counting rule's id is `count-NUMBER-REASON`, by which a listing tells what a number means.
 */
export function countRefusals(table: Table, { lan, subnet }: { readonly lan: IfName; readonly subnet: string }): Table {
  const chains: Chain[] = [];
  let reasons = 0;
  const honest: readonly Match[] = [
    { kind: 'in', names: [lan] },
    { kind: 'source', subnet },
  ];
  for (const chain of table.chains) {
    const rules = chain.rules.map((rule): Rule => {
      const { verdict, ...matching } = rule;
      if (verdict === undefined || !mayRefuseClients(rule, lan)) return rule;
      reasons += 1;
      chains.push({
        name: rule.id,
        rules: [
          {
            id: `count-${reasons}-${rule.id}`,
            why: 'Counted for each client, by reason.',
            when: honest,
            count: { set: refusedSet.name, mark: reasons },
          },
          {
            id: `refuse-${rule.id}`,
            why: 'Refused, whether it was counted or not.',
            // The kernel takes a reset only beside a match of TCP.
            when: verdict.kind === 'reject-reset' ? [{ kind: 'transport', transports: ['tcp'] }] : [],
            verdict,
          },
        ],
      });
      return { ...matching, verdict: { kind: 'jump', chain: rule.id } };
    });
    chains.push({ ...chain, rules });
  }
  return { ...table, sets: [...(table.sets ?? []), refusedSet], chains };
}

function mayRefuseClients({ verdict, when }: Rule, lan: IfName): boolean {
  const refuses = verdict?.kind === 'drop' || verdict?.kind === 'reject' || verdict?.kind === 'reject-reset';
  const isElsewhere = when.some(
    (match) =>
      (match.kind === 'in' && !match.names.includes(lan)) ||
      match.kind === 'out' ||
      match.kind === 'family' ||
      // Forged: whoever sent it, it is not who it says.
      (match.kind === 'source' && match.negate === true),
  );
  return refuses && !isElsewhere;
}

/**
 * The text that loads a table which only counts what the firewall has let through: by a tunnel, for each client and
 * altogether; past it, altogether. What stays in the isolated network (hairpin) is neither. It holds no verdict, so it
 * can let nothing pass and stop nothing; it stays when the ruleset is loaded anew.
 */
export function renderPassedTable(lan: IfName, tunnels: readonly IfName[]): string {
  const list = (names: readonly IfName[]) => `{ ${names.map((name) => `"${name}"`).join(', ')} }`;
  const set = (name: string) => `  set ${name} { typeof ip saddr; size ${mostClients}; flags dynamic; }\n`;
  const head = `table inet ${passedTable}
delete table inet ${passedTable}
table inet ${passedTable} {
${set('sent')}${set('received')}${set('opened')}`;
  if (lan === loopback) return `${head}${ownChains(list(tunnels))}}\n`;
  // Every packet of every client comes here: few names are compared, and what a full set breaks off is the end of a way.
  return `${head}  chain received {
    counter update @received { ip daddr counter } comment "received"
  }
  chain sent {
    counter update @sent { ip saddr counter } comment "sent"
  }
  chain inward {
    ct state new iifname "${lan}" update @opened { ip saddr counter } comment "opened-inside"
    ct state new update @opened { ip daddr counter } comment "accepted"
    iifname ${list(tunnels)} goto received
    iifname != "${lan}" counter comment "received-past"
  }
  chain outward {
    ct state new update @opened { ip saddr counter } comment "opened"
    oifname ${list(tunnels)} goto sent
    counter comment "sent-past"
  }
  chain forward {
    # Behind the firewall's chains, which have priority 0.
    type filter hook forward priority 10; policy accept;
    oifname "${lan}" goto inward
    iifname "${lan}" goto outward
  }
}
`;
}

/** Local processes share one address: only the sum is counted. Behind the firewall's chains, which have priority 0. */
const ownChains = (tunnels: string) => `  chain output {
    type filter hook output priority 10; policy accept;
    oifname ${tunnels} counter comment "sent"
  }
  chain input {
    type filter hook input priority 10; policy accept;
    iifname ${tunnels} counter comment "received"
  }
`;
