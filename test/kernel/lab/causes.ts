import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { ensureNewOpenvpn } from '../../lab/openvpn.ts';
import { startFlood } from './client.ts';
import { makePki, type Pki } from './pki.ts';
import { addresses, ports, type RunningRouter, type RunningServer, type ServerOptions, type World } from './world.ts';

/** One way in which a tunnel fails, as a real server, network or person brings it about. */
export interface Failure {
  readonly name: string;
  readonly code: string;
  /** The sentence that people get. */
  readonly says: RegExp;
  /** The profile, made of the good one. */
  readonly profile?: (lab: CauseLab) => string;
  readonly env?: (lab: CauseLab) => Readonly<Record<string, string>>;
  /** The server that the router meets; `none`: nothing listens. */
  readonly server?: ((lab: CauseLab) => ServerOptions) | 'none';
  /** What happens: before the router starts, or to a tunnel that works. */
  readonly before?: (lab: CauseLab, server: RunningServer | undefined) => Promise<void>;
  readonly toTunnel?: (lab: CauseLab, server: RunningServer) => Promise<void>;
  /** Mends the network, where that was bad and not the server. */
  readonly restored?: (lab: CauseLab) => Promise<void>;
  /** Takes back what was done to the machine. */
  readonly after?: (lab: CauseLab) => Promise<void>;
  /** The tunnel's address once it is healed. */
  readonly address?: string;
  /** Longest time to notice, in milliseconds: from the start of the attempt, or from what happened to the tunnel. */
  readonly noticedMs: number;
  /** The server that makes it good; the ordinary one of that protocol unless told. */
  readonly mended?: (lab: CauseLab) => ServerOptions;
  /** No server makes it good: a person has to change the profile, and have the router read it again. */
  readonly isOfProfile?: true;
}

/** A world with all that failures are made of. */
export interface CauseLab {
  readonly world: World;
  readonly folder: string;
  readonly tokenFile: string;
  /** The good profile over UDP and TCP. */
  readonly udp: string;
  readonly tcp: string;
  /** Another authority, and a server of it. */
  readonly other: Pki;
  readonly scripts: { readonly refusing: string; readonly deferring: string };
  /** An encrypted key with its certificate, of the passphrase `right`. */
  readonly lockedKey: string;
  /** OpenVPN 2.7: a folder for the front of a PATH, and the management socket of a server that was started with it. */
  readonly newOpenvpn: { readonly folder: string; readonly socket: string };
}

const token = 'canary-of-control-0123456789';

export async function makeCauseLab(world: World): Promise<CauseLab> {
  const folder = join(world.folder, 'causes');
  await mkdir(folder);
  const other = await makePki();
  const script = async (name: string, reason: string) => {
    const path = join(folder, name);
    await writeFile(path, `#!/bin/sh\necho "${reason}" > "$auth_failed_reason_file"\nexit 1\n`, { mode: 0o755 });
    return path;
  };
  const inFolder = (...args: readonly string[]) => execa('openssl', args, { cwd: other.folder });
  const sign = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial'];
  await inFolder(
    'x509',
    '-req',
    '-in',
    'server.csr',
    ...sign,
    '-days',
    '-1',
    '-extfile',
    'server.ext',
    '-out',
    'expired.crt',
  );
  await inFolder(
    ...['req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-passout', 'pass:right'],
    ...['-keyout', 'client.key', '-out', 'client.csr', '-subj', '/CN=client'],
  );
  await inFolder('x509', '-req', '-in', 'client.csr', ...sign, '-days', '2', '-out', 'client.crt');
  const read = (name: string) => readFile(join(other.folder, name), 'utf8');
  const tokenFile = join(folder, 'token');
  await writeFile(tokenFile, token);
  await writeFile(join(folder, 'static.key'), staticKey(0));
  await writeFile(join(folder, 'wrong.key'), staticKey(1));
  return {
    world,
    folder,
    tokenFile,
    udp: await readFile(join(world.folder, 'client.ovpn'), 'utf8'),
    tcp: await readFile(join(world.folder, 'client-tcp.ovpn'), 'utf8'),
    other,
    scripts: {
      refusing: await script('refusing', "account 'x' has ended"),
      deferring: await script('deferring', 'TEMP[backoff 3]:too many sessions'),
    },
    newOpenvpn: { folder: await ensureNewOpenvpn(), socket: join(folder, 'server.sock') },
    lockedKey: `<cert>\n${await read('client.crt')}</cert>\n<key>\n${await read('client.key')}</key>\n`,
  };
}

/** A server of OpenVPN 2.7, which can change the tunnels of its clients; and a router with it. */
export function newServer({ newOpenvpn: { folder, socket } }: CauseLab): ServerOptions {
  return { program: join(folder, 'openvpn'), args: ['--management', socket, 'unix'] };
}

export function newClient({ newOpenvpn: { folder } }: CauseLab): Readonly<Record<string, string>> {
  return { PATH: `${folder}:${process.env.PATH}` };
}

/** What was seen of a failure. Times in milliseconds. */
export interface Outcome {
  /** Of the first attempt that failed, or of the tunnel's end. */
  readonly cause: { readonly code: string; readonly text: string; readonly hint: string };
  /** From the start of the attempt, or from what happened to the tunnel, until it was known. */
  readonly noticedMs: number;
  /** From a good server, network or profile, or from what happened where the server was good all the time, to a healthy tunnel. */
  readonly healedMs: number;
  /** The tunnel's address then. */
  readonly address: unknown;
  readonly leaked: number;
  readonly log: string;
}

/** Brings a failure about under a client's flood, and heals it. */
export async function provoke(lab: CauseLab, failure: Failure): Promise<Outcome> {
  const { world, folder } = lab;
  const path = join(folder, 'cause.ovpn');
  await writeFile(path, failure.profile?.(lab) ?? lab.udp);
  const options = failure.server === 'none' ? undefined : (failure.server?.(lab) ?? {});
  let server = options === undefined ? undefined : await world.startServer(options);
  await failure.before?.(lab, server);
  await world.forgetLeaks();
  const flood = startFlood(world.client, addresses.web, ports.web, 20);
  const router = world.startRouter({ CONFIG: path, CONTROL_TOKEN_FILE: lab.tokenFile, ...failure.env?.(lab) });
  try {
    let happenedMs: number | undefined;
    if (failure.toTunnel !== undefined && server !== undefined) {
      await router.untilHealthy();
      happenedMs = Date.now();
      await failure.toTunnel(lab, server);
    }
    const blocked = await untilSaid(router, / WARN: blocked (\{.*\})\n/);
    happenedMs ??= (await untilSaid(router, / INFO: (?:dialing|resolving)/)).atMs;
    const { cause: code, reason: text, hint } = JSON.parse(blocked.match[1] ?? '');
    const noticedMs = blocked.atMs - happenedMs;
    const isServerGood = failure.name.includes('OpenVPN') || failure.name.includes('device');
    if (failure.isOfProfile === undefined && !isServerGood) {
      await server?.stop();
      const isTcp = options?.transport === 'tcp' || failure.profile?.(lab) === lab.tcp;
      server = await world.startServer(failure.mended?.(lab) ?? (isTcp ? { transport: 'tcp' } : {}));
    }
    await failure.restored?.(lab);
    const fromMs = isServerGood && failure.isOfProfile === undefined ? happenedMs : Date.now();
    if (failure.isOfProfile) {
      await writeFile(path, lab.udp);
      const header = `authorization: Bearer ${token}`;
      await world.router.run('curl', '-sf', '-X', 'POST', '-H', header, 'http://127.0.0.1:9797/control/reload');
    }
    await router.untilHealthy(75_000);
    const healedMs = Date.now() - fromMs;
    const { tunnelAddress: address } = await router.health();
    flood.kill('SIGTERM');
    const leaked = await world.leaked();
    return {
      cause: { code, text, hint },
      noticedMs,
      healedMs,
      address,
      leaked,
      log: router.output(),
    };
  } finally {
    flood.kill('SIGTERM');
    await router.stop();
    await server?.stop();
    await failure.after?.(lab);
  }
}

/** A line of the log and its time; waits for it. */
async function untilSaid(
  router: RunningRouter,
  line: RegExp,
): Promise<{ readonly atMs: number; readonly match: RegExpExecArray }> {
  for (let waitedMs = 0; waitedMs < 25_000; waitedMs += 10) {
    const match = new RegExp(`^\\[([^\\]]*)\\].*?${line.source}`, 'm').exec(router.output());
    if (match !== null) {
      const [whole, time = '', ...groups] = match;
      return { atMs: Date.parse(time), match: Object.assign(match, [whole, ...groups]) };
    }
    await sleep(10);
  }
  throw new Error(`the router did not say ${line}:\n${router.output()}`);
}

/** A key that protects nothing: it is made of rows of one digit, which begin with this one. */
export function staticKey(first: number): string {
  const rows = Array.from({ length: 16 }, (_, row) => ((first + row) % 16).toString(16).repeat(32));
  return ['-----BEGIN OpenVPN Static key V1-----', ...rows, '-----END OpenVPN Static key V1-----', ''].join('\n');
}
