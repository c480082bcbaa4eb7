import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type CauseLab, type Failure, newClient, newServer, staticKey } from './causes.ts';
import { pidsIn } from './namespace.ts';
import { findWrongPassphrase, type PassphraseError } from './passphrase.ts';
import { pushUpdate } from './push-update.ts';
import { addresses, type ServerOptions, startResolver, type World } from './world.ts';

/** A profile that believes another authority. */
function believing(text: string, { other }: CauseLab): string {
  return text.replace(/<ca>[\s\S]*<\/ca>/, `<ca>\n${other.ca.trim()}\n</ca>`);
}

/** A server of the other authority. */
const otherServer = (lab: CauseLab) => certifiedBy(lab, 'server.crt');

function certifiedBy({ other: { folder } }: CauseLab, certificate: string): ServerOptions {
  const files = { cert: certificate, key: 'server.key', ca: 'ca.crt' };
  return { args: Object.entries(files).flatMap(([option, file]) => [`--${option}`, join(folder, file)]) };
}

async function killOpenvpn(world: World, signal: NodeJS.Signals): Promise<void> {
  const [pid] = await pidsIn(world.router, 'openvpn');
  process.kill(Number(pid), signal);
}

/** All that keeps a server from answering looks the same from here. */
const silence =
  /^203\.0\.113\.10:1194\/udp does not answer: it is down, something blocks the way, or the profile has a wrong port or tls-auth or tls-crypt key$/;

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
    mended: otherServer,
  },
  {
    name: 'expired certificate',
    code: 'certificate-expired',
    says: /^the certificate of server has expired$/,
    profile: (lab) => believing(lab.udp, lab),
    server: (lab) => certifiedBy(lab, 'expired.crt'),
    noticedMs: 1_500,
    mended: otherServer,
  },
  {
    name: 'certificate of another server',
    code: 'certificate-refused',
    says: /^the server's certificate is not the one that the profile asks for: CN=server, must be somebody$/,
    profile: ({ udp }) => `${udp}verify-x509-name somebody name\n`,
    noticedMs: 1_500,
    isOfProfile: true,
  },
  {
    name: 'network that cannot be reached',
    code: 'unreachable',
    says: /^there is no way to 203\.0\.113\.10:1194\/udp: the network says that it cannot be reached$/,
    before: async ({ world }) => void (await world.isp.run('ip', 'route', 'add', 'unreachable', addresses.server)),
    restored: async ({ world }) => void (await world.isp.run('ip', 'route', 'del', 'unreachable', addresses.server)),
    noticedMs: 1_500,
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
    says: silence,
    before: async (_, server) => server?.signal('SIGSTOP'),
    noticedMs: 5_500,
  },
  {
    name: 'tls-crypt key that is not the one of the server',
    code: 'server-silent',
    says: silence,
    profile: ({ udp }) => `${udp}<tls-crypt>\n${staticKey(1)}</tls-crypt>\n`,
    server: ({ folder }) => ({ args: ['--tls-crypt', join(folder, 'static.key')] }),
    noticedMs: 5_500,
    mended: ({ folder }) => ({ args: ['--tls-crypt', join(folder, 'wrong.key')] }),
  },
  {
    name: 'tls-auth key that is not the one of the server',
    code: 'server-silent',
    says: silence,
    profile: ({ udp }) => `${udp}<tls-auth>\n${staticKey(1)}</tls-auth>\n`,
    server: ({ folder }) => ({ args: ['--tls-auth', join(folder, 'static.key')] }),
    noticedMs: 5_500,
    mended: ({ folder }) => ({ args: ['--tls-auth', join(folder, 'wrong.key')] }),
  },
  {
    name: 'tls-crypt key that is not the one of the server, by TCP',
    code: 'server-closed',
    says: /^203\.0\.113\.10:1194\/tcp closed the connection$/,
    profile: ({ tcp }) => `${tcp}<tls-crypt>\n${staticKey(1)}</tls-crypt>\n`,
    server: ({ folder }) => ({ transport: 'tcp', args: ['--tls-crypt', join(folder, 'static.key')] }),
    noticedMs: 5_500,
    mended: ({ folder }) => ({ transport: 'tcp', args: ['--tls-crypt', join(folder, 'wrong.key')] }),
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
    restored: async ({ world }) => {
      const name = `--address=/vpn.example.test/${addresses.server}`;
      await startResolver(world.isp, addresses.isp, name).says('started');
    },
    after: async ({ world }) => {
      for (const pid of await pidsIn(world.isp, 'dnsmasq')) process.kill(Number(pid), 'SIGKILL');
      await rm(`/etc/netns/${world.router.name}`, { recursive: true });
    },
    noticedMs: 9_500,
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
    mended: () => ({ args: ['--data-ciphers', 'AES-128-CBC'] }),
  },
  {
    name: 'tls-crypt key of a server that has none',
    code: 'tls-mismatch',
    says: /do not agree on TLS: the key of tls-auth or tls-crypt is not the one of the server$/,
    profile: ({ udp }) => `${udp}<tls-crypt>\n${staticKey(1)}</tls-crypt>\n`,
    noticedMs: 5_500,
    mended: ({ folder }) => ({ args: ['--tls-crypt', join(folder, 'wrong.key')] }),
  },
  {
    name: 'option that OpenVPN does not take',
    code: 'option-error',
    says: /^cause\.ovpn:\d+: OpenVPN does not take auth \(Message hash algorithm 'NONSENSE' not found\)$/,
    profile: ({ udp }) => `${udp}auth NONSENSE\n`,
    noticedMs: 1_500,
    isOfProfile: true,
  },
  {
    name: 'passphrase that does not open the key',
    code: 'key-passphrase',
    says: /^the passphrase does not open the private key of cause\.ovpn$/,
    profile: ({ udp, lockedKey }) => `${udp}${lockedKey}askpass passphrase\n`,
    before: (lab) => writePassphrase(lab, 'ERR_OSSL_BAD_DECRYPT'),
    noticedMs: 1_500,
    isOfProfile: true,
  },
  {
    name: 'passphrase that makes nonsense of the key',
    code: 'key-passphrase',
    says: /^the passphrase does not open the private key of cause\.ovpn$/,
    profile: ({ udp, lockedKey }) => `${udp}${lockedKey}askpass passphrase\n`,
    before: (lab) => writePassphrase(lab, 'ERR_OSSL_UNSUPPORTED'),
    noticedMs: 1_500,
    isOfProfile: true,
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
    name: 'server that starts anew and gives another address',
    code: 'server-refuses',
    says: /^nothing listens at 203\.0\.113\.10:1194\/udp$/,
    toTunnel: async (_, server) => server.signal('SIGKILL'),
    mended: () => ({ subnet: ['10.9.0.0', '255.255.255.0'] }),
    address: '10.9.0.2',
    noticedMs: 2_500,
  },
  {
    name: 'server that changes the address to one of the isolated network (PUSH_UPDATE)',
    code: 'address-conflict',
    says: /^the server gave 172\.22\.0\.77, which belongs to the isolated network$/,
    env: newClient,
    server: newServer,
    toTunnel: ({ newOpenvpn: { socket } }) => pushUpdate(socket, 'ifconfig 172.22.0.77 255.255.255.0'),
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

async function writePassphrase({ folder, lockedKey }: CauseLab, error: PassphraseError): Promise<void> {
  const [key = ''] = /-----BEGIN ENCRYPTED[\s\S]*PRIVATE KEY-----/.exec(lockedKey) ?? [];
  await writeFile(join(folder, 'passphrase'), findWrongPassphrase(key, error));
}
