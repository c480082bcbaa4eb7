import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { makeWorld, type RunningRouter, type World } from './lab/world.ts';

// Servers that ask for a one-time code. Root and network namespaces; real OpenVPN on both ends, and oathtool as judge.
let world: World;
let folder: string;
let script: string;

const secret = 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP';
const longSecret = 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ';
const wrongSecret = 'KRSXG5CTMVRXEZLUKRSXG5CTMVRXEZLU';

before(async () => {
  world = await makeWorld();
  folder = join(world.folder, 'challenge');
  script = join(folder, 'verify');
  await mkdir(folder);
  const text = await readFile(join(world.folder, 'client.ovpn'), 'utf8');
  await writeFile(join(folder, 'dynamic.ovpn'), text);
  await writeFile(join(folder, 'static.ovpn'), `${text}static-challenge "Code of the app" 1\n`);
  await writeFile(join(folder, 'secret'), `${secret}\n`);
  await writeFile(join(folder, 'wrong'), wrongSecret);
  // A code of now or of half a minute ago, in answer to either kind of question; a password alone gets the question.
  const verify = `#!/bin/sh
{ IFS= read -r user; IFS= read -r given; } < "$1"
password=$(sed -n 2p ${world.folder}/credentials)
refuse() { printf '%s' "$1" > "$auth_failed_reason_file"; exit 1; }
encode() { printf '%s' "$1" | base64 --wrap=0; }
[ "$given" = "$password" ] && refuse "CRV1:R,E:state-1:$(encode "$user"):Which code: now?"
for moment in now '60 seconds ago'; do
  long=$(oathtool --totp=SHA256 --digits=8 --time-step-size=60s --base32 --now="$moment" ${longSecret})
  [ "$given" = "SCRV1:$(encode "$password"):$(encode "$long")" ] && exit 0
done
for moment in now '30 seconds ago'; do
  code=$(oathtool --totp --base32 --now="$moment" ${secret})
  [ "$given" = "CRV1::state-1::$code" ] && exit 0
  [ "$given" = "SCRV1:$(encode "$password"):$(encode "$code")" ] && exit 0
done
refuse 'wrong code'
`;
  await writeFile(script, verify, { mode: 0o755 });
});
after(() => world.remove());

/** A router of its own for each test, beside a server that asks; its log is searched for secrets in the end. */
async function withRouter(
  env: Readonly<Record<string, string>>,
  check: (router: RunningRouter) => Promise<void>,
): Promise<void> {
  const server = await world.startServer({ args: ['--auth-user-pass-verify', script, 'via-file'] });
  const router = world.startRouter({ LOG_LEVEL: 'debug', ...env });
  try {
    await check(router);
    for (const hidden of [secret, longSecret, wrongSecret, 'state-1', 'CRV1::'])
      assert.ok(!router.output().includes(hidden), hidden);
    assert.equal(await world.leaked(), 0);
  } finally {
    await router.stop();
    await server.stop();
  }
}

async function causeOf(router: RunningRouter): Promise<Readonly<Record<string, unknown>>> {
  await router.process.says(' blocked ');
  const { cause } = await router.health();
  return cause as Readonly<Record<string, unknown>>;
}

for (const kind of ['static', 'dynamic']) {
  test(`answers a ${kind} challenge with a one-time code, in one attempt`, async () => {
    const env = { CONFIG: join(folder, `${kind}.ovpn`), TOTP_SECRET_FILE: join(folder, 'secret') };
    await withRouter(env, async (router) => {
      await router.untilHealthy();
      assert.equal((await router.health()).attempts, 1, router.output());
    });
  });

  test(`says that the code for a ${kind} challenge was refused, and does not try it again and again`, async () => {
    const env = { CONFIG: join(folder, `${kind}.ovpn`), TOTP_SECRET: wrongSecret };
    await withRouter(env, async (router) => {
      assert.deepEqual(await causeOf(router), {
        code: 'code-refused',
        text: '203.0.113.10:1194/udp did not take the password with its one-time code: wrong code',
        hint: 'check the TOTP secret, the password, and whether the clock of this machine is right',
      });
      const [, retryMs] = / blocked .*"retryMs":(\d+)/.exec(router.output()) ?? [];
      assert.ok(Number(retryMs) > 3_000, router.output());
    });
  });
}

test('makes codes as the otpauth address says', async () => {
  const env = {
    CONFIG: join(folder, 'static.ovpn'),
    TOTP_SECRET: `otpauth://totp/alice?secret=${longSecret}&digits=8&algorithm=SHA256&period=60`,
  };
  await withRouter(env, async (router) => void (await router.untilHealthy()));
});

test('takes the secret that lies beside the profile', async () => {
  const own = join(folder, 'own');
  await mkdir(own);
  await writeFile(join(own, 'static.ovpn'), await readFile(join(folder, 'static.ovpn')));
  await writeFile(join(own, 'static.totp'), secret);
  await withRouter({ CONFIG: join(own, 'static.ovpn') }, async (router) => void (await router.untilHealthy()));
});

test('says that the server asks for a code that nothing can make', async () => {
  await withRouter({ CONFIG: join(folder, 'dynamic.ovpn') }, async (router) => {
    const { code, text } = await causeOf(router);
    assert.equal(code, 'code-missing');
    assert.equal(
      text,
      '203.0.113.10:1194/udp asks for a one-time code ("Which code: now?"), and no TOTP secret was given',
    );
  });
});
