import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { nextAnswer, startFlow } from './client.ts';
import { addresses, ports, type RunningRouter, type RunningServer, type World } from './world.ts';

/** Two servers, a router with a tunnel to each, and which of them carries clients. */
export interface StandbyLab {
  readonly router: RunningRouter;
  readonly servers: readonly RunningServer[];
  /** Index of the server that carries clients now. */
  readonly carrier: () => Promise<number>;
  /** Waits until so many tunnels work. */
  readonly untilHealthy: (count: number) => Promise<void>;
  /** Starts a server anew. */
  readonly restart: (index: number) => Promise<void>;
  /** Milliseconds from a kill of the server that carries clients to the next answer of a client's flow; heals it. */
  readonly killCarrier: (signal?: NodeJS.Signals) => Promise<number>;
  readonly stop: () => Promise<void>;
}

interface TunnelHealth {
  readonly healthy: boolean;
  readonly isCarrying: boolean;
}

export async function makeStandbyLab(world: World, env: Readonly<Record<string, string>> = {}): Promise<StandbyLab> {
  const folder = join(world.folder, 'standby');
  await mkdir(folder);
  const text = await readFile(join(world.folder, 'client.ovpn'), 'utf8');
  await writeFile(join(folder, 'a.ovpn'), text);
  await writeFile(join(folder, 'b.ovpn'), text.replace(addresses.server, addresses.secondServer));
  const start = (index: number) =>
    index === 0
      ? world.startServer()
      : world.startServer({ address: addresses.secondServer, device: 'tun1', subnet: ['10.9.0.0', '255.255.255.0'] });
  const servers = await Promise.all([start(0), start(1)]);
  const router = world.startRouter({ CONFIG: folder, STANDBY: 'on', ...env });
  const tunnels = async () => ((await router.health()).tunnels ?? []) as readonly TunnelHealth[];
  const carrier = async () => (await tunnels()).findIndex(({ isCarrying }) => isCarrying);
  const untilHealthy = async (count: number) => {
    for (let waitedMs = 0; waitedMs < 20_000; waitedMs += 50) {
      const seen = await tunnels();
      if (seen.length === 2 && seen.filter(({ healthy }) => healthy).length === count) return;
      await sleep(50);
    }
    throw new Error(`not ${count} tunnels work:\n${router.output()}`);
  };
  const restart = async (index: number) => {
    await servers[index]?.stop();
    servers[index] = await start(index);
  };
  await untilHealthy(2);
  return {
    router,
    servers,
    carrier,
    untilHealthy,
    restart,
    killCarrier: async (signal = 'SIGKILL') => {
      const index = await carrier();
      const flow = startFlow(world.client, addresses.web, ports.web, 20, 20);
      await nextAnswer(flow, 0, 5_000);
      const happenedMs = Date.now();
      servers[index]?.signal(signal);
      // Answers that were on their way do not count.
      const next = await nextAnswer(flow, happenedMs + 60, 5_000);
      flow.kill('SIGKILL');
      await restart(index);
      await untilHealthy(2);
      return next === undefined ? Number.POSITIVE_INFINITY : next - happenedMs;
    },
    stop: async () => {
      await router.stop();
      await Promise.all(servers.map((server) => server.stop()));
    },
  };
}
