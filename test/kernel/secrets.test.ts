import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { allShown, argumentsIn, endpointOf, leaksOf } from './lab/endpoint.ts';
import { addresses, makeWorld, ports, type RunningRouter, type World } from './lab/world.ts';

// Every secret that a router can be given, and everything that it shows. Root and network namespaces; real OpenVPN on
// both ends, a proxy, and oathtool as judge of the codes.
const secrets = {
  username: 'canary-user "\\&<é',
  password: 'canary-password "\\&<é',
  passphrase: 'canary-of-the-key',
  proxyUser: 'canary-at-proxy',
  proxyPassword: 'canary"of\\proxy',
  totp: 'KRUGS4ZANFZSA5DIMUQGGYLOMFZHS',
  token: 'canary-of-control-0123456789',
} as const;
/** What OpenVPN and proxies make of them. */
const composed = [`${secrets.proxyUser}:${secrets.proxyPassword}`, `${secrets.username}\n${secrets.password}`];
const all = [...Object.values(secrets), ...composed];
/** Faulty ones are no less secret. */
const wrong = {
  password: 'canary-wrong-password',
  passphrase: 'canary-wrong-phrase',
  proxyPassword: 'canary-wrong-proxy',
  totp: 'KRUGS4ZANFZSA53SN5XGO',
  badTotp: 'canary-is-no-base32-1189',
  shortToken: 'canary-short',
} as const;

let world: World;
let folder: string;
let env: Readonly<Record<string, string>>;
before(async () => {
  world = await makeWorld();
  folder = join(world.folder, 'secrets');
  await mkdir(folder);
  const write = (name: string, text: string, mode = 0o600) => writeFile(join(folder, name), text, { mode });
  await write('login', `${secrets.username}\n${secrets.password}\n`);
  await write('passphrase', `${secrets.passphrase}\n`);
  await write('totp', `${secrets.totp}\n`);
  await write('token', `${secrets.token}\n`);
  const key = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-days', '2'];
  const files = ['-keyout', 'client.key', '-out', 'client.crt', '-subj', '/CN=client'];
  await execa('openssl', [...key, ...files, '-passout', `pass:${secrets.passphrase}`], { cwd: folder });
  await write('profile.ovpn', await profile(secrets.proxyPassword));
  await write(
    'verify',
    `#!/bin/sh
{ IFS= read -r user; IFS= read -r given; } < "$1"
encode() { printf '%s' "$1" | base64 --wrap=0; }
password=$(sed -n 2p ${folder}/login.right)
for moment in now '30 seconds ago'; do
  code=$(oathtool --totp --base32 --now="$moment" ${secrets.totp})
  [ "$given" = "SCRV1:$(encode "$password"):$(encode "$code")" ] && exit 0
done
printf 'AUTH_FAILED' > "$auth_failed_reason_file"
exit 1
`,
    0o755,
  );
  await write('login.right', `${secrets.username}\n${secrets.password}\n`);
  const { proxyUser, proxyPassword } = secrets;
  const args = ['http', addresses.thirdServer, `${ports.openvpn}`, proxyUser, proxyPassword];
  await world.server.start({}, 'node', join(import.meta.dirname, 'lab/proxy.ts'), ...args).says('listening');
  await world.startServer({
    transport: 'tcp',
    args: ['--auth-user-pass-verify', join(folder, 'verify'), 'via-file'],
  });
  env = {
    CONFIG: join(folder, 'profile.ovpn'),
    OPENVPN_CREDENTIALS_FILE: join(folder, 'login'),
    TOTP_SECRET_FILE: join(folder, 'totp'),
    CONTROL_TOKEN_FILE: join(folder, 'token'),
    IP_ADDR: `${addresses.gateway}/24`,
    DNS: 'vpn',
    LOG_LEVEL: 'debug',
  };
});
after(() => world?.remove());

async function profile(proxyPassword: string): Promise<string> {
  const text = await readFile(join(world.folder, 'client-tcp.ovpn'), 'utf8');
  const block = async (name: string, file: string) =>
    `<${name}>\n${(await readFile(join(folder, file), 'utf8')).trim()}\n</${name}>\n`;
  return [
    text,
    'static-challenge "Code of the app" 1\naskpass passphrase\n',
    await block('cert', 'client.crt'),
    await block('key', 'client.key'),
    `http-proxy ${addresses.thirdServer} ${ports.openvpn}\n`,
    `<http-proxy-user-pass>\n${secrets.proxyUser}\n${proxyPassword}\n</http-proxy-user-pass>\n`,
  ].join('');
}

/** Stops it in the end, so that what it says at the stop is looked at too. */
async function withRouter(
  settings: Readonly<Record<string, string>>,
  check: (router: RunningRouter) => Promise<void>,
): Promise<void> {
  const router = world.startRouter({ ...env, ...settings });
  try {
    await check(router);
  } finally {
    await router.stop();
  }
  assert.deepEqual(leaksOf([...all, ...Object.values(wrong)], { log: router.output() }), []);
}

for (const LOG_FORMAT of ['text', 'json']) {
  test(`shows none on any path, in the log (${LOG_FORMAT}, debug), a command or an argument, while the tunnel works`, async () => {
    await withRouter({ LOG_FORMAT }, async (router) => {
      // The programs of a start live for milliseconds.
      const seen: string[] = [];
      const ready = router.untilHealthy().then(() => true);
      while (!(await Promise.race([ready, sleep(50)]))) seen.push(await argumentsIn(world));
      assert.ok(seen.some((lines) => lines.includes('openvpn')));
      const { post } = endpointOf(world);
      assert.equal((await post('reload', 'canary-of-nobody-at-all')).code, 401);
      assert.equal((await post('reload', secrets.token)).code, 200);
      await router.untilHealthy();
      const shown = await allShown(world, env);
      assert.match(shown.status ?? '', /^PROTECTED/);
      assert.match(shown.plan ?? '', /forward/);
      assert.ok('schema' in JSON.parse(shown['/status'] ?? '') && router.output().includes('PUSH_REPLY'));
      assert.deepEqual(leaksOf([...all, 'canary-of-nobody-at-all'], { ...shown, arguments: seen.join('\n') }), []);
    });
  });
}

for (const [what, faulty, tells] of [
  ['password', () => writeFile(join(folder, 'login'), `${secrets.username}\n${wrong.password}\n`), / blocked /],
  ['passphrase', () => writeFile(join(folder, 'passphrase'), `${wrong.passphrase}\n`), / blocked .*key-passphrase/],
  [
    'login at the proxy',
    async () => writeFile(join(folder, 'profile.ovpn'), await profile(wrong.proxyPassword)),
    / blocked .*proxy-refused/,
  ],
  ['secret of the codes', () => writeFile(join(folder, 'totp'), wrong.totp), / blocked .*code-refused/],
  ['secret of the codes that is none', () => writeFile(join(folder, 'totp'), wrong.badTotp), /TOTP_SECRET_FILE/],
  ['token that is too short', () => writeFile(join(folder, 'token'), wrong.shortToken), /CONTROL_TOKEN_FILE/],
  [
    'file of credentials with three lines',
    () => writeFile(join(folder, 'login'), `${secrets.username}\n${secrets.password}\n${wrong.password}\n`),
    / blocked | proven |OPENVPN_CREDENTIALS_FILE/,
  ],
] as const) {
  test(`shows none in what it says of a wrong ${what}`, async () => {
    const names = ['login', 'passphrase', 'totp', 'token', 'profile.ovpn'];
    const right = await Promise.all(names.map((name) => readFile(join(folder, name))));
    await faulty();
    try {
      await withRouter({}, async (router) => {
        for (const endMs = performance.now() + 30_000; !tells.test(router.output()); await sleep(20))
          assert.ok(performance.now() < endMs, router.output());
        const ended = await Promise.race([router.process.exited.then(() => true), sleep(200).then(() => false)]);
        if (ended) return;
        assert.deepEqual(leaksOf([...all, ...Object.values(wrong)], await allShown(world, env)), []);
      });
    } finally {
      for (const [index, name] of names.entries()) await writeFile(join(folder, name), right[index] ?? '');
    }
  });
}
