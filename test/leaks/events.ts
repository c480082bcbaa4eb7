// What happens to a router: the events of the matrix's rows.
import { setTimeout as sleep } from 'node:timers/promises';
import type { IpFamily } from '../../src/net/address.ts';
import type { Namespace } from '../kernel/lab/namespace.ts';
import { flushRules, holdsRules } from './firewall.ts';
import { type Devices, devicesOf, type Ground, until } from './ground.ts';
import type { Sending } from './send.ts';
import { startSending } from './sender.ts';

export const locks = ['firewall', 'routes'] as const;
export type Lock = (typeof locks)[number];

export async function signal(
  ground: Ground,
  program: 'openvpn' | 'node-MainThread',
  name: NodeJS.Signals,
): Promise<void> {
  process.kill(await ground.pidOf(program), name);
}

export async function killOpenvpn(ground: Ground): Promise<void> {
  await signal(ground, 'openvpn', 'SIGKILL');
  await sleep(500);
}

export async function bootAgain(ground: Ground): Promise<void> {
  await ground.boot();
  await ground.untilCarried();
}

export async function reconnect(ground: Ground): Promise<void> {
  await killOpenvpn(ground);
  await ground.untilCarried();
}

export async function deleteTunnel(ground: Ground): Promise<void> {
  await (await ground.router()).run('ip', 'link', 'del', 'tun0');
  await sleep(500);
}

export async function cutUplink(ground: Ground): Promise<void> {
  const router = await ground.router();
  const { uplink } = await devicesOf(router);
  const inMain = (await router.run('ip', 'route', 'show', 'default')).trim();
  await router.run('ip', 'link', 'set', uplink, 'down');
  await sleep(700);
  await router.run('ip', 'link', 'set', uplink, 'up');
  // It went away if it led there; networks that were given back have none.
  if (inMain !== '') await router.run('ip', 'route', 'replace', ...inMain.split(' '));
  await sleep(700);
}

/** Docker's `network disconnect` and `connect`. */
export async function moveUplink(ground: Ground): Promise<void> {
  await ground.uplink.disconnect();
  await sleep(1_000);
  await ground.uplink.connect('198.51.100.22');
  await ground.untilCarried();
  await ground.uplink.disconnect();
  await ground.uplink.connect(ground.scene.routerUplink);
}

/** The devices get each other's names, and their own again; the router looks at the first several times meanwhile. */
export async function swapNetworks(ground: Ground): Promise<void> {
  for (const first of ['uplink', 'isolated'] as const) {
    await ground.renewNetworks?.(first, () => sleep(2_500));
    await ground.untilCarried();
  }
}

/** Something that the router has to notice by itself; it goes on until clients have lost the tunnel. */
export async function untilGivenUp(ground: Ground, begin: () => Promise<unknown>): Promise<void> {
  const router = await ground.router();
  await begin();
  const routes = () => router.run('ip', 'route', 'show', 'table', '7101');
  await until(async () => !(await routes()).includes('tun'), 20_000, ground.log);
  await sleep(500);
}

/** The server pushes these options to two connections, and then none again. */
export async function push(ground: Ground, options: readonly string[]): Promise<void> {
  await ground.server.kill();
  await ground.server.start(options);
  // Once more, so that this connection surely got them.
  await ground.untilCarried();
  await killOpenvpn(ground);
  await ground.untilCarried();
  await ground.server.kill();
  await ground.server.start();
}

/** A flow from outside to a forwarded port of the client, when OpenVPN dies and when its device goes. */
export async function loseForwardedFlow(ground: Ground, over: IpFamily): Promise<void> {
  await ground.untilCarried();
  const caller = await ground.startCaller(over);
  await killOpenvpn(ground);
  await sleep(300);
  await ground.untilCarried();
  await deleteTunnel(ground);
  await sleep(500);
  caller.kill('SIGKILL');
}

/** A kernel that looks at no source, and does what source routes and redirects say; the tunnel goes meanwhile. */
export async function loosenKernel(ground: Ground): Promise<void> {
  const router = await ground.router();
  const { lan, uplink } = await devicesOf(router);
  const loose = {
    ipv4: ['rp_filter=0', 'accept_source_route=1', 'accept_redirects=1', 'secure_redirects=0', 'proxy_arp=1'],
    // Those that are no packet's way: a segment of a route, and neighbours' questions for somebody else.
    ipv6: ['accept_source_route=1', 'accept_redirects=1', 'seg6_enabled=1', 'proxy_ndp=1'],
  };
  for (const [family, settings] of Object.entries(loose)) {
    for (const device of ['all', lan, uplink, 'tun0'])
      for (const setting of settings) await router.run('sysctl', '-qw', `net.${family}.conf.${device}.${setting}`);
  }
  await killOpenvpn(ground);
  await bootAgain(ground);
}

/** The worst that can be: the router believes whoever says that he is its IPv6 router, and forwards. */
export async function advertise(ground: Ground): Promise<void> {
  const router = await ground.router();
  const { lan, uplink } = await devicesOf(router);
  const settings = ['all', lan, uplink].flatMap((device) => [
    `net.ipv6.conf.${device}.disable_ipv6=0`,
    `net.ipv6.conf.${device}.forwarding=1`,
    `net.ipv6.conf.${device}.accept_ra=2`,
  ]);
  for (const setting of settings) await router.run('sysctl', '-qw', setting);
  const advertising = startSending(ground.isp, {
    device: ground.ispDevice,
    kinds: 'router advertisements',
    scene: ground.scene,
    to: ['33:33:00:00:00:01'],
    follow: false,
    packetsPerSecond: 20,
  } satisfies Sending);
  await sleep(500);
  // In case that nothing believed it: what it would have led to.
  await router.run('ip', '-6', 'neigh', 'replace', 'fe80::1', 'lladdr', ground.ispDevice.mac, 'dev', uplink);
  await router.run('ip', '-6', 'route', 'replace', 'default', 'via', 'fe80::1', 'dev', uplink, 'metric', '1');
  await sleep(2_000);
  await advertising.end();
}

/** Takes a lock away while the daemon cannot put it back; returns what ends that. */
export async function takeLock(ground: Ground, lock: Lock): Promise<() => Promise<void>> {
  const daemon = await ground.pidOf('node-MainThread');
  process.kill(daemon, 'SIGSTOP');
  try {
    await removeLock(ground, lock);
  } catch (error) {
    process.kill(daemon, 'SIGCONT');
    throw error;
  }
  return async () => {
    process.kill(daemon, 'SIGCONT');
    await ground.server.start();
    // What it comes back to makes it put both locks in anew, instead of when it looks next.
    await killOpenvpn(ground).catch(() => undefined);
  };
}

export async function removeLock(ground: Ground, lock: Lock): Promise<void> {
  const router = await ground.router();
  if (lock === 'firewall') return flushRules(router, ground.backend);
  return flushRouting(router, await devicesOf(router), ground.scene.isp);
}

export async function isHeld(ground: Ground, lock: Lock): Promise<boolean> {
  const router = await ground.router();
  if (lock === 'firewall') return holdsRules(router, ground.backend);
  const [rules, routes] = await Promise.all([
    router.run('ip', 'rule'),
    router.run('ip', 'route', 'show', 'table', '7101'),
  ]);
  return rules.includes('110:') && routes.includes('unreachable');
}

async function flushRouting(router: Namespace, { uplink }: Devices, isp: string): Promise<void> {
  for (const family of ['-4', '-6']) {
    await router.run('ip', family, 'rule', 'flush');
    await router.run('ip', family, 'rule', 'add', 'pref', '32766', 'lookup', 'main');
  }
  for (const table of ['7100', '7101', '7102', '7105', '7106', '7107']) {
    for (const family of ['-4', '-6']) await router.attempt('ip', family, 'route', 'flush', 'table', table);
  }
  // Where the daemon puts its rules back meanwhile, the next hop cannot be looked up any more.
  await router.run('ip', 'route', 'replace', 'default', 'via', isp, 'dev', uplink, 'onlink');
}
