// The 35 things that a client of the management interface gets wrong, each measured on a real OpenVPN before it was written down.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import {
  createPushReplyCollector,
  type LogEvent,
  type ManagementClient,
  renderCommand,
} from '../../../src/node-openvpn-mgmt/src/index.ts';
import { commands } from './commands.ts';
import { connectFake } from './fake-openvpn.ts';
import { parseChunks, parseOne, recordedSession } from './session.ts';

const connecting = { kind: 'state', timeS: 1, name: 'CONNECTING', detail: '' };

test('01 · banner', () => {
  const text = "OpenVPN Management Interface Version 5 -- type 'help' for more info";
  assert.deepEqual(parseOne(`>INFO:${text}`), { kind: 'info', text, managementVersion: 5 });
});

test('02 · split at every byte gives the same events', () => {
  const whole = parseChunks(recordedSession);
  assert.equal(whole.length, 23);
  for (let at = 0; at <= recordedSession.length; at += 1) {
    assert.deepEqual(parseChunks(recordedSession.subarray(0, at), recordedSession.subarray(at)), whole);
  }
  assert.deepEqual(parseChunks(...Array.from(recordedSession, (byte) => Uint8Array.of(byte))), whole);
});

test('03 · CRLF and LF mixed', () => {
  assert.deepEqual(parseChunks('>FATAL:a\r\n>FATAL:b\n>FATAL:c\r\n'), [
    { kind: 'fatal', message: 'a' },
    { kind: 'fatal', message: 'b' },
    { kind: 'fatal', message: 'c' },
  ]);
});

test('04 · UTF-8 split mid-codepoint', () => {
  const bytes = Buffer.from('>FATAL:é🐙\r\n');
  for (let at = 0; at <= bytes.length; at += 1) {
    assert.deepEqual(parseChunks(bytes.subarray(0, at), bytes.subarray(at)), [{ kind: 'fatal', message: 'é🐙' }]);
  }
});

test('05 · two lines in a chunk', () => {
  assert.deepEqual(parseChunks('SUCCESS: pid=1\r\n>BYTECOUNT:1,2\r\n'), [
    { kind: 'reply', line: 'SUCCESS: pid=1' },
    { kind: 'bytecount', bytesIn: 1, bytesOut: 2 },
  ]);
});

test('06 · pid + hold pipelined', async () => {
  const { client, written, say } = connectFake();
  const answers = Promise.all([client.pid(), client.hold()]);
  await say('SUCCESS: pid=9904', 'SUCCESS: hold=1');
  assert.deepEqual(await answers, [9904, true]);
  assert.equal(written(), 'pid\nhold\n');
});

test('07 · LOG before SUCCESS', async () => {
  const { client, events, say } = connectFake();
  const verb = client.verb();
  await say(">LOG:1,D,MANAGEMENT: CMD 'verb'", 'SUCCESS: verb=3');
  assert.equal(await verb, 3);
  assert.deepEqual(events, [{ kind: 'log', timeS: 1, flags: 'D', message: "MANAGEMENT: CMD 'verb'" }]);
});

test('08 · STATE inside a block', async () => {
  const { client, events, say } = connectFake();
  const status = client.status(2);
  await say('OpenVPN STATISTICS', '>STATE:1,CONNECTING,,,,,,', 'Auth read bytes,0', 'END');
  assert.deepEqual(await status, ['OpenVPN STATISTICS', 'Auth read bytes,0']);
  assert.deepEqual(events, [connecting]);
});

test('09 · `state on all` resolves once', async () => {
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

test('10 · ERROR for a block command rejects', async () => {
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

test('11 · `version 6` without a reply, then pid', async () => {
  const { client, written, say } = connectFake();
  await client.announceVersion(6);
  const pid = client.pid();
  await say('SUCCESS: pid=5');
  assert.equal(await pid, 5);
  assert.equal(written(), 'version "6"\npid\n');
});

test('12 · `version 6` with SUCCESS not given to the next command', async () => {
  const { client, events, say } = connectFake();
  await client.announceVersion(6);
  const pid = client.pid();
  await say('SUCCESS: Management client version set to 6', 'SUCCESS: pid=5');
  assert.equal(await pid, 5);
  assert.deepEqual(events, []);
});

test('13 · FATAL mid-reply + EOF', async () => {
  const { client, events, say, hangUp } = connectFake();
  const answers = Promise.allSettled([client.state(), client.pid()]);
  await say('1,CONNECTING,,,,,,', '>FATAL:out of memory');
  await hangUp();
  const codes = (await answers).map((answer) => answer.status === 'rejected' && answer.reason.code);
  assert.deepEqual(codes, ['MGMT_CLOSED', 'MGMT_CLOSED']);
  assert.deepEqual(events, [{ kind: 'fatal', message: 'out of memory' }]);
  assert.deepEqual(await client.closed, { kind: 'ended' });
});

test('14 · EOF mid-line', async () => {
  const { client, events, sayBytes, hangUp } = connectFake();
  const answer = Promise.allSettled([client.pid()]);
  await sayBytes('SUCCESS: pid=99');
  await hangUp();
  const [pid] = await answer;
  assert.ok(pid.status === 'rejected');
  assert.equal(pid.reason.code, 'MGMT_CLOSED');
  assert.deepEqual(events, []);
});

test('15 · 10 KB line ok', () => {
  const message = 'x'.repeat(10_240);
  assert.deepEqual(parseOne(`>FATAL:${message}`), { kind: 'fatal', message });
});

test('16 · > 64 KB unterminated is a protocol error', async () => {
  const { client, sayBytes } = connectFake();
  const answer = Promise.allSettled([client.pid()]);
  await sayBytes(Buffer.alloc(70_000, 'x'));
  const [pid] = await answer;
  assert.ok(pid.status === 'rejected');
  assert.equal(pid.reason.code, 'MGMT_CLOSED');
  assert.equal(pid.reason.cause.code, 'MGMT_PROTOCOL');
  assert.equal((await client.closed).kind, 'protocol-error');
});

test('17 · 8-field STATE', () => {
  assert.deepEqual(parseOne('>STATE:1795169050,CONNECTED,SUCCESS,10.8.0.6,203.0.113.7,1194,192.0.2.2,40000'), {
    kind: 'state',
    timeS: 1795169050,
    name: 'CONNECTED',
    detail: 'SUCCESS',
    tunIpv4: '10.8.0.6',
    remoteAddress: '203.0.113.7',
    remotePort: 1194,
    localAddress: '192.0.2.2',
    localPort: 40000,
  });
});

test('18 · 9-field STATE', () => {
  assert.deepEqual(parseOne('>STATE:5,ASSIGN_IP,,10.8.0.6,,,,,fd00::6'), {
    kind: 'state',
    timeS: 5,
    name: 'ASSIGN_IP',
    detail: '',
    tunIpv4: '10.8.0.6',
    tunIpv6: 'fd00::6',
  });
});

test('19 · IPv6 remote', () => {
  assert.deepEqual(parseOne('>STATE:5,CONNECTED,SUCCESS,10.8.0.6,2001:db8::7,1194,2001:db8::2,40000,fd00::6'), {
    kind: 'state',
    timeS: 5,
    name: 'CONNECTED',
    detail: 'SUCCESS',
    tunIpv4: '10.8.0.6',
    remoteAddress: '2001:db8::7',
    remotePort: 1194,
    localAddress: '2001:db8::2',
    localPort: 40000,
    tunIpv6: 'fd00::6',
  });
});

test('20 · commas in AUTH_PENDING', () => {
  const detail = 'timeout 60,WEB_AUTH::https://idp.example/?a,b,c';
  assert.deepEqual(parseOne(`>STATE:5,AUTH_PENDING,${detail},,,,,`), {
    kind: 'state',
    timeS: 5,
    name: 'AUTH_PENDING',
    detail,
  });
});

test('21 · reason with quotes', () => {
  assert.deepEqual(parseOne(">PASSWORD:Verification Failed: 'Auth' ['it's ['not'] today']"), {
    kind: 'verification-failed',
    realm: 'Auth',
    reason: "it's ['not'] today",
  });
});

test('22 · CRV1 text with `:`', () => {
  assert.deepEqual(parseOne(">PASSWORD:Verification Failed: 'Auth' ['CRV1:R,E:Om01:Y3Ix:PIN: now: it's due']"), {
    kind: 'verification-failed',
    realm: 'Auth',
    crv1: { flags: ['R', 'E'], stateId: 'Om01', username: 'cr1', text: "PIN: now: it's due" },
  });
});

test('23 · SC:3 with quotes and commas', () => {
  assert.deepEqual(parseOne(">PASSWORD:Need 'Auth' username/password SC:3,say 'yes', or 'no' password"), {
    kind: 'password-need',
    realm: 'Auth',
    wants: 'username/password',
    staticChallenge: { text: "say 'yes', or 'no' password", echo: true, format: 'concatenated' },
  });
});

test('24 · password `p"a\\s s#é`', () => {
  assert.equal(renderCommand('password', ['Auth', 'p"a\\s s#é']), 'password "Auth" "p\\"a\\\\s s#é"\n');
});

test('25 · newline in a password throws and sends nothing', () => refusesInPassword('\n'));

test('26 · TAB in a password throws and sends nothing', () => refusesInPassword('\t'));

test('27 · NUL in a password throws and sends nothing', () => refusesInPassword('\0'));

test('28 · 257-byte parameter throws', () => {
  assert.match(renderCommand('password', ['Auth', 'é'.repeat(128)]), /é"\n$/);
  assert.throws(() => renderCommand('password', ['Auth', `${'é'.repeat(128)}x`]), {
    code: 'MGMT_PARAMETER',
    message: 'parameter 2 of password is longer than 256 bytes',
  });
});

test('29 · empty password `""`', async () => {
  const { client, written, say } = connectFake();
  const answer = client.password('Auth', '');
  await say("SUCCESS: 'Auth' password entered, but not yet verified");
  await answer;
  assert.equal(written(), 'password "Auth" ""\n');
});

test('30 · `=` in UPDOWN values', () => {
  assert.deepEqual(parseChunks('>UPDOWN:DOWN\r\n>UPDOWN:ENV,a=b=c=\r\n>UPDOWN:ENV,empty=\r\n>UPDOWN:ENV,END\r\n'), [
    {
      kind: 'updown',
      phase: 'DOWN',
      env: new Map([
        ['a', 'b=c='],
        ['empty', ''],
      ]),
    },
  ]);
});

test('31 · interleaved LOG', () => {
  const lines = [
    '>UPDOWN:UP',
    '>LOG:1,I,first',
    '>UPDOWN:ENV,dev=tun4',
    'SUCCESS: pid=1',
    '>UPDOWN:ENV,END',
    '>LOG:2,,last',
  ];
  assert.deepEqual(parseChunks(`${lines.join('\r\n')}\r\n`), [
    { kind: 'log', timeS: 1, flags: 'I', message: 'first' },
    { kind: 'reply', line: 'SUCCESS: pid=1' },
    { kind: 'updown', phase: 'UP', env: new Map([['dev', 'tun4']]) },
    { kind: 'log', timeS: 2, flags: '', message: 'last' },
  ]);
});

test('32 · two push continuations merged', () => {
  const collector = createPushReplyCollector();
  assert.equal(collector.push(pushed('route 10.1.0.0,route 10.2.0.0,push-continuation 2')), undefined);
  assert.equal(collector.push(log('WARNING: something in between')), undefined);
  assert.equal(collector.push(pushed('route 10.3.0.0,push-continuation 2')), undefined);
  assert.deepEqual(collector.push(pushed('peer-id 0,push-continuation 1')), {
    options: ['route 10.1.0.0', 'route 10.2.0.0', 'route 10.3.0.0', 'peer-id 0'],
  });
  assert.deepEqual(collector.push(pushed('ping 5')), { options: ['ping 5'] });
});

for (const [name, run] of Object.entries(commands)) {
  test(`33 · every command has a timeout (${name})`, async () => {
    const { client } = connectFake({ commandTimeoutMs: 5 });
    await assert.rejects(run(client), { code: 'MGMT_TIMEOUT' });
  });
}

const logLines: readonly (readonly [string, string])[] = [
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

test('34 · secrets never in a log', async () => {
  for (const [message, redacted] of logLines) {
    const line = { timeS: 1, flags: 'D', message: redacted };
    assert.deepEqual(parseOne(`>LOG:1,D,${message}`), { kind: 'log', ...line });
    const { client, say } = connectFake();
    const history = client.logOn({ history: true });
    await say('SUCCESS: real-time log notification set to ON', `1,D,${message}`, 'END');
    assert.deepEqual(await history, [{ kind: 'log', ...line }]);
  }
});

test('35 · secrets never in an error', async () => {
  const secret = 's3cr3t"v\\lue';
  const need = { kind: 'password-need', realm: 'Auth', wants: 'password' } as const;
  const sends: Readonly<Record<string, (client: ManagementClient) => Promise<unknown>>> = {
    username: (client) => client.username('Auth', secret),
    password: (client) => client.password('Auth', secret),
    answer: (client) => client.answer(need, { password: secret }),
    needstr: (client) => client.needStr('name', secret),
  };
  for (const send of Object.values(sends)) {
    const repeats = [secret, renderCommand('password', [secret]).trim()].map((text) => `ERROR: what is '${text}'`);
    for (const end of [...repeats.map((line) => [line]), 'hang up', 'time out']) {
      const { client, say, hangUp } = connectFake({ commandTimeoutMs: end === 'time out' ? 5 : 5_000 });
      const answer = Promise.allSettled([send(client)]);
      if (Array.isArray(end)) await say(...end);
      if (end === 'hang up') await hangUp();
      const [settled] = await answer;
      assert.ok(settled.status === 'rejected');
      assert.doesNotMatch(inspect(settled.reason, { depth: 10 }), /s3cr3t/);
    }
  }
});

function log(message: string): LogEvent {
  return { kind: 'log', timeS: 1, flags: '', message };
}

function pushed(tokens: string): LogEvent {
  return log(`PUSH: Received control message: 'PUSH_REPLY,${tokens}'`);
}

async function refusesInPassword(character: string): Promise<void> {
  const { client, written, say } = connectFake();
  await assert.rejects(client.password('Auth', `a${character}signal SIGTERM`), { code: 'MGMT_PARAMETER' });
  await say();
  assert.equal(written(), '');
}
