import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { renderCommand } from '../../../src/node-openvpn-mgmt/src/index.ts';
import { connectFake } from './fake-openvpn.ts';
import { parseChunks, parseOne } from './session.ts';

const value = 's3cr3t"v\\lue';

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

test('leaves other commands in the log as they are', () => {
  const message = `MANAGEMENT: CMD 'hold "release"'`;
  assert.deepEqual(parseChunks(`>LOG:1,D,${message}\n`), [{ kind: 'log', timeS: 1, flags: 'D', message }]);
});
