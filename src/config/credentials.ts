import { type Fault, faulty, ok, type Parsed } from '../errors.ts';
import { ManagementError, parseTotp as parseRecipe, type TotpRecipe } from '../node-openvpn-mgmt/src/index.ts';

/** User name and password for the VPN server, exactly as given. */
export interface Credentials {
  readonly username: string;
  readonly password: string;
}

/** The settings that hold one secret, or name the file that does. */
export type SecretName = 'OPENVPN_USERNAME' | 'OPENVPN_PASSWORD' | 'OPENVPN_USERNAME_FILE' | 'OPENVPN_PASSWORD_FILE';

/**
 * Longest user name or password in bytes of UTF-8: one parameter of a management command holds no more
 * (OPTION_PARM_SIZE in OpenVPN's options.h).
 */
const secretMaxBytes = 256;

const credentialsName = 'OPENVPN_CREDENTIALS_FILE';

/**
 * Parses the file of OPENVPN_CREDENTIALS_FILE: two lines, user name and password, ended by LF or CRLF.
 * Spaces, quotes, backslashes and non-ASCII letters are kept; a byte order mark and empty lines at the end are not.
 * No fault quotes the file.
 */
export function parseCredentialsFile(bytes: Uint8Array): Parsed<Credentials> {
  const text = decodeUtf8(bytes);
  if (text === undefined) return faulty(notUtf8(credentialsName));
  if (text === '') {
    return faulty({
      name: credentialsName,
      problem: 'names an empty file',
      hint: 'write the user name on its first line and the password on its second',
    });
  }
  const [username = '', password, ...rest] = text.split(/\r?\n/);
  const faults = [...checkSecret(`${credentialsName} line 1`, username)];
  if (password === undefined) {
    faults.push({
      name: `${credentialsName} line 2`,
      problem: 'is missing',
      hint: 'write the password on the second line',
    });
  } else {
    faults.push(...checkSecret(`${credentialsName} line 2`, password));
  }
  const surplus = rest.findIndex((line) => line !== '');
  if (surplus >= 0) {
    faults.push({
      name: `${credentialsName} line ${surplus + 3}`,
      problem: 'is not empty',
      hint: 'keep two lines only, the user name and the password',
    });
  }
  return faults.length > 0 || password === undefined ? { kind: 'faults', faults } : ok({ username, password });
}

/** Parses a file that holds one secret, such as a Docker secret. One newline at its end is not part of the secret. */
export function parseSecretFile(bytes: Uint8Array, name: SecretName): Parsed<string> {
  const text = decodeUtf8(bytes);
  return text === undefined ? faulty(notUtf8(name)) : parseSecret(text, name);
}

/** Parses one secret as an environment variable gives it. One newline at its end is not part of the secret. */
export function parseSecret(text: string, name: SecretName): Parsed<string> {
  // `echo secret > file` and a YAML block scalar both end in a newline that nobody meant.
  const secret = text.replace(/\r?\n$/, '');
  const faults = checkSecret(name, secret);
  return faults.length > 0 ? { kind: 'faults', faults } : ok(secret);
}

/** Parses the secret of one-time codes, in base32 or as an otpauth:// address. No fault quotes it. */
export function parseTotp(text: string, name: string): Parsed<TotpRecipe> {
  try {
    return ok(parseRecipe(text));
  } catch (error) {
    if (!(error instanceof ManagementError)) throw error;
    const hint =
      'give the secret that was shown for the authenticator app, letters and digits alone, or the otpauth:// address of its QR code';
    return faulty({ name, problem: error.message, hint });
  }
}

/** Parses a file that holds the secret of one-time codes and nothing else. */
export function parseTotpFile(bytes: Uint8Array, name: string): Parsed<TotpRecipe> {
  const text = decodeUtf8(bytes);
  return text === undefined ? faulty(notUtf8(name)) : parseTotp(text.trim(), name);
}

/** Parses the file with the token of control: one word, long enough that nobody guesses it. */
export function parseTokenFile(bytes: Uint8Array): Parsed<string> {
  const name = 'CONTROL_TOKEN_FILE';
  const token = decodeUtf8(bytes)?.trim();
  if (token !== undefined && /^[\x21-\x7e]{16,256}$/.test(token)) return ok(token);
  return faulty({
    name,
    problem: 'is not one word of 16 to 256 letters, digits and signs',
    hint: 'make one: openssl rand -hex 32',
  });
}

function checkSecret(name: string, secret: string): readonly Fault[] {
  const faults: Fault[] = [];
  if (secret === '') faults.push({ name, problem: 'is empty', hint: 'write the value that the VPN provider gave' });
  // The management interface drops these bytes without a word, and a newline would start another command.
  if (/[\x00-\x1f\x7f]/.test(secret)) {
    faults.push({
      name,
      problem: 'holds a control character, such as a tab or a line break',
      hint: 'remove it, and check that the text was copied whole and alone',
    });
  }
  if (new TextEncoder().encode(secret).length > secretMaxBytes) {
    faults.push({
      name,
      problem: `is longer than ${secretMaxBytes} bytes, which is all that OpenVPN takes`,
      hint: 'check that it holds this one value only',
    });
  }
  return faults;
}

/** Decodes strict UTF-8 and drops a byte order mark; undefined when the bytes are something else. */
function decodeUtf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}

function notUtf8(name: string): Fault {
  return { name, problem: 'names a file that is not UTF-8 text', hint: 'save the file as UTF-8' };
}
