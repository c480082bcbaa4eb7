import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { type ManagementClient, renderCommand } from 'node-openvpn-mgmt';
import { connectFake } from './fake-openvpn.ts';
import { parseChunks, parseOne } from './session.ts';

const value = 's3cr3t"v\\lue';

const secretCommands: readonly (readonly [string, (client: ManagementClient) => Promise<void>])[] = [
  ['username', (client) => client.username('Auth', value)],
  ['password', (client) => client.password('Auth', value)],
  ['needstr', (client) => client.needStr('name', value)],
];

for (const [name, send] of secretCommands) {
  test(`shows the value of ${name} in no error, even when OpenVPN repeats it`, async () => {
    for (const repeated of [value, renderCommand(name, [value]).trim()]) {
      const { client, say } = connectFake();
      const answer = Promise.allSettled([send(client)]);
      await say(`ERROR: what is '${repeated}'`);
      assertHidden((await answer)[0]);
    }
  });

  test(`shows the value of ${name} in no error when it times out or the connection ends`, async () => {
    const { client, hangUp } = connectFake({ commandTimeoutMs: 5 });
    assertHidden((await Promise.allSettled([send(client)]))[0]);
    const answer = Promise.allSettled([send(client)]);
    await hangUp();
    assertHidden((await answer)[0]);
  });
}

test('shows a challenge response in no error, neither plain nor encoded', async () => {
  const { client, say } = connectFake();
  const answer = Promise.allSettled([client.crResponse('s3cr3t')]);
  await say("ERROR: 's3cr3t' is 'czNjcjN0'");
  const text = inspect((await answer)[0]);
  assert.match(text, /MGMT_REJECTED/);
  assert.doesNotMatch(text, /s3cr3t|czNjcjN0/);
});

test('shows the value in no error when it is refused before it is sent', () => {
  for (const parameter of [`${value}\n`, `${value}${'x'.repeat(300)}`]) {
    assert.throws(
      () => renderCommand('password', ['Auth', parameter]),
      (error) => !inspect(error).includes('s3cr3t'),
    );
  }
});

test('drops the auth token', () => {
  assert.deepEqual(parseOne('>PASSWORD:Auth-Token:SESS_ID_AAAA'), { kind: 'auth-token' });
});

const logged: readonly (readonly [string, string])[] = [
  [`MANAGEMENT: CMD 'username "Auth" "s3cr3t"'`, "MANAGEMENT: CMD 'username [...]'"],
  [`MANAGEMENT: CMD 'password "Auth" "s3cr3t'`, "MANAGEMENT: CMD 'password [...]'"],
  [`MANAGEMENT: CMD 'needstr "PIN" "s3cr3t"'`, "MANAGEMENT: CMD 'needstr [...]'"],
  [`MANAGEMENT: CMD 'cr-response "s3cr3t"'`, "MANAGEMENT: CMD 'cr-response [...]'"],
  ["SENT CONTROL [vpn]: 'CR_RESPONSE,s3cr3t' (status=1)", "SENT CONTROL [vpn]: 'CR_RESPONSE,[...]'"],
  [
    "PUSH: Received control message: 'PUSH_REPLY,auth-token s3cr3t,ping 5'",
    "PUSH: Received control message: 'PUSH_REPLY,auth-token [...],ping 5'",
  ],
  ['token SESS_ID_s3cr3t, again', 'token SESS_ID_[...], again'],
];
for (const [message, redacted] of logged) {
  test(`cuts the secret out of the log line ${redacted}`, () => {
    assert.deepEqual(parseOne(`>LOG:1,D,${message}`), { kind: 'log', timeS: 1, flags: 'D', message: redacted });
  });
}

test('cuts secrets out of the history of the log too', async () => {
  const { client, say } = connectFake();
  const history = client.logOn({ history: true });
  await say('SUCCESS: real-time log notification set to ON', `1,D,MANAGEMENT: CMD 'username "Auth" "s3cr3t"'`, 'END');
  assert.doesNotMatch(inspect(await history), /s3cr3t/);
});

test('leaves other commands in the log as they are', () => {
  const message = `MANAGEMENT: CMD 'hold "release"'`;
  assert.deepEqual(parseChunks(`>LOG:1,D,${message}\n`), [{ kind: 'log', timeS: 1, flags: 'D', message }]);
});

function assertHidden(answer: PromiseSettledResult<void>): void {
  assert.ok(answer.status === 'rejected');
  assert.doesNotMatch(inspect(answer.reason, { depth: 10 }), /s3cr3t/);
}
