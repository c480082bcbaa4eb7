// How long a connection to a forwarded port takes to be set up, with 10 forwards and with 10,000, and what the move of one
// container costs. In network namespaces, by the router's own rules; a veth pair in the place of the tunnel. Needs root.
// node test/bench/forwards.ts [CONNECTIONS]
import { join } from 'node:path';
import { execa } from 'execa';
import { parseRouterConfig } from '../../src/config/env.ts';
import { type IfName, type Ip, parseIpv4 } from '../../src/net/address.ts';
import type { Context } from '../../src/plan/context.ts';
import { extras } from '../../src/plan/facts.ts';
import { planRouter } from '../../src/plan/router.ts';
import { sampleEndpoint, sampleTunnel } from '../../src/plan/sample.ts';
import { renderNftChange } from '../../src/ruleset/change.ts';
import type { Ruleset } from '../../src/ruleset/model.ts';
import { renderNft } from '../../src/ruleset/nft.ts';
import { makeNamespace, type Namespace, join as plug, removeNamespace } from '../kernel/lab/namespace.ts';
import { renderSpread, spreadOf } from './figures.ts';

const [connections = 500] = process.argv.slice(2).map(Number);
const counts = [10, 10_000] as const;
const rounds = 7;
const firstPort = 10_000;
const insidePort = 8_080;
const clients = '172.22.0';
const outsider = '198.51.100.9';
const tun = sampleTunnel('tun0' as IfName);

async function main(): Promise<void> {
  const [router, client, outside] = await Promise.all(
    ['router', 'client', 'outside'].map((role) => makeNamespace(`ub-bench${process.pid}-${role}`)),
  );
  if (router === undefined || client === undefined || outside === undefined) throw new Error('a namespace is missing');
  const all = [router, client, outside];
  try {
    await wire(router, client, outside);
    client.start({}, 'node', join(import.meta.dirname, 'inside/accept.ts'), `${insidePort}`);
    const times = new Map<number, number[]>(counts.map((count) => [count, []]));
    // In turn, so that whatever else the machine does meets both.
    for (let round = 0; round <= rounds; round += 1) {
      for (const count of counts) {
        await load(router, renderNft(rulesetOf(count)));
        const took = await measure(outside, count);
        if (round > 0) times.get(count)?.push(took);
      }
    }
    for (const [count, took] of times) {
      const text = renderSpread(spreadOf(took.map((ms) => ms * 1_000)), 'µs');
      process.stdout.write(`${count} forwards, a connection (median of ${connections}, ${rounds} rounds): ${text}\n`);
    }
    await measureMove(router);
  } finally {
    await Promise.all(all.map(removeNamespace));
  }
}

/** One forward to another container: the change alone, and the whole ruleset. */
async function measureMove(router: Namespace): Promise<void> {
  const before = rulesetOf(10_000);
  await load(router, renderNft(before));
  const [change, whole]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round += 1) {
    const [from, to] = [rulesetOf(10_000, round), rulesetOf(10_000, round + 1)];
    await load(router, renderNft(from));
    change.push(await time(() => load(router, renderNftChange(from, to))));
    whole.push(await time(() => load(router, renderNft(to))));
  }
  process.stdout.write(`10,000 forwards, one moves, by what differs: ${renderSpread(spreadOf(change), 'ms')}\n`);
  process.stdout.write(`… the whole ruleset: ${renderSpread(spreadOf(whole), 'ms')}\n`);
}

async function time(work: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return performance.now() - startedMs;
}

async function load(router: Namespace, input: string): Promise<void> {
  const [file, args] = router.argv('nft', '-f', '-');
  await execa(file, args, { input });
}

/** The median of a round, in milliseconds. */
async function measure(outside: Namespace, count: number): Promise<number> {
  const script = join(import.meta.dirname, 'inside/connect.ts');
  const args = [tun.address, firstPort, count, connections].map(String);
  return Number(await outside.run('node', script, ...args));
}

/** Single ports to one container, each of both protocols; the last one may be another's. */
function rulesetOf(count: number, moved = 0): Ruleset {
  const parsed = parseRouterConfig({
    IP_ADDR: `${clients}.1/24`,
    DNS: '9.9.9.9',
    PORT_FWD: `${clients}.128:${firstPort}-${firstPort + count - 1}`,
  });
  const gateway = parseIpv4('192.168.77.1');
  if (parsed.kind === 'faults' || gateway === undefined) throw new Error(JSON.stringify(parsed));
  const { config } = parsed.value;
  const [range] = config.forwards;
  if (range === undefined) throw new Error('nothing is forwarded');
  // As they would stand in a map that was filled one by one: to one port inside.
  const forwards = Array.from({ length: count }, (_, index) => {
    const port = (firstPort + index) as typeof range.outside.first;
    const inside = insidePort as typeof port;
    const target = `${clients}.${index === count - 1 ? 128 + moved : 128}` as Ip;
    return {
      transports: range.transports,
      outside: { first: port, last: port },
      inside: { first: inside, last: inside },
      target,
    };
  });
  const context: Context = {
    config: { ...config, forwards },
    facts: {
      lan: { name: 'lan0' as IfName },
      uplink: { name: 'lo' as IfName, ipv4: { cidr: { address: gateway, prefixBits: 24 }, gateway } },
      tunName: tun.name,
      openvpnUid: 975,
      firewall: 'nft',
      extras: extras.filter((extra) => extra === 'connection-limit'),
      canRejectBeforeRouting: true,
    },
    policy: { kind: 'forward', endpoint: sampleEndpoint, tun },
  };
  return planRouter(context).ruleset;
}

async function wire(router: Namespace, client: Namespace, outside: Namespace): Promise<void> {
  await plug(
    { ns: router, device: 'lan0', address: `${clients}.1/24` },
    { ns: client, device: 'eth0', address: `${clients}.128/24` },
  );
  await plug(
    { ns: router, device: tun.name, address: `${tun.address}/24` },
    { ns: outside, device: 'eth0', address: `${outsider}/24` },
  );
  await client.run('ip', 'route', 'add', 'default', 'via', `${clients}.1`);
  await router.run('sysctl', '-qw', 'net.ipv4.ip_forward=1');
}

void main();
