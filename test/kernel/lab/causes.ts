import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { startFlood } from './client.ts';
import { pidsIn } from './namespace.ts';
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
  /** Takes back what was done to the network. */
  readonly after?: (lab: CauseLab) => Promise<void>;
  /** Longest time to notice, in milliseconds: from the start of the attempt, or from what happened to the tunnel. */
  readonly noticedMs: number;
  /** It does not heal by itself once the server is good: a person has to change the profile or the network. */
  readonly isFinal?: true;
}

/** A world with all that failures are made of. */
export interface CauseLab {
  readonly world: World;
  readonly folder: string;
  /** The good profile over UDP and TCP. */
  readonly udp: string;
  readonly tcp: string;
  /** Another authority, and a server of it. */
  readonly other: Pki;
  readonly scripts: { readonly refusing: string; readonly deferring: string };
  /** An encrypted key with its certificate, of the passphrase `right`. */
  readonly lockedKey: string;
}

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
  return {
    world,
    folder,
    udp: await readFile(join(world.folder, 'client.ovpn'), 'utf8'),
    tcp: await readFile(join(world.folder, 'client-tcp.ovpn'), 'utf8'),
    other,
    scripts: {
      refusing: await script('refusing', "account 'x' has ended"),
      deferring: await script('deferring', 'TEMP[backoff 3]:too many sessions'),
    },
    lockedKey: `<cert>\n${await read('client.crt')}</cert>\n<key>\n${await read('client.key')}</key>\n`,
  };
}

/** What was seen of a failure. Times in milliseconds. */
export interface Outcome {
  /** Of the first attempt that failed, or of the tunnel's end. */
  readonly cause: { readonly code: string; readonly text: string; readonly hint: string };
  /** From the start of the attempt, or from what happened to the tunnel, until it was known. */
  readonly noticedMs: number;
  /** From a good server, or from what happened where the server was good all the time, to a healthy tunnel. */
  readonly healedMs?: number;
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
  const router = world.startRouter({ CONFIG: path, ...failure.env?.(lab) });
  try {
    let happenedMs: number | undefined;
    if (failure.toTunnel !== undefined && server !== undefined) {
      await router.untilHealthy();
      happenedMs = Date.now();
      await failure.toTunnel(lab, server);
    }
    const blocked = await untilSaid(router, / WARN: blocked (\{.*\})/);
    happenedMs ??= (await untilSaid(router, / INFO: (?:dialing|resolving)/)).atMs;
    const { cause: code, reason: text, hint } = JSON.parse(blocked.match[1] ?? '');
    const noticedMs = blocked.atMs - happenedMs;
    let healedMs: number | undefined;
    if (failure.isFinal !== true) {
      const isServerGood = failure.name.includes('OpenVPN') || failure.name.includes('device');
      if (!isServerGood) {
        await server?.stop();
        server = await world.startServer(
          options?.transport === 'tcp' || failure.profile?.(lab) === lab.tcp ? { transport: 'tcp' } : {},
        );
      }
      const fromMs = isServerGood ? happenedMs : Date.now();
      await router.untilHealthy(20_000);
      healedMs = Date.now() - fromMs;
    }
    flood.kill('SIGTERM');
    const leaked = await world.leaked();
    return {
      cause: { code, text, hint },
      noticedMs,
      ...(healedMs === undefined ? {} : { healedMs }),
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

/** A profile that believes another authority. */
function believing(text: string, { other }: CauseLab): string {
  return text.replace(/<ca>[\s\S]*<\/ca>/, `<ca>\n${other.ca.trim()}\n</ca>`);
}

async function killOpenvpn(world: World, signal: NodeJS.Signals): Promise<void> {
  const [pid] = await pidsIn(world.router, 'openvpn');
  process.kill(Number(pid), signal);
}

/** An address that the provider's network answers for with an ICMP error. */
const nowhere = '203.0.113.77';

export const failures: readonly Failure[] = [
  {
    name: 'refused login, with the reason of the server',
    code: 'auth-failed',
    says: /^203\.0\.113\.10:1194\/udp did not take the user name and password: account 'x' has ended$/,
    server: ({ scripts }) => ({ args: ['--auth-user-pass-verify', scripts.refusing, 'via-file'] }),
    noticedMs: 1_500,
  },
  {
    name: 'login put off by the server',
    code: 'login-deferred',
    says: /puts the login off: too many sessions$/,
    server: ({ scripts }) => ({ args: ['--auth-user-pass-verify', scripts.deferring, 'via-file'] }),
    noticedMs: 1_500,
  },
  {
    name: 'certificate of another authority',
    code: 'wrong-ca',
    says: /^no authority of the profile has signed the certificate of test-ca \(self-signed certificate in certificate chain\)$/,
    profile: (lab) => believing(lab.udp, lab),
    noticedMs: 1_500,
    isFinal: true,
  },
  {
    name: 'expired certificate',
    code: 'certificate-expired',
    says: /^the certificate of server has expired$/,
    profile: (lab) => believing(lab.udp, lab),
    server: ({ other: { folder } }) => ({
      args: [
        '--cert',
        join(folder, 'expired.crt'),
        '--key',
        join(folder, 'server.key'),
        '--ca',
        join(folder, 'ca.crt'),
      ],
    }),
    noticedMs: 1_500,
    isFinal: true,
  },
  {
    name: 'certificate of another server',
    code: 'certificate-refused',
    says: /^the server's certificate is not the one that the profile asks for: CN=server, must be somebody$/,
    profile: ({ udp }) => `${udp}verify-x509-name somebody name\n`,
    noticedMs: 1_500,
    isFinal: true,
  },
  {
    name: 'network that cannot be reached',
    code: 'unreachable',
    says: /^there is no way to 203\.0\.113\.77:1194\/udp: the network says that it cannot be reached$/,
    profile: ({ udp }) => udp.replace(addresses.server, nowhere),
    before: async ({ world }) => void (await world.isp.run('ip', 'route', 'add', 'unreachable', nowhere)),
    after: async ({ world }) => void (await world.isp.run('ip', 'route', 'del', 'unreachable', nowhere)),
    noticedMs: 1_500,
    isFinal: true,
  },
  {
    name: 'port at which nothing listens',
    code: 'server-refuses',
    says: /^nothing listens at 203\.0\.113\.10:1194\/udp$/,
    server: 'none',
    noticedMs: 1_500,
  },
  {
    name: 'port at which nothing listens, by TCP',
    code: 'server-refuses',
    says: /^nothing listens at 203\.0\.113\.10:1194\/tcp$/,
    profile: ({ tcp }) => tcp,
    server: 'none',
    noticedMs: 1_500,
  },
  {
    name: 'silent server',
    code: 'server-silent',
    says: /^203\.0\.113\.10:1194\/udp does not answer$/,
    before: async (_, server) => server?.signal('SIGSTOP'),
    noticedMs: 5_500,
  },
  {
    name: 'name that cannot be resolved',
    code: 'resolve-failed',
    says: /^vpn\.example\.test cannot be resolved \(E\w+\)$/,
    profile: ({ udp }) => udp.replace(addresses.server, 'vpn.example.test'),
    before: async ({ world }) => {
      const netns = `/etc/netns/${world.router.name}`;
      await mkdir(netns, { recursive: true });
      await writeFile(`${netns}/resolv.conf`, `nameserver ${addresses.isp}\n`);
      // The question is the router's own, and nobody answers it.
      const dns = ['ip', 'daddr', addresses.isp, 'meta', 'l4proto', '{ tcp, udp }', 'th', 'dport', '53', 'accept'];
      await world.isp.run('nft', 'insert', 'rule', 'inet', 'isp', 'arriving', ...dns);
    },
    after: ({ world }) => rm(`/etc/netns/${world.router.name}`, { recursive: true }),
    noticedMs: 9_500,
    isFinal: true,
  },
  {
    name: 'TLS versions that do not meet',
    code: 'tls-mismatch',
    says: /^203\.0\.113\.10:1194\/udp answered, but broke off TLS before it showed its certificate$/,
    profile: ({ udp }) => `${udp}tls-version-min 1.3\n`,
    server: () => ({ args: ['--tls-version-max', '1.2'] }),
    noticedMs: 11_500,
  },
  {
    name: 'ciphers that do not meet',
    code: 'tls-mismatch',
    says: /^203\.0\.113\.10:1194\/udp takes none of the ciphers of cause\.ovpn:\d+$/,
    profile: ({ udp }) => `${udp}data-ciphers AES-128-CBC\n`,
    server: () => ({ args: ['--data-ciphers', 'AES-256-GCM'] }),
    noticedMs: 1_500,
    isFinal: true,
  },
  {
    name: 'tls-crypt key that the server does not have',
    code: 'tls-mismatch',
    says: /do not agree on TLS: the key of tls-auth or tls-crypt is not the one of the server$/,
    profile: ({ udp }) => `${udp}<tls-crypt>\n${tlsCryptKey}</tls-crypt>\n`,
    noticedMs: 5_500,
    isFinal: true,
  },
  {
    name: 'option that OpenVPN does not take',
    code: 'option-error',
    says: /^cause\.ovpn:\d+: OpenVPN does not take auth \(Message hash algorithm 'NONSENSE' not found\)$/,
    profile: ({ udp }) => `${udp}auth NONSENSE\n`,
    noticedMs: 1_500,
    isFinal: true,
  },
  {
    name: 'passphrase that does not open the key',
    code: 'key-passphrase',
    says: /^the passphrase does not open the private key of cause\.ovpn$/,
    profile: ({ udp, lockedKey }) => `${udp}${lockedKey}askpass passphrase\n`,
    before: async ({ folder }) => void (await writeFile(join(folder, 'passphrase'), 'wrong\n')),
    noticedMs: 1_500,
    isFinal: true,
  },
  {
    name: 'address inside the isolated network',
    code: 'address-conflict',
    says: /^the server gave 172\.22\.0\.194, which belongs to the isolated network$/,
    server: () => ({ subnet: ['172.22.0.192', '255.255.255.192'] }),
    noticedMs: 1_500,
  },
  {
    name: 'address inside the uplink',
    code: 'address-conflict',
    says: /^the server gave 198\.51\.100\.194, which belongs to the uplink$/,
    server: () => ({ subnet: ['198.51.100.192', '255.255.255.192'] }),
    noticedMs: 1_500,
  },
  {
    name: 'server that says goodbye',
    code: 'server-closed',
    says: /^203\.0\.113\.10:1194\/udp told us to go \(server-pushed-connection-reset\)$/,
    server: () => ({ args: ['--explicit-exit-notify', '1'] }),
    toTunnel: async (_, server) => server.signal('SIGTERM'),
    noticedMs: 1_000,
  },
  {
    name: 'server that closes the connection',
    code: 'server-closed',
    says: /^203\.0\.113\.10:1194\/tcp closed the connection$/,
    profile: ({ tcp }) => tcp,
    server: () => ({ transport: 'tcp' }),
    toTunnel: async (_, server) => server.signal('SIGKILL'),
    noticedMs: 1_000,
  },
  {
    name: 'server that dies, and its machine says so',
    code: 'server-refuses',
    says: /^nothing listens at 203\.0\.113\.10:1194\/udp$/,
    toTunnel: async (_, server) => server.signal('SIGKILL'),
    noticedMs: 2_500,
  },
  {
    name: 'server that goes silent',
    code: 'tunnel-dead',
    says: /^the tunnel is connected, but nothing comes back through it$/,
    toTunnel: async (_, server) => server.signal('SIGSTOP'),
    noticedMs: 8_000,
  },
  {
    name: 'deleted tunnel device',
    code: 'tun-gone',
    says: /^the device tun0 was deleted$/,
    toTunnel: async ({ world }) => void (await world.router.run('ip', 'link', 'del', 'tun0')),
    noticedMs: 2_500,
  },
  {
    name: 'killed OpenVPN',
    code: 'openvpn-killed',
    says: /^something outside of the router ended OpenVPN \(SIGKILL\)$/,
    toTunnel: ({ world }) => killOpenvpn(world, 'SIGKILL'),
    noticedMs: 1_000,
  },
  {
    name: 'OpenVPN that somebody ended',
    code: 'openvpn-killed',
    says: /^something outside of the router ended OpenVPN \(SIGTERM\)$/,
    toTunnel: ({ world }) => killOpenvpn(world, 'SIGTERM'),
    noticedMs: 1_000,
  },
];

/** A key that opens nothing: it is made of zeros, and only of use to be the wrong one. */
const tlsCryptKey = [
  '-----BEGIN OpenVPN Static key V1-----',
  ...Array.from({ length: 16 }, (_, row) => `${row.toString(16).repeat(32)}`),
  '-----END OpenVPN Static key V1-----',
  '',
].join('\n');
