import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { addresses, makeWorld, type World } from './lab/world.ts';

// What can be known at the start is told then, in one sentence. Root and a network namespace; the router as it is.
let world: World;

before(async () => {
  world = await makeWorld();
  await mkdir(join(world.folder, 'empty'));
  const text = await readFile(join(world.folder, 'client.ovpn'), 'utf8');
  const write = (name: string, profile: string) => writeFile(join(world.folder, name), profile);
  await write('astray.ovpn', text.replace(/^remote .*$/m, 'remote 172.22.0.50\nremote fd00::1'));
  await write('nowhere.ovpn', text.replace(/^remote .*$/m, ''));
  await write('cipher.ovpn', `${text}data-ciphers AES-256-GCM:AES-257-GCM\n`);
  await write('code.ovpn', `${text}static-challenge "Code of the app" 1\n`);
  await write('words.totp', 'correct horse battery staple');
});
after(() => world.remove());

interface BadInput {
  readonly given: string;
  /** Files by their names in the world's folder. */
  readonly files: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  readonly says: RegExp;
}

const inputs: readonly BadInput[] = [
  {
    given: 'a profile whose remotes are all unusable',
    files: { CONFIG: 'astray.ovpn' },
    says: /^astray\.ovpn:4="172\.22\.0\.50": the VPN server is inside the isolated network 172\.22\.0\.0\/24\. Use /,
  },
  {
    given: 'a profile without a remote',
    files: { CONFIG: 'nowhere.ovpn' },
    says: /^nowhere\.ovpn: names no server\. Add /,
  },
  {
    given: 'a folder without profiles',
    files: { CONFIG: 'empty' },
    says: /^CONFIG: there is no \.ovpn or \.conf file in \S+\/empty\. Put your profiles into it\.$/,
  },
  {
    given: 'a cipher that nobody knows',
    files: { CONFIG: 'cipher.ovpn' },
    says: /^cipher\.ovpn:\d+="data-ciphers AES-256-GCM:AES-257-GCM": names a cipher that OpenVPN does not know\. Write /,
  },
  {
    given: 'a TOTP secret that is not base32',
    files: { TOTP_SECRET_FILE: 'words.totp' },
    says: /^TOTP_SECRET_FILE: the TOTP secret is not base32: 25 characters are one too many or too few\. Give /,
  },
  {
    given: 'two TOTP secrets',
    files: { TOTP_SECRET_FILE: 'words.totp' },
    env: { TOTP_SECRET: 'JBSWY3DPEHPK3PXP' },
    says: /^TOTP_SECRET: is set, and so is TOTP_SECRET_FILE\. Keep one of the two\.$/,
  },
  {
    given: 'a server that asks for codes, and no TOTP secret',
    files: { CONFIG: 'code.ovpn' },
    says: /^code\.ovpn:\d+: the server asks for a one-time code at every login, and there is no TOTP secret\. Put /,
  },
  {
    given: 'a standby without a second profile',
    files: {},
    env: { STANDBY: 'on' },
    says: /^STANDBY="on": there is only one profile, and the second tunnel needs another one\. Name two profiles /,
  },
];

test('tells what the settings want together with what the networks lack', async () => {
  const router = world.startRouter({ IP_ADDR: '172.29.0.1/24', STANDBY: 'on', PORT_FWD: 'web:80' });
  assert.equal((await router.process.exited).exitCode, 1);
  const names = router.output().match(/^ {2}[A-Z_]+/gm);
  assert.deepEqual(names, ['  PORT_FWD', '  STANDBY', '  IP_ADDR'], router.output());
});

test('reads a list of profiles as one, also where another setting is faulty', async () => {
  const profile = join(world.folder, 'client.ovpn');
  const router = world.startRouter({ CONFIG: `${profile}, ${join(world.folder, 'nowhere.ovpn')}`, DNS: 'resolver' });
  assert.equal((await router.process.exited).exitCode, 1);
  const names = router.output().match(/^ {2}[\w.]+/gm);
  assert.deepEqual(names, ['  DNS', '  nowhere.ovpn'], router.output());
});

test('tells of secrets, of a missing profile and of targets that are its own address while a setting is faulty, too', async () => {
  const router = world.startRouter({
    DNS: 'resolver',
    STANDBY: 'on',
    CONTROL_TOKEN_FILE: join(world.folder, 'empty'),
    TOTP_SECRET_FILE: join(world.folder, 'words.totp'),
    OPENVPN_CREDENTIALS_FILE: join(world.folder, 'none'),
    PORT_FWD: `${addresses.routerLan}:4666, ${addresses.routerLan}:4667`,
    LAN_ALLOW_IN: `192.168.1.0/24:tcp/80:${addresses.routerLan}, 192.168.1.0/24:tcp/9797:${addresses.client}`,
    HEALTH_ADDR: '0.0.0.0:9797',
  });
  assert.equal((await router.process.exited).exitCode, 1);
  const names = router.output().match(/^ {2}[A-Z]\w+/gm);
  const told = [
    'DNS',
    'LAN_ALLOW_IN',
    'OPENVPN_CREDENTIALS_FILE',
    'TOTP_SECRET_FILE',
    'CONTROL_TOKEN_FILE',
    'PORT_FWD',
    'LAN_ALLOW_IN',
  ];
  assert.deepEqual(
    names,
    [...told, 'STANDBY'].map((name) => `  ${name}`),
    router.output(),
  );
});

test("refuses targets that are the router's own address", async () => {
  const router = world.startRouter({
    PORT_FWD: `${addresses.routerLan}:4666, ${addresses.client}:4667`,
    PORT_FWD_DYNAMIC: `natpmp:${addresses.routerLan}:80`,
    PORT_FWD_HOOK: `http://${addresses.routerLan}/{port}`,
    LAN_ALLOW_IN: `192.168.1.0/24:tcp/80:${addresses.routerLan}`,
  });
  assert.equal((await router.process.exited).exitCode, 1);
  const own = `="${addresses.routerLan}": leads to the router's own address in the isolated network, where no container is.`;
  const lines = router
    .output()
    .split('\n')
    .filter((line) => line.includes(own));
  const names = lines.map((line) => line.trim().slice(0, line.trim().indexOf('=')));
  assert.deepEqual(names, ['PORT_FWD', 'PORT_FWD_DYNAMIC', 'PORT_FWD_HOOK', 'LAN_ALLOW_IN'], router.output());
});

for (const { given, files, env, says } of inputs) {
  test(`refuses ${given} with one sentence`, async () => {
    const paths = Object.entries(files).map(([name, file]) => [name, join(world.folder, file)]);
    const router = world.startRouter({ ...Object.fromEntries(paths), ...env });
    assert.equal((await router.process.exited).exitCode, 1);
    const [heading, problem = '', ...others] = router.output().trim().split('\n');
    assert.equal(heading, 'the router cannot start: 1 problem', router.output());
    assert.match(problem.trim(), says);
    assert.deepEqual(others, []);
  });
}
