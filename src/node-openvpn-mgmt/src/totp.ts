import type { KeyObject } from 'node:crypto';

import { ManagementError } from './errors.ts';

/** The secret of a one-time password, which `console.log` and `JSON.stringify` do not show. */
export type TotpSecret = KeyObject;

/** How the one-time passwords of a login are made (RFC 6238, section 4). */
export interface TotpRecipe {
  readonly secret: TotpSecret;
  /** 6 unless told. */
  readonly digits?: 6 | 7 | 8;
  /** How long a code is valid; 30 unless told. */
  readonly periodS?: number;
  /** `sha1` unless told. */
  readonly algorithm?: 'sha1' | 'sha256' | 'sha512';
}

/** What a one-time password is made of. */
export interface TotpOptions extends TotpRecipe {
  /** Milliseconds since 1970: `Date.now()`. */
  readonly timeMs: number;
}

const base32Alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/**
 * Parses a secret as providers show it: base32 (RFC 4648), in either case, with or without spaces, hyphens and padding.
 * Throws `MGMT_PARAMETER`, whose message never shows the secret.
 */
export function parseTotpSecret(base32: string): TotpSecret {
  const bytes: number[] = [];
  let bits = 0;
  let bitCount = 0;
  let digitCount = 0;
  for (const [index, character] of Array.from(base32.replace(/=+\s*$/, '')).entries()) {
    if (/[\s-]/.test(character)) continue;
    const value = base32Alphabet.indexOf(character.toUpperCase());
    if (value === -1) throw refusal(`character ${index + 1} is not one of A-Z and 2-7`);
    digitCount += 1;
    bits = ((bits << 5) | value) & 0xfff;
    bitCount += 5;
    if (bitCount >= 8) {
      bitCount -= 8;
      bytes.push((bits >> bitCount) & 0xff);
    }
  }
  if (digitCount === 0) throw refusal('it is empty');
  // Eight digits are five bytes; one, three or six digits at the end cannot come from whole bytes.
  if (bitCount >= 5) throw refusal(`${digitCount} characters are one too many or too few`);
  return crypto().createSecretKey(Buffer.from(bytes));
}

/**
 * Parses what is given to an authenticator app: the secret in base32, or the address in the QR code,
 * `otpauth://totp/name?secret=…`, with `digits`, `period` (in seconds) and `algorithm`. Throws `MGMT_PARAMETER`, whose
 * message never shows the secret.
 */
export function parseTotp(text: string): TotpRecipe {
  if (!/^\s*otpauth:/i.test(text)) return { secret: parseTotpSecret(text) };
  const address = URL.parse(text.trim());
  if (address?.host !== 'totp') throw addressRefusal('it does not begin with otpauth://totp/');
  const { secret = '', digits = '6', period = '30', algorithm = 'sha1' } = Object.fromEntries(address.searchParams);
  return {
    secret: parseTotpSecret(secret),
    digits: oneOf([6, 7, 8], Number(digits)) ?? refuseField('digits', '6, 7 or 8'),
    periodS: secondsOf(period) ?? refuseField('period', 'seconds, 1 to 3600'),
    algorithm:
      oneOf(['sha1', 'sha256', 'sha512'], algorithm.toLowerCase()) ??
      refuseField('algorithm', 'SHA1, SHA256 or SHA512'),
  };
}

function oneOf<Value>(known: readonly Value[], given: unknown): Value | undefined {
  return known.find((value) => value === given);
}

function secondsOf(text: string): number | undefined {
  const seconds = Number(text);
  return /^\d{1,4}$/.test(text) && seconds >= 1 && seconds <= 3_600 ? seconds : undefined;
}

function refuseField(name: string, allowed: string): never {
  throw addressRefusal(`${name} is not ${allowed}`);
}

/** Renders the one-time password of a moment. */
export function renderTotp({ secret, timeMs, digits = 6, periodS = 30, algorithm = 'sha1' }: TotpOptions): string {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(timeMs / 1000 / periodS)));
  const mac = crypto().createHmac(algorithm, secret).update(counter).digest();
  // RFC 4226, section 5.3: the last four bits say where the 31 bits of the code begin.
  const offset = mac.readUInt8(mac.length - 1) & 0x0f;
  const code = mac.readUInt32BE(offset) & 0x7fff_ffff;
  return String(code % 10 ** digits).padStart(digits, '0');
}

/** Loaded for the first secret only: it costs 6 ms of a program's start. */
function crypto(): typeof import('node:crypto') {
  return process.getBuiltinModule('node:crypto');
}

function refusal(problem: string): ManagementError {
  return new ManagementError({ code: 'MGMT_PARAMETER', message: `the TOTP secret is not base32: ${problem}` });
}

function addressRefusal(problem: string): ManagementError {
  return new ManagementError({ code: 'MGMT_PARAMETER', message: `the otpauth address cannot be used: ${problem}` });
}
