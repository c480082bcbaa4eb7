import { parseSecret, parseTotpFile } from '../config/credentials.ts';
import { assertNever } from '../errors.ts';
import { wrapBase64 } from './option-body.ts';
import type { OptionLine } from './option-lexer.ts';
import type { OptionRule } from './option-rule.ts';
import { type BlockDraft, type Draft, ignore, pass, report } from './profile-draft.ts';
import { decodeText } from './profile-text.ts';

/** A file of PEM blocks; a revocation list is the largest that is seen. */
const MAX_FILE_BYTES = 1024 * 1024;

/** Puts a key, a certificate or a list into the profile as an inline block, from its file if it has one. */
export function embedMaterial(input: {
  draft: Draft;
  option: OptionLine;
  rule: Extract<OptionRule, { kind: 'material' }>;
  block?: BlockDraft;
}): void {
  const { draft, option, rule, block } = input;
  const [path = '', after] = option.parameters;
  if (option.name === 'crl-verify' && after !== undefined) {
    report(draft, option, 'would read a directory', 'name one file with all revocation lists in PEM form');
    return;
  }
  if (rule.after === 'direction' && after !== undefined && after !== '0' && after !== '1') {
    report(draft, option, 'has a key direction that is neither 0 nor 1', 'write 1, unless the server says 0');
    return;
  }
  const body = option.inline ?? bodyOf(draft, option, { path, encoding: rule.encoding });
  if (body !== undefined) {
    // Some tools write base64 as one line, which OpenVPN would take in pieces.
    const inline = rule.encoding === 'base64' ? wrapBase64(body) : body;
    pass({ draft, option: { name: option.name, parameters: [], line: option.line, inline }, source: option, block });
  }
  if (rule.after === 'direction' && after !== undefined) {
    // An inline block has no room for the direction, so it gets a line of its own.
    const direction = { name: 'key-direction', parameters: [after], line: option.line };
    pass({ draft, option: direction, source: option, block });
  }
}

/** Reads `auth-user-pass` in its three forms: alone, with a file, inline. */
export function readCredentials(draft: Draft, option: OptionLine): void {
  const credentials = readPair(draft, option);
  if (credentials !== undefined) draft.credentials = credentials;
}

/** User name and password on two lines, inline or in the file that the option names first. */
export function readPair(draft: Draft, option: OptionLine): { username: string; password: string } | undefined {
  const [path] = option.parameters;
  let text = option.inline;
  if (text === undefined && path !== undefined && path !== 'stdin' && path !== 'username-only') {
    const read = draft.readFile(path);
    if (read.kind === 'unreadable') {
      report(draft, option, `names a file that cannot be read: ${read.reason}`, 'make the file readable');
      return undefined;
    }
    // Not a fault: most profiles name a file of somebody else's machine, and the router asks its own settings.
    if (read.kind === 'outside') ignore(draft, option, 'its file is outside of the folder of the profile');
    if (read.kind === 'missing') ignore(draft, option, 'its file does not exist');
    if (read.kind === 'text') {
      text = decodeText(read.bytes);
      if (text === undefined) report(draft, option, 'names a file that is not UTF-8 text', 'save the file as UTF-8');
    }
  }
  if (text === undefined) return undefined;
  const [username = '', password = ''] = text.split('\n').map((line) => line.replace(/\r$/, ''));
  const lineOf = (row: number): number => (option.inline === undefined ? option.line : option.line + row);
  const sound = [
    isSound(draft, { ...option, line: lineOf(1) }, { secret: username, what: 'user name' }),
    isSound(draft, { ...option, line: lineOf(2) }, { secret: password, what: 'password' }),
  ];
  return sound.every(Boolean) ? { username, password } : undefined;
}

/** Reads the secret of one-time codes from the file beside the profile, where there is one. */
export function readTotp(draft: Draft): void {
  const name = `${draft.file.replace(/\.[^.]*$/, '')}.totp`;
  const read = draft.readFile(name);
  if (read.kind === 'missing') return;
  if (read.kind !== 'text') {
    const reason = read.kind === 'outside' ? 'it leads out of the folder of the profile' : read.reason;
    draft.faults.push({ name, problem: `the file cannot be read: ${reason}`, hint: 'make the file readable' });
    return;
  }
  const parsed = parseTotpFile(read.bytes, name);
  if (parsed.kind === 'ok') draft.totp = parsed.value;
  else draft.faults.push(...parsed.faults);
}

/** Reads the file that `askpass` names. */
export function readPassphrase(draft: Draft, option: OptionLine): void {
  const [path] = option.parameters;
  if (path === undefined || path === 'stdin') {
    ignore(draft, option, 'the router answers every prompt for a password');
    return;
  }
  const text = bodyOf(draft, option, { path, encoding: 'text' });
  if (text === undefined) return;
  const [passphrase = ''] = text.split('\n');
  if (isSound(draft, option, { secret: passphrase, what: 'passphrase' })) draft.keyPassphrase = passphrase;
}

/** Whether a secret can be told to OpenVPN, by the rules of the settings; reports it, without its text, otherwise. */
function isSound(draft: Draft, option: OptionLine, { secret, what }: { secret: string; what: string }): boolean {
  const parsed = parseSecret(secret, 'OPENVPN_PASSWORD');
  if (parsed.kind === 'ok') return true;
  for (const { problem, hint } of parsed.faults) report(draft, option, `has a ${what} that ${problem}`, hint);
  return false;
}

function bodyOf(
  draft: Draft,
  option: OptionLine,
  file: { path: string; encoding: 'text' | 'base64' },
): string | undefined {
  // Profiles of OpenVPN 2.1 to 2.3 announce the block that follows: `tls-auth [inline] 1`.
  if (file.path === '[inline]' || file.path === '[[INLINE]]') {
    ignore(draft, option, 'it announces an inline block');
    return undefined;
  }
  const read = draft.readFile(file.path);
  switch (read.kind) {
    case 'missing':
      report(draft, option, 'names a file that does not exist', 'put the file into the folder of the profile');
      return undefined;
    case 'outside':
      report(draft, option, 'names a file outside of the folder of the profile', 'put it beside the profile');
      return undefined;
    case 'unreadable':
      report(draft, option, `names a file that cannot be read: ${read.reason}`, 'make the file readable');
      return undefined;
    case 'text':
      break;
    default:
      return assertNever(read);
  }
  if (read.bytes.length > MAX_FILE_BYTES) {
    report(draft, option, 'names a file larger than 1 MiB', 'name the file that the provider made for it');
    return undefined;
  }
  if (file.encoding === 'base64') return Buffer.from(read.bytes).toString('base64');
  const text = decodeText(read.bytes);
  if (text === undefined) {
    report(draft, option, 'names a file that is not text', 'convert the file to PEM form');
    return undefined;
  }
  const rows = text.split('\n').map((row) => row.replace(/\r$/, ''));
  return `${rows.join('\n').replace(/\n+$/, '')}\n`;
}
