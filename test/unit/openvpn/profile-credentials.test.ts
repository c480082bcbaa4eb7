import assert from 'node:assert/strict';
import { test } from 'node:test';
import { faultsOf, parseText, understood, withLines } from './corpus.ts';

test('reads credentials inline and from a file, and never passes them on', () => {
  const base = 'client\nremote a\n<ca>\nCA\n</ca>\n';
  const inline = understood(parseText(`${base}<auth-user-pass>\nme\np'"#w \n</auth-user-pass>\n`));
  assert.deepEqual(inline.credentials, { username: 'me', password: `p'"#w ` });
  const filed = understood(
    parseText(`${base}auth-user-pass up.txt\naskpass pp\n`, { 'up.txt': 'me\r\npw\r\n', pp: 'pass\n' }),
  );
  assert.deepEqual(filed.credentials, { username: 'me', password: 'pw' });
  assert.equal(filed.keyPassphrase, 'pass');
  for (const profile of [inline, filed]) {
    assert.ok(profile.needsCredentials);
    assert.ok(!profile.options.some(({ name }) => name === 'auth-user-pass' || name === 'askpass'));
  }
});

test('goes on without the credentials file of another machine', () => {
  for (const file of [{ kind: 'missing' }, { kind: 'outside' }] as const) {
    const parsed = parseText(withLines('auth-user-pass /etc/pw'), file.kind === 'outside' ? { '/etc/pw': file } : {});
    const profile = understood(parsed);
    assert.ok(profile.needsCredentials);
    assert.equal(profile.credentials, undefined);
    assert.equal(profile.ignored.length, 1);
  }
});

test('checks the secrets of a profile like those of the settings, and shows none', () => {
  const control = 'holds a control character, such as a tab or a line break';
  const long = 'is longer than 256 bytes, which is all that OpenVPN takes';
  const secret = 'hunterhunter';
  const secrets: readonly (readonly [text: string, problem: string])[] = [
    ['', 'is empty'],
    [`${secret}\t`, control],
    [`${secret}\u007f`, control],
    [`${secret}${'é'.repeat(123)}`, long],
  ];
  for (const [text, problem] of secrets) {
    const cases = [
      [parseText(withLines('<auth-user-pass>', text, 'pw', '</auth-user-pass>')), '8 | <auth-user-pass>', 'user name'],
      [parseText(withLines('<auth-user-pass>', 'me', text, '</auth-user-pass>')), '9 | <auth-user-pass>', 'password'],
      [parseText(withLines('auth-user-pass f'), { f: `${text}\r\npw\n` }), '7 | auth-user-pass f', 'user name'],
      [parseText(withLines('auth-user-pass f'), { f: `me\n${text}\n` }), '7 | auth-user-pass f', 'password'],
      [parseText(withLines('askpass f'), { f: `${text}\n` }), '7 | askpass f', 'passphrase'],
    ] as const;
    for (const [parsed, place, what] of cases) {
      assert.deepEqual(faultsOf(parsed), [`test.ovpn:${place} | has a ${what} that ${problem}`]);
      assert.ok(!JSON.stringify(parsed).includes(secret));
    }
  }
  const whole = `${'é'.repeat(128)}`;
  const profile = understood(
    parseText(withLines('auth-user-pass f', 'askpass g'), { f: `${whole}\n${whole}`, g: whole }),
  );
  assert.deepEqual(profile.credentials, { username: whole, password: whole });
  assert.equal(profile.keyPassphrase, whole);
  assert.deepEqual(faultsOf(parseText(withLines('auth-user-pass f'), { f: 'only-a-name\n' })), [
    'test.ovpn:7 | auth-user-pass f | has a password that is empty',
  ]);
  assert.deepEqual(faultsOf(parseText(withLines('auth-user-pass f'), { f: Buffer.from([0x61, 0xff]) })), [
    'test.ovpn:7 | auth-user-pass f | names a file that is not UTF-8 text',
  ]);
});

test('never shows a secret in a fault or a reason', () => {
  const secret = 'hunterhunter';
  const texts = [
    withLines('</auth-user-pass>', secret, '"', `setenv opt no-such ${secret}`),
    withLines(secret, secret, '</auth-user-pass>'),
    withLines(`auth-token ${secret}`, `setenv UV_T ${secret} x`, `setenv TOKEN ${secret}`, 'up x'),
    withLines('<key>', secret, '</key>', '<tls-crypt>', `${secret}</`, '</tls-crypt>', `"${secret}`),
    withLines('MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7', '6acef03f62675b4b1bbd03e53b187727', '</key>'),
  ];
  for (const text of texts) {
    const parsed = parseText(text);
    assert.equal(parsed.kind, 'faults');
    const report = JSON.stringify(parsed);
    for (const word of [secret, 'MIIEv', '6acef']) assert.ok(!report.includes(word), report);
  }
});

test('reads the secret of one-time codes from the file beside it', () => {
  const text = withLines('auth-user-pass');
  assert.equal(understood(parseText(text)).totp, undefined);
  assert.equal(understood(parseText(text, { 'test.totp': 'JBSWY3DPEHPK3PXP\n' })).totp?.secret.symmetricKeySize, 10);
  assert.deepEqual(faultsOf(parseText(text, { 'test.totp': 'HUNTER1' })), [
    'test.totp | the TOTP secret is not base32: character 7 is not one of A-Z and 2-7',
  ]);
  assert.deepEqual(faultsOf(parseText(text, { 'test.totp': { kind: 'outside' } })), [
    'test.totp | the file cannot be read: it leads out of the folder of the profile',
  ]);
});
