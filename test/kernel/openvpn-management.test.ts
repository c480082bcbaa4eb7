// Needs root, /dev/net/tun, iproute2, openssl and openvpn: it starts a real server and real clients in a network namespace of its own.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { inspect, isDeepStrictEqual } from 'node:util';
import {
  createManagementClient,
  createManagementParser,
  createPushReplyCollector,
  type ManagementClient,
  type ManagementEvent,
  type ManagementMessage,
  parsePushReply,
  renderCommand,
  type StateEvent,
  type StateName,
} from '../../src/node-openvpn-mgmt/src/index.ts';
import {
  type OpenVpnLab,
  password,
  pushedRoutes,
  refusalReason,
  startOpenVpnLab,
  type WaitFor,
  waitForOutput,
} from './openvpn-management-lab.ts';

let lab: OpenVpnLab;

before(async () => {
  lab = await startOpenVpnLab();
});

after(() => lab.dispose());

test('answers every query while held', async (t) => {
  const { client, child, events, waitFor } = await lab.startClient(t);
  assert.equal((await waitFor('info')).managementVersion, 5);
  assert.deepEqual(await waitFor('hold'), { kind: 'hold', waitS: 0 });

  const [pid, hold, verb, version] = await Promise.all([client.pid(), client.hold(), client.verb(), client.version()]);
  assert.deepEqual([pid, hold, verb, version.management], [child.pid, true, 3, 5]);
  assert.match(version.openvpn, /^OpenVPN 2\.6\./);
  assert.equal((await client.state()).name, 'CONNECTING');
  assert.deepEqual(
    events.filter(({ kind }) => kind === 'unknown'),
    [],
  );
});

test('answers every setting while held', async (t) => {
  const { client, events, waitFor } = await lab.startClient(t, '--echo', 'hello, world');
  await waitFor('hold');
  const states = await client.stateOn({ history: true });
  assert.deepEqual(
    states.map(({ name, detail }) => ({ name, detail })),
    [{ name: 'CONNECTING', detail: '' }],
  );
  assert.deepEqual(await client.stateOn(), []);
  await client.stateOff();
  assert.match((await client.logOn({ history: true }))[0]?.message ?? '', /\w/);
  assert.deepEqual(await client.logOn(), []);
  await client.logOff();
  assert.deepEqual(
    (await client.echoOn({ history: true })).map(({ text }) => text),
    ['hello, world'],
  );
  assert.deepEqual(await client.echoOn(), []);
  await client.echoOff();
  await client.bytecount(1);
  await client.bytecount(0);
  await client.setVerb(4);
  assert.equal(await client.verb(), 4);
  await client.setHold('off');
  assert.equal(await client.hold(), false);
  await client.setHold('on');
  await client.setAuthRetry('interact');
  await client.forgetPasswords();
  assert.deepEqual(
    events.filter(({ kind }) => kind === 'unknown'),
    [],
  );
});

test('rejects what does not fit while held, and goes on', async (t) => {
  const { client, waitFor } = await lab.startClient(t);
  await waitFor('hold');
  const refused = { code: 'MGMT_REJECTED' };
  await assert.rejects(client.status(), refused);
  await assert.rejects(client.signal('SIGUSR1'), { reply: "signal 'SIGUSR1' is currently ignored" });
  await assert.rejects(client.username('Auth', 'alice'), { reply: 'no username is currently needed at this time' });
  await assert.rejects(client.password('Auth', 's3cr3t'), { reply: 'no password is currently needed at this time' });
  await assert.rejects(client.needOk('token', 'cancel'), refused);
  await assert.rejects(client.needStr('name', 'value'), refused);
  await assert.rejects(client.remoteAccept(), refused);
  await assert.rejects(client.remoteSkip(), refused);
  await assert.rejects(client.remoteMod({ host: '127.0.0.1', port: 1 }), refused);
  await assert.rejects(client.crResponse('123456'), refused);
  assert.equal(await client.verb(), 3);
});

test('sends commands that it has no method for', async (t) => {
  const { client, waitFor } = await lab.startClient(t);
  await waitFor('hold');
  assert.equal((await client.send({ name: 'mute', parameters: ['9'], reply: 'single' })).text, 'mute level changed');
  assert.match((await client.send({ name: 'load-stats', reply: 'single' })).text, /^nclients=/);
  assert.match(
    (await client.send({ name: 'help', reply: 'block' })).lines[0] ?? '',
    /^Management Interface for OpenVPN/,
  );
  await assert.rejects(client.send({ name: 'dance', reply: 'single' }), { code: 'MGMT_REJECTED' });
  assert.equal(
    (await client.send({ name: 'echo', parameters: ['on', 'all'], reply: 'success-block' })).lines.length,
    0,
  );
});

test('gives pid its own reply after a version that 2.6 does not acknowledge', async (t) => {
  const { client, child } = await lab.startClient(t);
  await client.announceVersion(6);
  assert.equal(await client.pid(), child.pid);
});

test('connects: hold, password, remote, states, push reply, tun device, bytes, stop', async (t) => {
  const { client, child, events, waitFor } = await lab.startClient(t, '--management-query-remote');
  await waitFor('hold');
  await Promise.all([client.stateOn(), client.logOn(), client.bytecount(1), client.holdRelease()]);
  assert.deepEqual(await waitFor('password-need'), {
    kind: 'password-need',
    realm: 'Auth',
    wants: 'username/password',
  });
  await Promise.all([client.username('Auth', 'alice'), client.password('Auth', password)]);
  assert.deepEqual(await waitFor('remote'), { kind: 'remote', host: '127.0.0.1', port: '1194', protocol: 'udp4' });
  await client.remoteAccept();

  const connected = await waitForState(waitFor, 'CONNECTED');
  assert.equal(connected.detail, 'SUCCESS');
  assert.equal(connected.remoteAddress, '127.0.0.1');
  assert.equal(connected.remotePort, 1194);
  assert.match(connected.tunIpv4 ?? '', /^10\.8\.0\.\d+$/);
  assert.match(connected.tunIpv6 ?? '', /^fd00:8::/);
  assert.deepEqual(events.flatMap((event) => (event.kind === 'state' ? [event.name] : [])).slice(0, 2), [
    'WAIT',
    'AUTH',
  ]);

  const up = await waitFor('updown');
  assert.equal(up.phase, 'UP');
  assert.equal(up.env.get('trusted_ip'), '127.0.0.1');
  assert.equal(up.env.get('ifconfig_local'), connected.tunIpv4);

  const collector = createPushReplyCollector();
  const [reply] = events.flatMap((event) => (event.kind === 'log' ? (collector.push(event) ?? []) : []));
  assert.ok(reply !== undefined);
  assert.deepEqual(
    reply.options.filter((option) => option.startsWith('route 10.99')),
    pushedRoutes,
  );
  assert.ok(reply.options.includes('dhcp-option DNS 10.8.0.1'));
  assert.deepEqual(parsePushReply(await client.logOn({ history: true })), reply);

  await waitFor('bytecount', ({ bytesIn, bytesOut }) => bytesIn > 0 && bytesOut > 0);
  for (const format of [undefined, 1, 2, 3] as const) {
    assert.equal((await client.status(format))[0], 'OpenVPN STATISTICS');
  }
  assert.equal((await client.state()).name, 'CONNECTED');
  await client.forgetPasswords();

  await client.signal('SIGTERM');
  assert.equal((await waitForState(waitFor, 'EXITING')).detail, 'SIGTERM');
  const down = await waitFor('updown', ({ phase }) => phase === 'DOWN');
  assert.equal(down.env.get('ifconfig_local'), connected.tunIpv4);
  assert.deepEqual(await client.closed, { kind: 'ended' });
  await child.exited;
  assert.deepEqual(
    events.filter(({ kind }) => kind === 'unknown'),
    [],
  );
  assert.doesNotMatch(inspect(events, { depth: 5, maxArrayLength: null }), /alice"|s s#é/);
});

test('takes another remote, and reconnects into hold at SIGUSR1', async (t) => {
  const { client, waitFor } = await lab.startClient(t, '--management-query-remote', '--remote', '127.0.0.9', '9');
  await waitFor('hold');
  await Promise.all([client.stateOn(), client.holdRelease()]);
  await answer(client, waitFor);
  await waitFor('remote');
  await client.remoteSkip();
  assert.equal((await waitFor('remote', ({ host }) => host === '127.0.0.9')).port, '9');
  await client.remoteMod({ host: '127.0.0.1', port: 1194 });
  await waitForState(waitFor, 'CONNECTED');

  await client.signal('SIGUSR1');
  const reconnecting = await waitForState(waitFor, 'RECONNECTING');
  assert.equal(reconnecting.detail, 'SIGUSR1');
  await waitFor('hold', undefined, 2);
});

test('reads the reason of a refusal with quotes in it', async (t) => {
  const { client, waitFor } = await lab.startClient(t);
  await client.holdRelease();
  await answer(client, waitFor, { user: 'mallory', secret: 'wrong' });
  assert.deepEqual(await waitFor('verification-failed'), {
    kind: 'verification-failed',
    realm: 'Auth',
    reason: refusalReason,
  });
  await waitFor('hold', undefined, 2);
});

test('takes an empty value and a value of 256 bytes, and one byte more would not be taken', async (t) => {
  const { client, socket, waitFor } = await lab.startClient(t);
  await client.holdRelease();
  await waitFor('password-need');
  await client.username('Auth', 'é'.repeat(128));
  await client.password('Auth', '');
  await client.logOn();
  // Past our own check: this is why it is there.
  socket.write(renderCommand('needstr', ['x', 'LIMIT']).replace('LIMIT', 'x'.repeat(257)));
  const { line } = await waitFor('unknown');
  assert.match(line, /^ERROR: .*too long|^ERROR: Options error: Parameter/i);
});

test('exits with a fatal event when it is stopped while it waits for a password', async (t) => {
  const { client, child, waitFor } = await lab.startClient(t);
  await client.holdRelease();
  await waitFor('password-need');
  await client.signal('SIGTERM');
  await waitFor('fatal');
  assert.deepEqual(await client.closed, { kind: 'ended' });
  await child.exited;
  assert.equal(child.exitCode, 1);
});

test('ends the connection at exit, and exits', async (t) => {
  const { client, child, waitFor } = await lab.startClient(t);
  await waitFor('hold');
  await client.exit();
  assert.deepEqual(await client.closed, { kind: 'ended' });
  await child.exited;
  assert.equal(child.exitCode, 0);
});

test('exits when the client closes the connection', async (t) => {
  const { client, child, waitFor } = await lab.startClient(t);
  await waitFor('hold');
  client.close();
  await child.exited;
  assert.equal(child.exitCode, 0);
});

test('gives its management password, and is told when it is wrong', async (t) => {
  const file = join(lab.dir, 'management-password');
  writeFileSync(file, 'pass "word"\n');
  const path = join(lab.dir, 'server.sock');
  const options = ['--dev', 'tunP', '--ifconfig', '10.77.0.1', '10.77.0.2', '--management-hold', '--verb', '3'];
  const process = lab.startProgram(t, 'openvpn', ...options, '--management', path, 'unix', file);
  await waitForOutput(process, 'MANAGEMENT: unix domain socket listening');

  const wrong = createManagementClient({ duplex: connect(path), managementPassword: 'wrong', onEvent: () => {} });
  await assert.rejects(wrong.pid(), { code: 'MGMT_CLOSED' });
  const reason = await wrong.closed;
  assert.ok(reason.kind === 'password-refused');
  assert.equal(reason.error.message, 'OpenVPN refused the management password');

  const events: ManagementEvent[] = [];
  const onEvent = (event: ManagementEvent) => events.push(event);
  const client = createManagementClient({ duplex: connect(path), managementPassword: 'pass "word"', onEvent });
  assert.equal(await client.hold(), true);
  assert.deepEqual(
    events.map(({ kind }) => kind),
    ['info', 'hold'],
  );
  client.close();
});

test('gives the same messages wherever the session that OpenVPN just sent is split', async (t) => {
  // The routes would make the session four times as long, and the test sixteen times.
  const { client, received, waitFor } = await lab.startClient(t, '--pull-filter', 'ignore', 'route 10.99');
  await waitFor('hold');
  await Promise.all([client.stateOn({ history: true }), client.bytecount(1), client.holdRelease()]);
  await answer(client, waitFor);
  await waitForState(waitFor, 'CONNECTED');
  await Promise.all([client.status(2), waitFor('bytecount')]);
  await client.signal('SIGTERM');
  await client.closed;

  const session = received();
  const whole = parseChunks([session]);
  assert.deepEqual([...new Set(whole.map(({ kind }) => kind))].sort(), [
    ...['bytecount', 'hold', 'info', 'password-need', 'reply', 'state', 'updown'],
  ]);
  assert.deepEqual(parseChunks(Array.from(session, (byte) => Uint8Array.of(byte))), whole);
  for (let at = 0; at <= session.length; at += 1) {
    const split = parseChunks([session.subarray(0, at), session.subarray(at)]);
    assert.ok(isDeepStrictEqual(split, whole), `split after byte ${at}`);
  }
});

function parseChunks(chunks: readonly Uint8Array[]): readonly ManagementMessage[] {
  const parser = createManagementParser();
  return chunks.flatMap((chunk) => [...parser.push(chunk)]);
}

async function answer(
  client: ManagementClient,
  waitFor: WaitFor,
  { user = 'alice', secret = password } = {},
): Promise<void> {
  await waitFor('password-need');
  await Promise.all([client.username('Auth', user), client.password('Auth', secret)]);
}

function waitForState(waitFor: WaitFor, name: StateName): Promise<StateEvent> {
  return waitFor('state', (state) => state.name === name);
}
