import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answerDynamicChallenge, answerStaticChallenge } from 'node-openvpn-mgmt';
import { parseChunks, parseOne } from './session.ts';

test('reads a state of 8 fields', () => {
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

test('leaves empty fields of a state out', () => {
  assert.deepEqual(parseOne('>STATE:5,RECONNECTING,ping-restart,,,,,'), {
    kind: 'state',
    timeS: 5,
    name: 'RECONNECTING',
    detail: 'ping-restart',
  });
});

test('reads a state of 9 fields', () => {
  assert.deepEqual(parseOne('>STATE:5,ASSIGN_IP,,10.8.0.6,,,,,fd00::6'), {
    kind: 'state',
    timeS: 5,
    name: 'ASSIGN_IP',
    detail: '',
    tunIpv4: '10.8.0.6',
    tunIpv6: 'fd00::6',
  });
});

test('reads a state with an IPv6 remote', () => {
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

test('keeps the commas of a pending authentication', () => {
  const detail = 'timeout 60,WEB_AUTH::https://idp.example/?a,b,c';
  assert.deepEqual(parseOne(`>STATE:5,AUTH_PENDING,${detail},,,,,`), {
    kind: 'state',
    timeS: 5,
    name: 'AUTH_PENDING',
    detail,
  });
});

test('reads a failed verification without a reason', () => {
  assert.deepEqual(parseOne(">PASSWORD:Verification Failed: 'Auth'"), { kind: 'verification-failed', realm: 'Auth' });
});

test('strips only the outer quotes of a reason', () => {
  assert.deepEqual(parseOne(">PASSWORD:Verification Failed: 'Auth' ['it's ['not'] today']"), {
    kind: 'verification-failed',
    realm: 'Auth',
    reason: "it's ['not'] today",
  });
});

test('keeps a temporary reject as its reason', () => {
  assert.deepEqual(parseOne(">PASSWORD:Verification Failed: 'Auth' ['TEMP[backoff 3,advance no]:busy']"), {
    kind: 'verification-failed',
    realm: 'Auth',
    reason: 'TEMP[backoff 3,advance no]:busy',
  });
});

test('keeps the colons of a dynamic challenge', () => {
  assert.deepEqual(parseOne(">PASSWORD:Verification Failed: 'Auth' ['CRV1:R,E:Om01:Y3Ix:PIN: now: it's due']"), {
    kind: 'verification-failed',
    realm: 'Auth',
    crv1: { flags: ['R', 'E'], stateId: 'Om01', username: 'cr1', text: "PIN: now: it's due" },
  });
});

test('renders the answer to a dynamic challenge', () => {
  const challenge = { flags: ['R'], stateId: 'Om01', username: 'cr1', text: 'PIN' };
  assert.equal(answerDynamicChallenge({ challenge, response: '8675309' }), 'CRV1::Om01::8675309');
});

test('reads a prompt for user and password', () => {
  assert.deepEqual(parseOne(">PASSWORD:Need 'Auth' username/password"), {
    kind: 'password-need',
    realm: 'Auth',
    wants: 'username/password',
  });
});

test('reads a prompt for a password', () => {
  assert.deepEqual(parseOne(">PASSWORD:Need 'Private Key' password"), {
    kind: 'password-need',
    realm: 'Private Key',
    wants: 'password',
  });
});

test('reads a static challenge with quotes and commas', () => {
  assert.deepEqual(parseOne(">PASSWORD:Need 'Auth' username/password SC:3,say 'yes', or 'no' password"), {
    kind: 'password-need',
    realm: 'Auth',
    wants: 'username/password',
    staticChallenge: { text: "say 'yes', or 'no' password", echo: true, format: 'concatenated' },
  });
});

test('renders the answer to a static challenge in both formats', () => {
  const challenge = { text: 'PIN', echo: false } as const;
  const answer = { password: 'bar', response: '8675309' };
  assert.equal(
    answerStaticChallenge({ challenge: { ...challenge, format: 'scrv1' }, ...answer }),
    'SCRV1:YmFy:ODY3NTMwOQ==',
  );
  assert.equal(answerStaticChallenge({ challenge: { ...challenge, format: 'concatenated' }, ...answer }), 'bar8675309');
});

test('keeps the equals signs of an UPDOWN value', () => {
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

test('merges UPDOWN lines into one event at its end and keeps what comes between in order', () => {
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

test('does not let an UPDOWN variable shadow anything of an object', () => {
  const [event] = parseChunks('>UPDOWN:UP\n>UPDOWN:ENV,__proto__=x\n>UPDOWN:ENV,END\n');
  assert.ok(event?.kind === 'updown');
  assert.equal(event.env.get('__proto__'), 'x');
});

const others: readonly (readonly [string, object])[] = [
  ['>HOLD:Waiting for hold release:17', { kind: 'hold', waitS: 17 }],
  ['>HOLD:Waiting for hold release', { kind: 'hold', waitS: 0 }],
  ['>BYTECOUNT:9007199254740,2', { kind: 'bytecount', bytesIn: 9007199254740, bytesOut: 2 }],
  ['>LOG:1,,a,b', { kind: 'log', timeS: 1, flags: '', message: 'a,b' }],
  [
    '>FATAL:Error: private key password verification failed',
    { kind: 'fatal', message: 'Error: private key password verification failed' },
  ],
  ['>ECHO:1101519562,forget-passwords', { kind: 'echo', timeS: 1101519562, text: 'forget-passwords' }],
  ['>NOTIFY:info,remote-exit,EXIT', { kind: 'notify', severity: 'info', type: 'remote-exit', text: 'EXIT' }],
  ['>INFOMSG:CR_TEXT:R,E:PIN', { kind: 'infomsg', text: 'CR_TEXT:R,E:PIN' }],
  ['>REMOTE:2001:db8::1,1194,udp6', { kind: 'remote', host: '2001:db8::1', port: '1194', protocol: 'udp6' }],
  ['>PROXY:1,TCP,vpn.example.com', { kind: 'proxy', index: 1, protocol: 'TCP', host: 'vpn.example.com' }],
  [
    ">NEED-OK:Need 'token-insertion-request' confirmation MSG:Please insert 'x' MSG:y",
    { kind: 'need-ok', name: 'token-insertion-request', text: "Please insert 'x' MSG:y" },
  ],
  [">NEED-STR:Need 'name' input MSG:Which?", { kind: 'need-str', name: 'name', text: 'Which?' }],
  ['>PK_SIGN:YWJj', { kind: 'pk-sign', data: 'YWJj' }],
  [
    '>PK_SIGN:YWJj,RSA_PKCS1_PSS_PADDING,hashalg=SHA256',
    { kind: 'pk-sign', data: 'YWJj', algorithm: 'RSA_PKCS1_PSS_PADDING,hashalg=SHA256' },
  ],
  ['>RSA_SIGN:YWJj', { kind: 'rsa-sign', data: 'YWJj' }],
  ['>NEED-CERTIFICATE:macosx-keychain:subject:o=X', { kind: 'need-certificate', hint: 'macosx-keychain:subject:o=X' }],
];
for (const [line, expected] of others) {
  test(`reads ${line}`, () => assert.deepEqual(parseOne(line), expected));
}

const strangers = [
  '>',
  '>CLIENT:ESTABLISHED,0',
  '>STATE:5,DANCING,,,,,,',
  '>STATE:5,WAIT',
  '>LOG:x',
  '>BYTECOUNT:1',
  '>UPDOWN:ENV,a=b',
];
for (const line of strangers) {
  test(`passes ${line} on as unknown`, () => assert.deepEqual(parseOne(line), { kind: 'unknown', line }));
}
