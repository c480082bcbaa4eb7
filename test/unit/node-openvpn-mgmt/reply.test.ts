import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectFake } from './fake-openvpn.ts';

const connecting = { kind: 'state', timeS: 1, name: 'CONNECTING', detail: '' };

test('answers pipelined pid and hold in their order', async () => {
  const { client, written, say } = connectFake();
  const answers = Promise.all([client.pid(), client.hold()]);
  await say('SUCCESS: pid=9904', 'SUCCESS: hold=1');
  assert.deepEqual(await answers, [9904, true]);
  assert.equal(written(), 'pid\nhold\n');
});

test('passes a log line on that comes before the reply', async () => {
  const { client, events, say } = connectFake();
  const verb = client.verb();
  await say(">LOG:1,D,MANAGEMENT: CMD 'verb'", 'SUCCESS: verb=3');
  assert.equal(await verb, 3);
  assert.deepEqual(events, [{ kind: 'log', timeS: 1, flags: 'D', message: "MANAGEMENT: CMD 'verb'" }]);
});

test('keeps a state notification out of the block it interrupts', async () => {
  const { client, events, say } = connectFake();
  const status = client.status(2);
  await say('OpenVPN STATISTICS', '>STATE:1,CONNECTING,,,,,,', 'Auth read bytes,0', 'END');
  assert.deepEqual(await status, ['OpenVPN STATISTICS', 'Auth read bytes,0']);
  assert.deepEqual(events, [connecting]);
});

test('resolves state on all once, at the end of the block', async () => {
  const { client, events, say } = connectFake();
  let resolved = 0;
  const history = client.stateOn({ history: true });
  const pid = client.pid();
  void history.then(() => {
    resolved += 1;
  });
  await say('SUCCESS: real-time state notification set to ON', '1,CONNECTING,,,,,,');
  assert.equal(resolved, 0);
  await say('END', 'SUCCESS: pid=5');
  assert.deepEqual([await history, await pid], [[connecting], 5]);
  assert.equal(resolved, 1);
  assert.deepEqual(events, []);
});

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

test('rejects a block command at one error line', async () => {
  const { client, say } = connectFake();
  const answers = Promise.allSettled([client.status(), client.pid()]);
  await say("ERROR: The 'status' command is not supported by the current daemon mode", 'SUCCESS: pid=5');
  const [status, pid] = await answers;
  assert.ok(status.status === 'rejected');
  assert.equal(status.reason.code, 'MGMT_REJECTED');
  assert.equal(status.reason.command, 'status');
  assert.equal(status.reason.reply, "The 'status' command is not supported by the current daemon mode");
  assert.deepEqual(pid, { status: 'fulfilled', value: 5 });
});

test('takes a line inside a block as content even when it looks like an error', async () => {
  const { client, say } = connectFake();
  const status = client.status();
  await say('TITLE', 'ERROR: not one', 'SUCCESS: not one', 'END');
  assert.deepEqual(await status, ['TITLE', 'ERROR: not one', 'SUCCESS: not one']);
});

test('gives the reply of pid to pid when version 6 has none', async () => {
  const { client, written, say } = connectFake();
  await client.announceVersion(6);
  const pid = client.pid();
  await say('SUCCESS: pid=5');
  assert.equal(await pid, 5);
  assert.equal(written(), 'version "6"\npid\n');
});

test('does not give the reply of version 6 to the next command', async () => {
  const { client, events, say } = connectFake();
  await client.announceVersion(6);
  const pid = client.pid();
  await say('SUCCESS: Management client version set to 6', 'SUCCESS: pid=5');
  assert.equal(await pid, 5);
  assert.deepEqual(events, []);
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

test('rejects what waits when OpenVPN dies in the middle of a reply', async () => {
  const { client, events, say, hangUp } = connectFake();
  const answers = Promise.allSettled([client.state(), client.pid()]);
  await say('1,CONNECTING,,,,,,', '>FATAL:out of memory');
  await hangUp();
  const codes = (await answers).map((answer) => answer.status === 'rejected' && answer.reason.code);
  assert.deepEqual(codes, ['MGMT_CLOSED', 'MGMT_CLOSED']);
  assert.deepEqual(events, [{ kind: 'fatal', message: 'out of memory' }]);
  assert.deepEqual(await client.closed, { kind: 'ended' });
});

test('does not take a line as a reply that the end of the connection cut', async () => {
  const { client, events, sayBytes, hangUp } = connectFake();
  const answer = Promise.allSettled([client.pid()]);
  await sayBytes('SUCCESS: pid=99');
  await hangUp();
  const [pid] = await answer;
  assert.ok(pid.status === 'rejected');
  assert.equal(pid.reason.code, 'MGMT_CLOSED');
  assert.deepEqual(events, []);
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

test('closes the connection on a line that never ends and says why', async () => {
  const { client, sayBytes } = connectFake();
  const answer = Promise.allSettled([client.pid()]);
  await sayBytes(Buffer.alloc(70_000, 'x'));
  const [pid] = await answer;
  assert.ok(pid.status === 'rejected');
  assert.equal(pid.reason.code, 'MGMT_CLOSED');
  assert.equal(pid.reason.cause.code, 'MGMT_PROTOCOL');
  assert.equal((await client.closed).kind, 'protocol-error');
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
