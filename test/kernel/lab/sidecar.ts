import assert from 'node:assert/strict';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openCatcher } from '../../leaks/catcher.ts';
import { askTcp } from './client.ts';
import { type Containers, startContainers, until } from './containers.ts';
import { labScene } from './leak-ground.ts';
import { anybodysKinds, type LocalSending, rootsKinds, startLocalSender } from './local-sender.ts';
import type { Namespace } from './namespace.ts';
import { addresses, makeWorld, type RunningRouter, type RunningServer, type World } from './world.ts';

export const tunnelAddress = '10.8.0.2';
export const dockerResolver = '127.0.0.11';
/** A host beyond the uplink's next hop. */
export const lan = { address: '192.168.7.1', port: 8096 } as const;

/** Root and somebody else, by every kind of socket. */
export const everybody: readonly LocalSending[] = [
  { uid: 0, kinds: rootsKinds },
  { uid: 1000, kinds: anybodysKinds },
];
/** Without packet sockets, which no rule for packets sees. */
export const withoutFrames: readonly LocalSending[] = [
  { uid: 0, kinds: rootsKinds.filter((kind) => kind !== 'frame') },
  { uid: 1000, kinds: anybodysKinds },
];

/** What left on the uplink; of `lines` the first few. */
export interface Leaked {
  readonly client: number;
  readonly router: number;
  readonly lines: readonly string[];
}

export const nothing: Leaked = { client: 0, router: 0, lines: [] };

/** A router in sidecar mode, whose own namespace is the client: one network, and a peer that listens on port 8080. */
export interface Sidecar {
  readonly world: World;
  readonly app: Namespace;
  readonly docker: Containers;
  readonly caught: () => Promise<number>;
  readonly router: () => RunningRouter;
  readonly start: (env?: Readonly<Record<string, string>>) => void;
  /** The same with other settings; returns when the tunnel works. */
  readonly startAnew: (env?: Readonly<Record<string, string>>) => Promise<void>;
  readonly startServer: () => Promise<RunningServer>;
  /** What a web site beyond the tunnel says of who asks. */
  readonly webSays: () => Promise<string>;
  /** Until a tunnel that is not there yet works. */
  readonly untilProvenAfter: (event: () => Promise<unknown>) => Promise<void>;
  readonly leakedDuring: (event: () => Promise<unknown>, senders?: readonly LocalSending[]) => Promise<Leaked>;
  readonly remove: () => Promise<void>;
}

/** Its uplink's next hop answers ARP for all the world. @param rpFilter of the reverse path check */
export async function makeSidecar(rpFilter: 0 | 1 | 2): Promise<Sidecar> {
  const world = await makeWorld();
  const { isp, router: app } = world;
  // OpenVPN's user runs the look-up.
  await chmod(world.folder, 0o755);
  await app.run('ip', 'link', 'del', 'eth0');
  await app.run('ip', 'route', 'replace', 'default', 'via', addresses.isp, 'dev', 'eth1');
  for (const setting of [`ipv4.conf.all.rp_filter=${rpFilter}`, 'ipv4.ping_group_range=0 2000'])
    await app.run('sysctl', '-qw', `net.${setting}`);
  await isp.run('sysctl', '-qw', 'net.ipv4.conf.to-router.proxy_arp=1');
  await isp.run('ip', 'addr', 'add', `${lan.address}/32`, 'dev', 'lo');
  const peer = join(import.meta.dirname, 'peer.ts');
  isp.start({}, 'node', peer, `${lan.port}`, lan.address);
  app.start({}, 'node', peer, '8080', '0.0.0.0');
  const docker = await startContainers(world);
  await docker.place({ 'who-answers.test': dockerResolver });
  const routers = [addresses.routerUplink];
  const catcher = await openCatcher({ ns: isp, device: 'to-router', routers, scene: labScene });
  let running: RunningRouter | undefined;
  const router = () => running ?? assert.fail('no router');
  const start: Sidecar['start'] = (env = {}) => {
    running = world.startRouter({ MODE: 'sidecar', IP_ADDR: '', ...env });
  };
  const proven = () => router().output().split('tunnel proven').length;
  return {
    world,
    app,
    docker,
    router,
    start,
    caught: async () => (await catcher.seen()).client,
    startAnew: async (env) => {
      await running?.stop();
      start(env);
      await router().untilHealthy(20_000);
    },
    startServer: () => world.startServer(),
    webSays: () => askTcp(app, addresses.web, 8080),
    untilProvenAfter: async (event) => {
      const before = proven();
      await event();
      await until('the next tunnel', () => proven() > before, 20_000);
    },
    leakedDuring: async (event, senders = everybody) => {
      const capture = await catcher.capture();
      const earlier = await catcher.seen();
      const sending = await Promise.all(senders.map((sender) => startLocalSender(app, sender)));
      await sleep(200);
      await event();
      await sleep(300);
      for (const sender of sending) sender.kill('SIGTERM');
      await Promise.all(sending.map(({ exited }) => exited));
      const seen = await catcher.seen();
      const lines = (await capture.end()).slice(0, 6);
      for (const sender of sending) assert.match(sender.output(), / \d+$/m, 'it sent');
      return { client: seen.client - earlier.client, router: seen.router - earlier.router, lines };
    },
    remove: async () => {
      await docker.remove();
      await world.remove();
    },
  };
}
