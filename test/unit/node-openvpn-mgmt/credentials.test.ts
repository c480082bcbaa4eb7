import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type PasswordNeedEvent, renderCredentials } from '../../../src/node-openvpn-mgmt/src/index.ts';
import { connectFake } from './fake-openvpn.ts';
import { parseChunks, parseOne } from './session.ts';

const crv1 = { flags: ['R', 'E'], stateId: 'Om01', username: 'cr1', text: 'PIN' };

test('answers a login', () => {
  assert.deepEqual(renderCredentials(needOf("Need 'Auth' username/password"), { username: 'al"ice', password: '' }), [
    'username "Auth" "al\\"ice"\n',
    'password "Auth" ""\n',
  ]);
});

test('answers the passphrase of a private key, and sends no user name', () => {
  const need = needOf("Need 'Private Key' password");
  assert.deepEqual(renderCredentials(need, { username: 'alice', password: 'p' }), ['password "Private Key" "p"\n']);
});

test('answers the login of a proxy', () => {
  assert.deepEqual(renderCredentials(needOf("Need 'HTTP Proxy' username/password"), { username: 'a', password: 'p' }), [
    'username "HTTP Proxy" "a"\n',
    'password "HTTP Proxy" "p"\n',
  ]);
});

test('answers a prompt for a user name alone', () => {
  const need = needOf("Need 'Auth' username");
  assert.deepEqual(renderCredentials(need, { username: 'alice', password: 'p' }), ['username "Auth" "alice"\n']);
});

test('answers a static challenge in both formats', () => {
  const credentials = { username: 'foo', password: 'bar', response: '8675309' };
  assert.deepEqual(renderCredentials(needOf("Need 'Auth' username/password SC:1,PIN"), credentials), [
    'username "Auth" "foo"\n',
    'password "Auth" "SCRV1:YmFy:ODY3NTMwOQ=="\n',
  ]);
  assert.deepEqual(renderCredentials(needOf("Need 'Auth' username/password SC:2,PIN"), credentials), [
    'username "Auth" "foo"\n',
    'password "Auth" "bar8675309"\n',
  ]);
});

test("answers a dynamic challenge in the place of the password, with the challenge's user name unless told", () => {
  const need = { ...needOf("Need 'Auth' username/password"), dynamicChallenge: crv1 };
  assert.deepEqual(renderCredentials(need, { password: 'bar', response: '8675309' }), [
    'username "Auth" "cr1"\n',
    'password "Auth" "CRV1::Om01::8675309"\n',
  ]);
  assert.deepEqual(renderCredentials(need, { username: 'foo', response: '1' })[0], 'username "Auth" "foo"\n');
});

test('answers a dynamic challenge that wants no response with none', () => {
  const need = { ...needOf("Need 'Auth' password"), dynamicChallenge: { ...crv1, flags: ['E'] } };
  assert.deepEqual(renderCredentials(need, { response: '1' }), ['password "Auth" "CRV1::Om01::"\n']);
});

test('gives the dynamic challenge with the next prompt for its realm, once', () => {
  const events = parseChunks(
    ">PASSWORD:Verification Failed: 'Auth' ['CRV1:R,E:Om01:Y3Ix:PIN']\n",
    ">PASSWORD:Need 'Private Key' password\n",
    ...Array.from({ length: 2 }, () => ">PASSWORD:Need 'Auth' username/password\n"),
  );
  const prompt = needOf("Need 'Auth' username/password");
  assert.deepEqual(events.slice(1), [
    needOf("Need 'Private Key' password"),
    { ...prompt, dynamicChallenge: crv1 },
    prompt,
  ]);
});

test('gives no dynamic challenge once the login was refused for another reason', () => {
  const [, , prompt] = parseChunks(
    ">PASSWORD:Verification Failed: 'Auth' ['CRV1:R,E:Om01:Y3Ix:PIN']\n",
    ">PASSWORD:Verification Failed: 'Auth'\n",
    ">PASSWORD:Need 'Auth' username/password\n",
  );
  assert.deepEqual(prompt, needOf("Need 'Auth' username/password"));
});

test('says so when the response to a dynamic challenge is missing', () => {
  const need = { ...needOf("Need 'Auth' username/password"), dynamicChallenge: crv1 };
  assert.throws(() => renderCredentials(need, { password: 'p' }), {
    message: 'OpenVPN asks for the response to a challenge (Auth), and there is none',
  });
});

const missing: readonly (readonly [string, string, object])[] = [
  ['a user name', "Need 'Auth' username/password", { password: 'p' }],
  ['a password', "Need 'Auth' username/password", { username: 'u' }],
  ['a password', "Need 'Auth' username/password SC:1,PIN", { username: 'u', response: '1' }],
  ['the response to a challenge', "Need 'Auth' username/password SC:1,PIN", { username: 'u', password: 'p' }],
];
for (const [what, prompt, credentials] of missing) {
  test(`sends nothing when ${what} is missing for ${prompt}, and says so`, async () => {
    const { client, written, say } = connectFake();
    const message = `OpenVPN asks for ${what} (Auth), and there is none`;
    await assert.rejects(client.answer(needOf(prompt), credentials), { code: 'MGMT_PARAMETER', message });
    await say();
    assert.equal(written(), '');
  });
}

test('sends no user name when the password cannot be sent', async () => {
  const { client, written, say } = connectFake();
  const answer = client.answer(needOf("Need 'Auth' username/password"), { username: 'u', password: 'a\nb' });
  await assert.rejects(answer, {
    code: 'MGMT_PARAMETER',
    message: 'parameter 2 of password holds a control character',
  });
  await say();
  assert.equal(written(), '');
});

test('resolves an answer when OpenVPN has taken both parts', async () => {
  const { client, written, say } = connectFake();
  const answer = client.answer(needOf("Need 'Auth' username/password"), { username: 'u', password: 'p' });
  await say("SUCCESS: 'Auth' username entered, but not yet verified", "SUCCESS: 'Auth' password entered");
  await answer;
  assert.equal(written(), 'username "Auth" "u"\npassword "Auth" "p"\n');
});

function needOf(prompt: string): PasswordNeedEvent {
  const event = parseOne(`>PASSWORD:${prompt}`);
  assert.ok(event?.kind === 'password-need');
  return event;
}
