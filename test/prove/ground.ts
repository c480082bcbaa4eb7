import { join } from 'node:path';
import { vpnExit } from '../../compose/proof/rows.ts';
import { sceneServices } from '../../compose/proof/stack.ts';
import { tryUntil } from '../../compose/proof/tries.ts';
import { demoImage } from '../image/apart.ts';
import { isIpv6Carried, openIpv6World, webPort } from '../image/ipv6-world.ts';
import { addresses, openWorld, type World } from '../image/world.ts';
import { ipv6Addresses } from '../kernel/lab/ipv6.ts';
import { joinNamespace, ownNamespace } from '../kernel/lab/namespace.ts';
import type { Engine } from '../lab/engine.ts';
import { openCatcher } from '../leaks/catcher.ts';
import type { Backend } from '../leaks/firewall.ts';
import { devicesOf, findLink, type Ground, makeNaive, until } from '../leaks/ground.ts';
import { type Scene, ula } from '../leaks/packets.ts';

const networks = { isolated: 'a-isolated', uplink: 'm-uplink' } as const;
const naiveName = 'underbridge-test-naive';
/** What recovery may take: 10 s, and what a busy machine adds. */
const patienceSeconds = 14;

const isp = '198.51.100.1';
const routerUplink = '198.51.100.2';
const laterUplink = '198.51.100.22';

/** What a router is to be. */
export interface RouterKind {
  readonly backend: Backend;
  /** `IPV6: tunnel`, and the VPN server is reached over IPv6. */
  readonly carriesIpv6: boolean;
}

/** The demo's world on an engine apart, with the built image as its router; nothing of the router runs yet. */
export async function layGround(
  engine: Engine,
  { backend, carriesIpv6 }: RouterKind,
): Promise<{ readonly ground: Ground; readonly world: World }> {
  const options = { isolated: networks, firewall: backend };
  const ipv6World = carriesIpv6 ? openIpv6World(engine, options) : undefined;
  const world = ipv6World ?? openWorld(engine, options);
  await world.startScene(sceneServices.filter((service) => service !== 'probe'));
  // Docker 28 on its own has the machine drop what of IPv6 crosses a bridge: then it would be the machine that holds.
  await ownNamespace().attempt('sysctl', '-qw', 'net.bridge.bridge-nf-call-ip6tables=0');
  const [client, ispNamespace, web] = await Promise.all((['client2', 'isp', 'web'] as const).map(world.enter));
  if (client === undefined || ispNamespace === undefined || web === undefined)
    throw new Error('a container is missing');
  const scene: Scene = {
    client: '172.22.0.128',
    other: await addressOf(world),
    gateway: addresses.gateway,
    routerUplink,
    isp,
    server: addresses.vpnExit,
    serverPort: 1194,
    web: addresses.web,
    resolver: '9.9.9.9',
    tunnel: '10.8.0.2',
    caller: { address: addresses.web, port: 40_000, forwardedPort: carriesIpv6 ? webPort : 4666 },
  };
  const ispDevice = await findLink(ispNamespace, isp);
  let serverRuns = true;
  let uplinkIsConnected = true;
  const routerName = world.nameOf('router');
  const log = async () => (await world.logs('router')).trim().split('\n').slice(-12).join('\n');
  const ground: Ground = {
    scene,
    backend,
    client,
    clientDevice: await findLink(client, scene.client),
    isp: ispNamespace,
    ispDevice,
    catcher: await openCatcher({
      // The machine's own, where Docker's bridges are.
      ns: ownNamespace(),
      device: 'ubdemo-uplink',
      routers: [routerUplink, laterUplink],
      isp: ispDevice.mac,
      scene,
    }),
    naive: await makeNaive(await startNaive(engine), { address: isp, mac: ispDevice.mac }),
    router: () => world.enter('router'),
    pidOf: (program) => world.pidOf('router', program),
    knownMacs: async () => [(await findLink(await world.enter('router'), '172.22.0.')).mac],
    // test/image/world.yaml
    givenMac: '02:42:ac:16:00:01',
    boot: async () => {
      await engine.docker('rm', '--force', '--volumes', routerName);
      await world.startRouter();
    },
    killDaemon: async () => {
      process.kill(await world.pidOf('router', 'node-MainThread'), 'SIGKILL');
    },
    untilCarried: async () => {
      if (carriesIpv6) return until(() => isIpv6Carried(client), patienceSeconds * 1_000, log);
      const { how, exitAddress } = await tryUntil(world, {
        service: 'client1',
        how: 'answered',
        seconds: patienceSeconds,
      });
      if (how !== 'answered' || exitAddress !== vpnExit)
        throw new Error(`a client is not carried after ${patienceSeconds} s: ${how} ${exitAddress}\n${await log()}`);
    },
    server: {
      kill: async () => {
        await world.docker('provider', 'kill', '--signal', 'KILL');
        serverRuns = false;
      },
      start: async (push = []) => {
        if (serverRuns) return;
        await world.docker('provider', 'start');
        await world.awaitHealth('provider');
        serverRuns = true;
        await ipv6World?.restoreProvider();
        // OpenVPN reads the file of a customer whenever he connects.
        const lines = push.map((option) => `push "${option}"\n`).join('');
        const { code, stderr } = await world.exec(
          'provider',
          ...['sh', '-c', 'printf %s "$1" >>/run/customers/demo', 'sh', lines],
        );
        if (code !== 0) throw new Error(stderr);
      },
    },
    uplink: {
      restoreIpv6: async () => {
        const router = await world.enter('router');
        const { uplink } = await devicesOf(router);
        await router.run('ip', 'addr', 'replace', `${ipv6Addresses.routerUplink}/64`, 'dev', uplink, 'nodad');
      },
      disconnect: async () => {
        if (uplinkIsConnected) await engine.docker('network', 'disconnect', networks.uplink, routerName);
        uplinkIsConnected = false;
      },
      connect: async (address) => {
        const ipv6 = carriesIpv6 ? ['--ip6', ipv6Addresses.routerUplink] : [];
        await engine.docker('network', 'connect', '--ip', address, ...ipv6, networks.uplink, routerName);
        uplinkIsConnected = true;
      },
    },
    startCaller: async (over) => {
      const { address, port, forwardedPort } = scene.caller;
      const program = join(import.meta.dirname, '../leaks/caller.ts');
      const [from, own, router] =
        over === 'ipv4' ? [web, address, scene.server] : [await world.enter('provider'), ula.caller, ula.tunnel];
      const caller = from.start({}, 'node', program, own, `${port}`, router, `${forwardedPort}`);
      await caller.says('answered');
      return caller;
    },
    container: {
      restart: async () => {
        await world.docker('router', 'restart');
      },
      kill: async () => {
        process.kill(await world.pidOf('router', 'tini'), 'SIGKILL');
      },
    },
    log,
  };
  return { ground, world };
}

/** A container beside the router, on the same networks. */
async function startNaive(engine: Engine) {
  const options = ['--detach', '--name', naiveName, '--cap-add', 'NET_ADMIN', '--network', networks.isolated];
  await engine.docker('run', ...options, '--ip', '172.22.0.3', demoImage, 'sleep', 'infinity');
  await engine.docker('network', 'connect', '--ip', '198.51.100.3', networks.uplink, naiveName);
  return joinNamespace(Number(await engine.docker('inspect', '--format', '{{.State.Pid}}', naiveName)));
}

async function addressOf(world: World): Promise<string> {
  const format = `{{(index .NetworkSettings.Networks "${networks.isolated}").IPAddress}}`;
  return world.docker('client1', 'inspect', '--format', format);
}
