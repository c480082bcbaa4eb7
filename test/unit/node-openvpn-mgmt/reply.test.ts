import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectFake } from './fake-openvpn.ts';

test('resolves state on without history at its one line', async () => {
  const { client, say } = connectFake();
  const history = client.stateOn();
  await say('SUCCESS: real-time state notification set to ON');
  assert.deepEqual(await history, []);
});

test('gives the history of the log as events', async () => {
  const { client, written, say } = connectFake();
  const history = client.logOn({ history: true });
  await say('SUCCESS: real-time log notification set to ON', '1,I,a,b', 'not a log line', '2,,ERROR: c', 'END');
  assert.deepEqual(await history, [
    { kind: 'log', timeS: 1, flags: 'I', message: 'a,b' },
    { kind: 'log', timeS: 2, flags: '', message: 'ERROR: c' },
  ]);
  assert.equal(written(), 'log "on" "all"\n');
});

test('takes a line inside a block as content even when it looks like an error', async () => {
  const { client, say } = connectFake();
  const status = client.status();
  await say('TITLE', 'ERROR: not one', 'SUCCESS: not one', 'END');
  assert.deepEqual(await status, ['TITLE', 'ERROR: not one', 'SUCCESS: not one']);
});

test('knows the reply of version 6 even behind a line that belongs to nobody', async () => {
  const { client, events, say } = connectFake();
  await client.announceVersion(6);
  const pid = client.pid();
  await say('stray', 'SUCCESS: Management client version set to 6', 'SUCCESS: pid=5');
  assert.equal(await pid, 5);
  assert.deepEqual(events, [{ kind: 'unknown', line: 'stray' }]);
});

test('reads the versions', async () => {
  const { client, say } = connectFake();
  const version = client.version();
  await say('OpenVPN Version: OpenVPN 2.6.14 x86_64-pc-linux-gnu', 'Management Version: 5', 'END');
  assert.deepEqual(await version, { openvpn: 'OpenVPN 2.6.14 x86_64-pc-linux-gnu', management: 5 });
});

test('rejects every command once the connection is gone', async () => {
  const { client, hangUp } = connectFake();
  await hangUp();
  await assert.rejects(client.pid(), { code: 'MGMT_CLOSED', command: 'pid' });
  await assert.rejects(client.announceVersion(6), { code: 'MGMT_CLOSED' });
  await assert.rejects(client.exit(), { code: 'MGMT_CLOSED' });
});

test('rejects what waits when the client closes', async () => {
  const { client } = connectFake();
  const answer = Promise.allSettled([client.pid()]);
  client.close();
  const [pid] = await answer;
  assert.equal(pid.status, 'rejected');
  assert.deepEqual(await client.closed, { kind: 'ended' });
});

test('resolves exit when OpenVPN has ended the connection', async () => {
  const { client, written, say, hangUp } = connectFake();
  const answers = Promise.all([client.pid(), client.exit()]);
  await say('SUCCESS: pid=5');
  await hangUp();
  assert.deepEqual(await answers, [5, undefined]);
  assert.equal(written(), 'pid\nexit\n');
});

test('passes on a reply line as unknown that no command waits for', async () => {
  const { events, say } = connectFake();
  await say('SUCCESS: of what');
  assert.deepEqual(events, [{ kind: 'unknown', line: 'SUCCESS: of what' }]);
});

test('does not settle a command with a line that cannot answer it', async () => {
  const { client, events, say } = connectFake();
  const pid = client.pid();
  await say('second line of a log message', 'SUCCESS: pid=5');
  assert.equal(await pid, 5);
  assert.deepEqual(events, [{ kind: 'unknown', line: 'second line of a log message' }]);
});

test('rejects an answer that holds no number', async () => {
  const { client, say } = connectFake();
  const pid = assert.rejects(client.pid(), { code: 'MGMT_PROTOCOL', command: 'pid' });
  await say('SUCCESS: verb=3');
  await pid;
});
