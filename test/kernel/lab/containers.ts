import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LabProcess, Namespace } from './namespace.ts';
import type { World } from './world.ts';

const dockerResolver = '127.0.0.11';

/** What stands for Docker's resolver in the router's namespace: dnsmasq at its address, with names that move. */
export interface Containers {
  /** What the router's `resolv.conf` says of names of one word that nobody knows. */
  readonly setNdots: (ndots: number) => Promise<void>;
  /** From now on these are there, and no others. */
  readonly place: (addresses: Readonly<Record<string, string>>) => Promise<void>;
  /** Every name that was asked for, in order. */
  readonly asked: () => readonly string[];
  readonly remove: () => Promise<void>;
}

export async function startContainers({ router, folder }: World): Promise<Containers> {
  // `ip netns exec` lays it over /etc/resolv.conf.
  const netns = join('/etc/netns', router.name);
  const hosts = join(folder, 'containers');
  const setNdots = (ndots: number) =>
    writeFile(join(netns, 'resolv.conf'), `nameserver ${dockerResolver}\noptions ndots:${ndots}\n`);
  await mkdir(netns, { recursive: true });
  await setNdots(1);
  await writeFile(hosts, '');
  const resolver = router.start(
    {},
    'dnsmasq',
    ...['--no-daemon', '--no-resolv', '--no-hosts', '--conf-file=/dev/null', '--bind-interfaces', '--user=root'],
    ...[
      `--listen-address=${dockerResolver}`,
      `--addn-hosts=${hosts}`,
      '--local=/#/',
      '--log-queries',
      '--log-facility=-',
    ],
  );
  // Before that a SIGHUP would end it.
  await resolver.says('read /');
  return {
    setNdots,
    place: async (addresses) => {
      const lines = Object.entries(addresses).map(([name, address]) => `${address} ${name}\n`);
      await writeFile(hosts, lines.join(''));
      resolver.kill('SIGHUP');
    },
    asked: () => [...resolver.output().matchAll(/query\[\w+\] (\S+) from/g)].map(([, name = '']) => name),
    remove: () => rm(netns, { recursive: true, force: true }),
  };
}

/** Answers TCP with its name, and every datagram, on one port of all addresses of both families. */
export function startNamed(ns: Namespace, name: string, port: number): LabProcess {
  const program = `
    require('node:net').createServer((socket) => socket.on('error', () => 0).end('${name}')).listen(${port});
    const udp = require('node:dgram').createSocket('udp6');
    udp.on('message', (message, from) => udp.send('${name}', from.port, from.address));
    udp.bind(${port});`;
  return ns.start({}, 'node', '-e', program);
}

/** Datagrams from one port, ten a second; its output has the name of whoever answered each. */
export function startTalk(ns: Namespace, address: string, port: number): LabProcess {
  const program = `
    const udp = require('node:dgram').createSocket('${address.includes(':') ? 'udp6' : 'udp4'}');
    udp.on('message', (name) => console.log(String(name)));
    setInterval(() => udp.send('x', ${port}, '${address}'), 100);`;
  return ns.start({}, 'node', '-e', program);
}

/** Waits until something is so, and gives how long that took, in milliseconds. */
export async function until(what: string, isSo: () => Promise<boolean> | boolean, limitMs: number): Promise<number> {
  const fromMs = performance.now();
  while (!(await isSo())) {
    if (performance.now() - fromMs > limitMs) throw new Error(`not in ${limitMs} ms: ${what}`);
    await sleep(50);
  }
  return performance.now() - fromMs;
}

/** Who answers a TCP connection, or the error's code. */
export async function whoAnswers(from: Namespace, address: string, port: number): Promise<string> {
  const program = `
    const socket = require('node:net').connect({ host: '${address}', port: ${port}, timeout: 1500 });
    socket.on('data', (name) => console.log(String(name)));
    socket.on('timeout', () => socket.destroy(Object.assign(new Error(), { code: 'TIMEOUT' })));
    socket.on('error', ({ code }) => console.log(code));`;
  return (await from.attempt('node', '-e', program)).stdout.trim();
}
