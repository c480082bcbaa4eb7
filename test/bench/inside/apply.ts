// Runs in place of the router, in its image, with its Node options, after its entrypoint: applies the ruleset of a tunnel
// that is up, with many forwards, again and again over itself. apply.ts ROUNDS COUNT... prints one JSON line.

import { parseRouterConfig } from '../../../src/config/env.ts';
import { type IfName, parseIpv4 } from '../../../src/net/address.ts';
import type { Context } from '../../../src/plan/context.ts';
import { extras } from '../../../src/plan/facts.ts';
import { planRouter } from '../../../src/plan/router.ts';
import { sampleEndpoint, sampleTunnel } from '../../../src/plan/sample.ts';
import { renderNft } from '../../../src/ruleset/nft.ts';
import { run } from '../../../src/system/exec.ts';
import { applyFirewall } from '../../../src/system/firewall.ts';
import { changeNetwork } from '../../../src/system/iproute.ts';
import { changeRouting, confirmPlan } from '../../../src/system/kernel.ts';
import { openvpnUid } from '../../../src/system/openvpn.ts';

/** Milliseconds of each round. */
export interface ApplyTimes {
  readonly count: number;
  readonly mapEntries: number;
  /** `nft -f` alone. */
  readonly transaction: readonly number[];
  /** Plan, render, apply, read back and compare, routes included: what the router does when its tunnel comes up. */
  readonly whole: readonly number[];
}

// Docker orders networks by name: the uplink first.
const [uplink, lan, tun] = ['eth0' as IfName, 'eth1' as IfName, 'tun0' as IfName];

async function main(): Promise<void> {
  const [rounds = 0, ...counts] = process.argv.slice(2).map(Number);
  await changeNetwork([`tuntap add dev ${tun} mode tun`]);
  const results: ApplyTimes[] = [];
  for (const count of counts) results.push(await measure(contextWith(count), { count, rounds }));
  process.stdout.write(`${JSON.stringify(results)}\n`);
}

async function measure(
  context: Context,
  { count, rounds }: { readonly count: number; readonly rounds: number },
): Promise<ApplyTimes> {
  const text = renderNft(planRouter(context).ruleset);
  const network = await changeNetwork([]);
  const transaction: number[] = [];
  const whole: number[] = [];
  for (let round = 0; round <= rounds; round += 1) {
    const transactionMs = await time(() => run({ file: 'nft', args: ['-f', '-'], input: text }));
    const wholeMs = await time(async () => {
      const plan = planRouter(context);
      const [after] = await Promise.all([changeRouting(plan, network), applyFirewall(plan)]);
      await confirmPlan(plan, after);
    });
    // The first round replaces a ruleset of another size.
    if (round === 0) continue;
    transaction.push(transactionMs);
    whole.push(wholeMs);
  }
  return { count, mapEntries: text.match(/(tcp|udp) \. \d+ : /g)?.length ?? 0, transaction, whole };
}

function contextWith(count: number): Context {
  const { IP_ADDR, UPLINK_GATEWAY } = process.env;
  const parsed = parseRouterConfig({ IP_ADDR, UPLINK_GATEWAY, PORT_FWD: forwards(count) });
  const gateway = parseIpv4(UPLINK_GATEWAY ?? '');
  if (parsed.kind === 'faults' || gateway === undefined) throw new TypeError('the bench gave bad settings');
  return {
    config: parsed.value.config,
    facts: {
      lan: { name: lan },
      uplink: { name: uplink, ipv4: { cidr: { address: gateway, prefixBits: 24 }, gateway } },
      tunName: tun,
      openvpnUid,
      firewall: 'nft',
      extras,
      canRejectBeforeRouting: true,
    },
    policy: { kind: 'forward', endpoint: sampleEndpoint, tun: sampleTunnel(tun) },
  };
}

/** Forwards of both protocols to a hundred containers at most: an environment variable cannot hold 10,000 entries. */
function forwards(count: number): string {
  const targets = Math.min(count, 100);
  const each = count / targets;
  const lanPrefix = (process.env.IP_ADDR ?? '').split('.').slice(0, 3).join('.');
  return Array.from({ length: targets }, (_, index) => {
    const first = 10_000 + index * each;
    const ports = each === 1 ? `${first}` : `${first}-${first + each - 1}`;
    return `${lanPrefix}.${100 + index}:${ports}`;
  }).join(',');
}

async function time(work: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return performance.now() - startedMs;
}

void main();
