import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseChunks, parseOne } from './session.ts';

test('leaves empty fields of a state out', () => {
  assert.deepEqual(parseOne('>STATE:5,RECONNECTING,ping-restart,,,,,'), {
    kind: 'state',
    timeS: 5,
    name: 'RECONNECTING',
    detail: 'ping-restart',
  });
});

test('reads a failed verification without a reason', () => {
  assert.deepEqual(parseOne(">PASSWORD:Verification Failed: 'Auth'"), { kind: 'verification-failed', realm: 'Auth' });
});

test('keeps a temporary reject as its reason', () => {
  assert.deepEqual(parseOne(">PASSWORD:Verification Failed: 'Auth' ['TEMP[backoff 3,advance no]:busy']"), {
    kind: 'verification-failed',
    realm: 'Auth',
    reason: 'TEMP[backoff 3,advance no]:busy',
  });
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
