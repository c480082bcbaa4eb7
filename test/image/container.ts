import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Ran } from '../../compose/proof/transcript.ts';
import { makePki } from '../kernel/lab/pki.ts';
import type { Engine } from '../lab/engine.ts';
import { image } from './apart.ts';
import { runFor } from './world.ts';

/** One router container, told by `docker` alone. */
export interface ContainerRun {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly networks: readonly string[];
  /** A folder of `Files`, mounted as /config. */
  readonly config?: string | undefined;
  /** A file of `Files`, mounted as /run/secrets/openvpn_credentials. */
  readonly credentials?: string | undefined;
  readonly capabilities: readonly string[];
  readonly device: 'tun' | 'none';
  readonly ipForward: 0 | 1;
  /** What is run in the image; absent: the router. */
  readonly command?: readonly string[];
  readonly entrypoint?: string;
}

export const networks = { isolated: 't-isolated', taken: 't-taken', uplink: 't-uplink' } as const;

/** A router that has all it needs but a VPN server that answers. */
export const goodRun: ContainerRun = {
  env: { IP_ADDR: '172.22.0.1/24', DNS: '9.9.9.9' },
  networks: [networks.isolated, networks.uplink],
  config: 'good',
  credentials: 'credentials',
  capabilities: ['NET_ADMIN', 'SETUID', 'SETGID'],
  device: 'tun',
  ipForward: 0,
};

/** Profiles and credentials on the machine, in a folder that engines can mount. */
export interface Files {
  readonly folder: string;
  readonly remove: () => Promise<void>;
}

/** Makes an isolated network by the recipe, one without a reserved gateway address, and an uplink. */
export async function makeNetworks(engine: Engine): Promise<void> {
  const routed = ['inhibit_ipv4=true', 'enable_ip_masquerade=false'].flatMap((option) => [
    '--opt',
    `com.docker.network.bridge.${option}`,
  ]);
  const make = (name: string, ...args: readonly string[]) => engine.docker('network', 'create', ...args, name);
  const gateway = ['--aux-address', 'DefaultGatewayIPv4=172.22.0.1', '--gateway', '172.22.0.254'];
  await make(networks.isolated, ...routed, '--subnet', '172.22.0.0/24', ...gateway);
  await make(networks.taken, ...routed, '--subnet', '172.23.0.0/24', '--gateway', '172.23.0.254');
  await make(networks.uplink, '--subnet', '10.77.0.0/24');
}

/** Writes the profile folders that a test names, besides `good` and `credentials`. */
export async function makeFiles(folders: Readonly<Record<string, Readonly<Record<string, string>>>>): Promise<Files> {
  const pki = await makePki();
  const folder = await mkdtemp(join(tmpdir(), 'underbridge-image-'));
  const profile = profileOf(pki.ca);
  const all = { good: { 'client.ovpn': profile }, ...folders };
  for (const [name, files] of Object.entries(all)) {
    await mkdir(join(folder, name), { recursive: true });
    for (const [file, text] of Object.entries(files)) {
      await writeFile(join(folder, name, file), text.replace('PROFILE\n', profile));
    }
  }
  await writeFile(join(folder, 'credentials'), 'somebody\nsecret of a run\n');
  return {
    folder,
    remove: async () => {
      for (const path of [folder, pki.folder]) await rm(path, { recursive: true, force: true });
    },
  };
}

function profileOf(ca: string): string {
  const lines = [
    'client',
    'dev tun',
    'proto udp',
    'remote 203.0.113.10 1194',
    'auth-user-pass',
    'remote-cert-tls server',
  ];
  return `${[...lines, '<ca>', ca.trim(), '</ca>'].join('\n')}\n`;
}

/** Creates a container and attaches it to all its networks; it does not run yet. Returns its id. */
export async function createContainer(engine: Engine, files: Files, run: ContainerRun): Promise<string> {
  const [first = 'none', ...others] = run.networks;
  const mount = (source: string, target: string) => ['--volume', `${join(files.folder, source)}:${target}:ro`];
  const id = await engine.docker(
    ...['create', '--network', first, '--cap-drop', 'ALL', '--read-only', '--tmpfs', '/run', '--tmpfs', '/tmp'],
    ...['--security-opt', 'no-new-privileges:true', '--sysctl', `net.ipv4.ip_forward=${run.ipForward}`],
    ...run.capabilities.flatMap((name) => ['--cap-add', name]),
    ...(run.device === 'tun' ? ['--device', '/dev/net/tun'] : []),
    ...(run.config === undefined ? [] : mount(run.config, '/config')),
    ...(run.credentials === undefined ? [] : mount(run.credentials, '/run/secrets/openvpn_credentials')),
    ...Object.entries(run.env).flatMap(([name, value]) => (value === undefined ? [] : ['--env', `${name}=${value}`])),
    ...(run.entrypoint === undefined ? [] : ['--entrypoint', run.entrypoint]),
    image,
    ...(run.command ?? []),
  );
  for (const network of others) await engine.docker('network', 'connect', network, id);
  return id;
}

/** Runs a container to its end, or for 30 seconds; it is removed afterwards. */
export async function runContainer(engine: Engine, files: Files, run: ContainerRun): Promise<Ran> {
  const id = await createContainer(engine, files, run);
  try {
    return await runFor(engine, ['docker', 'start', '--attach', id], { timeoutMs: 30_000 });
  } finally {
    await engine.docker('rm', '--force', id);
  }
}
