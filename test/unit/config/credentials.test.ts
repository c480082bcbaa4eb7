import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { parseCredentialsFile, parseSecretFile, parseTotpFile } from '../../../src/config/credentials.ts';
import { faultsOf, problemOf, valueFrom } from './outcome.ts';

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

const anySecret = fc
  .string({ unit: 'grapheme', minLength: 1, maxLength: 40 })
  .filter((text) => !/[\x00-\x1f\x7f]/.test(text) && !text.startsWith('\ufeff') && bytes(text).length <= 256);

describe('the credentials file', () => {
  it('holds the user name and the password on two lines', () => {
    const expected = { username: 'alice', password: 'secret' };
    for (const text of [
      'alice\nsecret\n',
      'alice\nsecret',
      'alice\r\nsecret\r\n',
      'alice\nsecret\n\n\r\n',
      '\ufeffalice\nsecret',
    ]) {
      assert.deepEqual(valueFrom(parseCredentialsFile(bytes(text))), expected);
    }
  });

  it('keeps spaces, quotes, backslashes and letters of every script', () => {
    const [username, password] = ['  al "ice" ', " p\\a#s's é 密码 "];
    assert.deepEqual(valueFrom(parseCredentialsFile(bytes(`${username}\n${password}\n`))), { username, password });
  });

  it('gives back whatever credentials are written into it', () => {
    fc.assert(
      fc.property(anySecret, anySecret, fc.constantFrom('\n', '\r\n'), (username, password, newline) => {
        const file = bytes(`${username}${newline}${password}${newline}`);
        assert.deepEqual(valueFrom(parseCredentialsFile(file)), { username, password });
      }),
    );
  });

  const refusals = {
    '': 'OPENVPN_CREDENTIALS_FILE names an empty file',
    alice: 'OPENVPN_CREDENTIALS_FILE line 2 is missing',
    'alice\n': 'OPENVPN_CREDENTIALS_FILE line 2 is empty',
    '\nsecret\n': 'OPENVPN_CREDENTIALS_FILE line 1 is empty',
    'alice\nsecret\nmore\n': 'OPENVPN_CREDENTIALS_FILE line 3 is not empty',
    'alice\nsecret\n\nmore': 'OPENVPN_CREDENTIALS_FILE line 4 is not empty',
    'al\tice\nsecret': 'OPENVPN_CREDENTIALS_FILE line 1 holds a control character, such as a tab or a line break',
    'alice\nsec\0ret': 'OPENVPN_CREDENTIALS_FILE line 2 holds a control character, such as a tab or a line break',
    [`alice\n${'é'.repeat(129)}`]:
      'OPENVPN_CREDENTIALS_FILE line 2 is longer than 256 bytes, which is all that OpenVPN takes',
  };
  for (const [text, message] of Object.entries(refusals)) {
    it(`that reads ${JSON.stringify(text.slice(0, 24))}: ${message}`, () => {
      const [fault, ...others] = faultsOf(parseCredentialsFile(bytes(text)));
      assert.equal(others.length, 0);
      assert.equal(`${fault?.name} ${fault?.problem}`, message);
    });
  }

  it('may hold exactly 256 bytes for each value', () => {
    assert.equal(valueFrom(parseCredentialsFile(bytes(`a\n${'é'.repeat(128)}`))).password.length, 128);
  });

  it('is refused when it is not UTF-8', () => {
    assert.equal(
      problemOf(parseCredentialsFile(Uint8Array.of(0xff, 0xfe, 0x61, 0))),
      'names a file that is not UTF-8 text',
    );
  });

  it('has the faults of both lines reported', () => {
    assert.equal(faultsOf(parseCredentialsFile(bytes('a\tb\nc\td\nmore'))).length, 3);
  });

  it('never throws and never leaks into a fault', () => {
    const secret = 'Hunter2Hunter2';
    const noise = fc.constantFrom('', '\0', '\t', '\n', '\r', '\n\n', 'x'.repeat(300));
    fc.assert(
      fc.property(fc.array(noise, { minLength: 3, maxLength: 3 }), ([before, between, after]) => {
        const parsed = parseCredentialsFile(bytes(`${before}${secret}${between}${secret}${after}`));
        if (parsed.kind === 'faults') assert.ok(!JSON.stringify(parsed).includes('Hunter2'));
      }),
    );
    fc.assert(fc.property(fc.uint8Array(), (anyBytes) => void parseCredentialsFile(anyBytes)));
  });
});

describe('a file with one secret', () => {
  it('loses one newline at its end and nothing else', () => {
    for (const text of [' se cret ', ' se cret \n', ' se cret \r\n']) {
      assert.equal(valueFrom(parseSecretFile(bytes(text), 'OPENVPN_PASSWORD_FILE')), ' se cret ');
    }
    faultsOf(parseSecretFile(bytes('secret\n\n'), 'OPENVPN_PASSWORD_FILE'));
  });

  it('names the setting that named it', () => {
    const [fault] = faultsOf(parseSecretFile(bytes('\n'), 'OPENVPN_USERNAME_FILE'));
    assert.deepEqual([fault?.name, fault?.problem], ['OPENVPN_USERNAME_FILE', 'is empty']);
  });
});

describe('the secret of one-time codes', () => {
  it('is base32 as providers show it', () => {
    for (const text of ['JBSWY3DPEHPK3PXP', 'jbsw y3dp ehpk 3pxp\n', '\ufeffJBSW-Y3DP-EHPK-3PXP====\r\n'])
      assert.equal(valueFrom(parseTotpFile(bytes(text), 'TOTP_SECRET_FILE')).secret.type, 'secret');
  });

  it('may be the address of a QR code', () => {
    const address = 'otpauth://totp/x?secret=JBSWY3DPEHPK3PXP&digits=8';
    assert.equal(valueFrom(parseTotpFile(bytes(address), 'TOTP_SECRET_FILE')).digits, 8);
  });

  const refusals = {
    '': 'the TOTP secret is not base32: it is empty',
    'otpauth://totp/x': 'the TOTP secret is not base32: it is empty',
    JBSW1: 'the TOTP secret is not base32: character 5 is not one of A-Z and 2-7',
    JBS: 'the TOTP secret is not base32: 3 characters are one too many or too few',
  };
  for (const [text, problem] of Object.entries(refusals)) {
    it(`that reads "${text}": ${problem}`, () => {
      assert.equal(problemOf(parseTotpFile(bytes(text), 'TOTP_SECRET_FILE')), problem);
    });
  }

  it('never shows in what is printed of it', () => {
    const parsed = parseTotpFile(bytes('HUNTERHUNTER====HUNTER'), 'TOTP_SECRET_FILE');
    assert.ok(!JSON.stringify(parsed).includes('HUNTER'));
    assert.ok(!inspect(parseTotpFile(bytes('HUNTERHUNTERHUNT'), 'x')).includes('HUNTER'));
  });
});
