import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { connectFake } from './fake-openvpn.ts';

test('answers the prompt for the management password, which has no line end', async () => {
  const { client, events, written, sayBytes } = connectFake({ managementPassword: 'pass "word"' });
  const pid = client.pid();
  await sayBytes('ENTER PASSWORD:');
  await sayBytes(
    'SUCCESS: password is correct\r\n>INFO:OpenVPN Management Interface Version 5 -- x\r\nSUCCESS: pid=5\r\n',
  );
  assert.equal(await pid, 5);
  assert.equal(written(), 'pass "word"\npid\n');
  assert.deepEqual(
    events.map(({ kind }) => kind),
    ['info'],
  );
});

test('closes the connection when the management password is refused', async () => {
  const { client, sayBytes } = connectFake({ managementPassword: 's3cr3t' });
  const pid = assert.rejects(client.pid(), { code: 'MGMT_CLOSED' });
  await sayBytes('ENTER PASSWORD:ENTER PASSWORD:');
  const reason = await client.closed;
  assert.ok(reason.kind === 'password-refused');
  assert.equal(reason.error.message, 'OpenVPN refused the management password');
  assert.doesNotMatch(inspect(reason, { depth: 5 }), /s3cr3t/);
  await pid;
});

test('refuses a management password that would be a second command', async () => {
  const { client, written, say } = connectFake({ managementPassword: 'a\nsignal SIGTERM' });
  const reason = await client.closed;
  assert.ok(reason.kind === 'password-refused');
  assert.equal(reason.error.code, 'MGMT_PARAMETER');
  await say();
  assert.equal(written(), '');
});

test('closes the connection when OpenVPN asks for a management password and there is none', async () => {
  const { client, sayBytes } = connectFake();
  const pid = assert.rejects(client.pid(), { code: 'MGMT_CLOSED' });
  await sayBytes('ENTER PASSWORD:');
  const reason = await client.closed;
  assert.ok(reason.kind === 'password-refused');
  assert.equal(reason.error.message, 'OpenVPN asks for a management password, and there is none');
  await pid;
});

test('gives up when nobody takes the management password', async () => {
  const { client } = connectFake({ managementPassword: 'x', commandTimeoutMs: 5 });
  assert.equal((await client.closed).kind, 'password-refused');
});
