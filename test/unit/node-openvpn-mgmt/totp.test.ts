import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { ManagementError, parseTotp, parseTotpSecret, renderTotp } from '../../../src/node-openvpn-mgmt/src/index.ts';

// RFC 6238, appendix B: the secret is the text 1234567890…, as long as the hash.
const algorithms = [
  { algorithm: 'sha1', bytes: 20, codes: ['94287082', '07081804', '14050471', '89005924', '69279037', '65353130'] },
  { algorithm: 'sha256', bytes: 32, codes: ['46119246', '68084774', '67062674', '91819424', '90698825', '77737706'] },
  { algorithm: 'sha512', bytes: 64, codes: ['90693936', '25091201', '99943326', '93441116', '38618901', '47863826'] },
] as const;
const timesS = [59, 1111111109, 1111111111, 1234567890, 2000000000, 20000000000];

for (const { algorithm, bytes, codes } of algorithms) {
  test(`gives the codes of RFC 6238 with ${algorithm}`, () => {
    const secret = parseTotpSecret(encodeBase32(Buffer.from('1234567890'.repeat(7).slice(0, bytes))));
    assert.deepEqual(
      timesS.map((timeS) => renderTotp({ secret, timeMs: timeS * 1000, digits: 8, algorithm })),
      codes,
    );
  });
}

test('gives six digits every thirty seconds unless told otherwise', () => {
  const secret = parseTotpSecret('GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ');
  assert.equal(renderTotp({ secret, timeMs: 1111111109_999 }), '081804');
  assert.equal(renderTotp({ secret, timeMs: 1111111110_000 }), '050471');
  assert.equal(
    renderTotp({ secret, timeMs: 1111111110_000, periodS: 60 }),
    renderTotp({ secret, timeMs: 555555555_000 }),
  );
});

test('takes a secret in either case, with spaces, hyphens and padding', () => {
  const code = renderTotp({ secret: parseTotpSecret('GEZDGNBVGY3TQOJQGE'), timeMs: 0 });
  for (const text of ['gezd gnbv gy3t qojq ge', 'GEZD-GNBV-GY3T-QOJQ-GE======', ' GEZDGNBVGY3TQOJQGE======\n']) {
    assert.equal(renderTotp({ secret: parseTotpSecret(text), timeMs: 0 }), code);
  }
});

const refused: readonly (readonly [string, string])[] = [
  ['', 'it is empty'],
  [' == ', 'it is empty'],
  ['GEZDGNBV1', 'character 9 is not one of A-Z and 2-7'],
  ['GEZD GNB0', 'character 9 is not one of A-Z and 2-7'],
  ['GEZ=DGNB', 'character 4 is not one of A-Z and 2-7'],
  ['otpauth://totp/x', 'character 8 is not one of A-Z and 2-7'],
  ['🐙', 'character 1 is not one of A-Z and 2-7'],
  ['GEZDGNBVG', '9 characters are one too many or too few'],
];
for (const [text, problem] of refused) {
  test(`refuses the secret ${JSON.stringify(text)}`, () => {
    const message = `the TOTP secret is not base32: ${problem}`;
    assert.throws(() => parseTotpSecret(text), { code: 'MGMT_PARAMETER', message });
  });
}

test('takes the address of a QR code, with what it says of the codes', () => {
  const secret = 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZA';
  const address = `otpauth://totp/A%20provider:alice?issuer=A&secret=${secret}&algorithm=SHA256&digits=8&period=60`;
  const { secret: key, ...recipe } = parseTotp(address);
  assert.deepEqual(recipe, { algorithm: 'sha256', digits: 8, periodS: 60 });
  assert.deepEqual(key.export(), parseTotpSecret(secret).export());
  // RFC 6238, appendix B: time 59 s in steps of 30 s is time 118 s in steps of 60 s.
  assert.equal(renderTotp({ ...parseTotp(address), timeMs: 118_000 }), '46119246');
  const { secret: _, ...usual } = parseTotp(`\notpauth://totp/x?secret=${secret}\n`);
  assert.deepEqual(usual, { algorithm: 'sha1', digits: 6, periodS: 30 });
  assert.deepEqual(Object.keys(parseTotp(` ${secret}\n`)), ['secret']);
});

const refusedAddresses: readonly (readonly [string, string])[] = [
  [
    'otpauth://hotp/x?secret=GEZDGNBV&counter=1',
    'the otpauth address cannot be used: it does not begin with otpauth://totp/',
  ],
  ['otpauth:GEZDGNBV', 'the otpauth address cannot be used: it does not begin with otpauth://totp/'],
  ['otpauth://totp/x', 'the TOTP secret is not base32: it is empty'],
  ['otpauth://totp/x?secret=GEZDGNBV&digits=10', 'the otpauth address cannot be used: digits is not 6, 7 or 8'],
  ['otpauth://totp/x?secret=GEZDGNBV&period=0', 'the otpauth address cannot be used: period is not seconds, 1 to 3600'],
  [
    'otpauth://totp/x?secret=GEZDGNBV&algorithm=MD5',
    'the otpauth address cannot be used: algorithm is not SHA1, SHA256 or SHA512',
  ],
];
for (const [address, message] of refusedAddresses) {
  test(`refuses the address ${address}`, () => {
    assert.throws(() => parseTotp(address), { code: 'MGMT_PARAMETER', message });
  });
}

test('shows the secret neither in an error nor when it is printed', () => {
  const secret = parseTotpSecret('GEZDGNBVGY3TQOJQ');
  assert.doesNotMatch(`${inspect(secret, { depth: 5 })}${JSON.stringify(secret)}`, /GEZD|1234|49/);
  assert.throws(
    () => parseTotpSecret('GEZDGNBVGY3TQOJ1'),
    (error) => error instanceof ManagementError && !inspect(error).includes('GEZD'),
  );
});

test('reads back the bytes of every secret', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 70 }), (bytes) => {
      assert.deepEqual(new Uint8Array(parseTotpSecret(encodeBase32(bytes)).export()), bytes);
    }),
  );
});

test('takes whatever text comes as a secret or refuses it', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      try {
        parseTotp(text);
        parseTotp(`otpauth://totp/${text}`);
        parseTotpSecret(text);
      } catch (error) {
        assert.ok(error instanceof ManagementError && error.code === 'MGMT_PARAMETER');
      }
    }),
  );
});

function encodeBase32(bytes: Uint8Array): string {
  const bits = Array.from(bytes, (byte) => byte.toString(2).padStart(8, '0')).join('');
  const digits = bits.match(/.{1,5}/g) ?? [];
  return digits.map((digit) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'[Number.parseInt(digit.padEnd(5, '0'), 2)]).join('');
}
