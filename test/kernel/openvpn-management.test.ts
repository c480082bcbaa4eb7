// Needs root, /dev/net/tun, iproute2, openssl and openvpn: it starts a real server and real clients in a network namespace of its own.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { inspect } from 'node:util';
import {
  answerDynamicChallenge,
  answerStaticChallenge,
  createPushReplyCollector,
  type ManagementClient,
  parsePushReply,
  renderCommand,
  type StateEvent,
  type StateName,
} from 'node-openvpn-mgmt';
import {
  type OpenVpnLab,
  password,
  pushedRoutes,
  refusalReason,
  startOpenVpnLab,
  type WaitFor,
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
  const { client, events, waitFor } = await lab.startClient(t);
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
  await client.echoOn();
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

test('answers a dynamic challenge', async (t) => {
  const { client, waitFor } = await lab.startClient(t);
  await Promise.all([client.stateOn(), client.holdRelease()]);
  await answer(client, waitFor, { user: 'crv1', secret: 'first' });
  const { crv1 } = await waitFor('verification-failed');
  assert.deepEqual(crv1, { flags: ['R', 'E'], stateId: 'state-1', username: 'crv1', text: 'PIN: now' });
  assert.ok(crv1 !== undefined);
  await waitFor('hold', undefined, 2);
  await client.holdRelease();
  await waitFor('password-need', undefined, 2);
  const secret = answerDynamicChallenge({ challenge: crv1, response: '8675309' });
  await Promise.all([client.username('Auth', 'crv1'), client.password('Auth', secret)]);
  await waitForState(waitFor, 'CONNECTED');
});

test('answers a static challenge', async (t) => {
  const { client, waitFor } = await lab.startClient(t, '--static-challenge', "say 'yes', or 'no'", '1');
  await Promise.all([client.stateOn(), client.holdRelease()]);
  const { staticChallenge: challenge } = await waitFor('password-need');
  assert.deepEqual(challenge, { text: "say 'yes', or 'no'", echo: true, format: 'scrv1' });
  assert.ok(challenge !== undefined);
  const secret = answerStaticChallenge({ challenge, password: 'bar', response: '8675309' });
  await Promise.all([client.username('Auth', 'scrv1'), client.password('Auth', secret)]);
  await waitForState(waitFor, 'CONNECTED');
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
