import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { pidsIn } from './namespace.ts';
import type { RunningRouter, World } from './world.ts';

/** What a router holds of the machine. */
export interface Holdings {
  readonly residentBytes: number;
  readonly descriptors: number;
  readonly processes: number;
  readonly routes: number;
  readonly rules: number;
  readonly addresses: number;
  readonly firewallLines: number;
  readonly devices: number;
}

/** Counts what the router holds while its tunnel works. */
export async function countHoldings(world: World, router: RunningRouter): Promise<Holdings> {
  const lines = async (...command: readonly [string, ...string[]]) =>
    (await world.router.run(...command)).split('\n').filter((line) => line !== '').length;
  const { pid } = router.process;
  const resident = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return {
    residentBytes: Number(resident) * 1024,
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    processes: (await pidsIn(world.router)).length,
    routes: await lines('ip', 'route', 'show', 'table', 'all'),
    rules: (await lines('ip', 'rule')) + (await lines('ip', '-6', 'rule')),
    addresses: await lines('ip', '-o', 'addr'),
    firewallLines: await lines('nft', '-s', 'list', 'ruleset'),
    devices: await lines('ip', '-o', 'link'),
  };
}

/** Kills OpenVPN so many times, each time when its tunnel is proven. */
export async function reconnect(world: World, router: RunningRouter, times: number): Promise<void> {
  for (let done = 0; done < times; done += 1) {
    const proofs = proofsOf(router);
    const [pid] = await pidsIn(world.router, 'openvpn');
    process.kill(Number(pid), 'SIGKILL');
    for (let waitedMs = 0; proofsOf(router) === proofs; waitedMs += 20) {
      if (waitedMs > 15_000)
        throw new Error(`no tunnel after reconnect ${done + 1}:\n${router.output().slice(-4_000)}`);
      await sleep(20);
    }
  }
}

function proofsOf(router: RunningRouter): number {
  return router.output().split('tunnel proven').length;
}
