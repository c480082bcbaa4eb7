import { readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, extname, isAbsolute, join, sep } from 'node:path';
import { parseCredentialsFile, parseSecretFile, parseTokenFile, parseTotpFile } from '../config/credentials.ts';
import type { CredentialSource, RouterConfig, ValueOrFile } from '../config/router-config.ts';
import { type Fault, faulty, ok, type Parsed } from '../errors.ts';
import { type FileRead, type Profile, parseProfile } from '../openvpn/profile.ts';
import type { OpenvpnSecrets } from './openvpn-login.ts';

/** Where users mount their profiles. */
export const configFolder = '/config';

const maxFileBytes = 1024 * 1024;

/** Reads the profiles that CONFIG names, in its order, or the only one there is. Files that one refers to must lie beside it. */
export function readProfiles({
  names,
  folder,
}: {
  names: readonly string[];
  folder: string;
}): Parsed<readonly [Profile, ...Profile[]]> {
  const paths = names.length === 0 ? findOnlyProfile(folder) : findProfiles(names, folder);
  if (paths.kind === 'faults') return paths;
  const parsed = paths.value.map((path) => readProfile(path, folder));
  const faults = parsed.flatMap((profile) => (profile.kind === 'faults' ? profile.faults : []));
  const [first, ...others] = parsed.flatMap((profile) => (profile.kind === 'ok' ? profile.value : []));
  return faults.length > 0 || first === undefined ? faulty(...faults) : ok([first, ...others]);
}

function readProfile(path: string, folder: string): Parsed<Profile> {
  const read = readBytes(path);
  const fault = (problem: string, hint: string) => faulty({ name: 'CONFIG', value: path, problem, hint });
  if (read.kind === 'missing') {
    return fault('the profile is not there', `mount the folder with your profile at ${folder}${listProfiles(folder)}`);
  }
  if (read.kind !== 'text') {
    const reason = read.kind === 'unreadable' ? read.reason : 'it is elsewhere';
    return fault(`the profile cannot be read (${reason})`, hintFor(reason));
  }
  if (read.bytes.every(isBlank)) return fault('the profile is empty', 'download it again from your provider');
  const home = dirname(path);
  return parseProfile({ name: basename(path), bytes: read.bytes, readFile: (file) => readInside(home, file) });
}

/** Paths of profiles in their order, each once; a folder stands for its profiles by name. */
function findProfiles(names: readonly string[], folder: string): Parsed<readonly string[]> {
  const found = names.map((name): Parsed<readonly string[]> => {
    const path = isAbsolute(name) ? join(name) : join(folder, name);
    if (!isFolder(path)) return ok([path]);
    const profiles = profilesIn(path).map((profile) => join(path, profile));
    return profiles.length > 0 ? ok(profiles) : faulty(noProfile(path, 'put your profiles into it'));
  });
  const faults = found.flatMap((paths) => (paths.kind === 'faults' ? paths.faults : []));
  if (faults.length > 0) return faulty(...faults);
  return ok([...new Set(found.flatMap((paths) => (paths.kind === 'ok' ? paths.value : [])))]);
}

/** What cannot be looked at is taken for a file; reading it says why. */
function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error;
    return false;
  }
}

function noProfile(folder: string, hint: string): Fault {
  return { name: 'CONFIG', problem: `there is no .ovpn or .conf file in ${folder}`, hint };
}

const noFile = 'it is not a file';
const tooLarge = 'it is larger than 1 MiB';

/** What to do about a file that is there and cannot be read. */
function hintFor(reason: string): string {
  if (reason === noFile) return 'put a file there: Docker makes a folder where one that it mounts is missing';
  if (reason === tooLarge) return 'see whether it is the right one';
  return 'make it readable for root in the container, or add the capability DAC_READ_SEARCH';
}

function isBlank(byte: number): boolean {
  return byte <= 0x20;
}

function findOnlyProfile(folder: string): Parsed<readonly string[]> {
  const profiles = profilesIn(folder);
  const [only, ...others] = profiles;
  if (only === undefined) return faulty(noProfile(folder, `mount the folder with your profile at ${folder}`));
  if (others.length > 0) {
    return faulty({
      name: 'CONFIG',
      problem: `there is more than one profile in ${folder}: ${profiles.join(', ')}`,
      hint: `say which, for example CONFIG=${only}, or CONFIG=${folder} for all of them in this order`,
    });
  }
  return ok([join(folder, only)]);
}

function profilesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
      .filter((name) => ['.ovpn', '.conf'].includes(extname(name).toLowerCase()))
      .sort();
  } catch (error) {
    if (error instanceof Error && 'code' in error) return [];
    throw error;
  }
}

function listProfiles(folder: string): string {
  const profiles = profilesIn(folder);
  return profiles.length === 0 ? '' : ` and name one of ${profiles.join(', ')}`;
}

/** A file beside the profile; a path or link that leads elsewhere is `outside`. */
function readInside(home: string, file: string): FileRead {
  try {
    const root = realpathSync(home);
    const path = realpathSync(isAbsolute(file) ? file : join(root, file));
    return liesBeside({ root, path }) ? readBytes(path) : { kind: 'outside' };
  } catch (error) {
    if (error instanceof Error && 'code' in error) return { kind: 'missing' };
    throw error;
  }
}

/** Whether a file is in a profile's folder or below it; beside a profile in `/` are only the files of `/` itself. */
export function liesBeside({ root, path }: { readonly root: string; readonly path: string }): boolean {
  return root === sep ? dirname(path) === root : path.startsWith(root + sep);
}

function readBytes(path: string): FileRead {
  try {
    const stat = statSync(path);
    if (!stat.isFile()) return { kind: 'unreadable', reason: noFile };
    if (stat.size > maxFileBytes) return { kind: 'unreadable', reason: tooLarge };
    return { kind: 'text', bytes: readFileSync(path) };
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error;
    return error.code === 'ENOENT' ? { kind: 'missing' } : { kind: 'unreadable', reason: `${error.code}` };
  }
}

/** The settings that say where secrets come from. */
export type SecretSources = Pick<RouterConfig, 'credentials' | 'totp'>;

/** What the files of the settings hold, whatever the profiles need of it. */
interface SharedSecrets {
  readonly credentials: OpenvpnSecrets['credentials'];
  readonly totp: OpenvpnSecrets['totp'];
}

/** Reads every file that the settings name for secrets. */
export function readSharedSecrets({
  credentials: source,
  totp: totpSource,
}: {
  readonly [Name in keyof SecretSources]?: SecretSources[Name] | undefined;
}): Parsed<SharedSecrets> {
  const credentials = readCredentials(source);
  const totp = readTotp(totpSource);
  if (credentials.kind === 'ok' && totp.kind === 'ok') return ok({ credentials: credentials.value, totp: totp.value });
  return faulty(...[credentials, totp].flatMap((read) => (read.kind === 'faults' ? read.faults : [])));
}

function readCredentials(source: CredentialSource | undefined): Parsed<OpenvpnSecrets['credentials']> {
  if (source === undefined) return ok(undefined);
  return source.kind === 'file' ? readCredentialsFile(source) : readPair(source);
}

/**
 * Reads the credentials: those of the environment first, then what the profile brought along. Their absence is a fault
 * only when the profile needs them.
 */
export function readSecrets({
  sources,
  profile,
  profiles,
}: {
  sources: SecretSources;
  profile: Profile;
  /** Of several profiles, each one's own secrets come first: they may be of providers that must not meet. */
  profiles: 'one' | 'several';
}): Parsed<OpenvpnSecrets> {
  const passphrase = profile.keyPassphrase === undefined ? {} : { keyPassphrase: profile.keyPassphrase };
  const shared = readSharedSecrets(sources);
  if (shared.kind === 'faults') return shared;
  const { credentials } = shared.value;
  if (!profile.needsCredentials) return ok(passphrase);
  const isOwnFirst = profiles === 'several';
  const found = isOwnFirst ? (profile.credentials ?? credentials) : (credentials ?? profile.credentials);
  if (found === undefined) {
    return faulty({
      name: 'credentials',
      problem: `the profile ${profile.name} needs a user name and a password, and none are given`,
      hint: 'put them on two lines into a file mounted at /run/secrets/openvpn_credentials',
    });
  }
  // The codes of the settings are for the login of the settings.
  const mine = isOwnFirst && profile.credentials !== undefined ? undefined : shared.value.totp;
  const totp = isOwnFirst ? (profile.totp ?? mine) : (mine ?? profile.totp);
  const question = profile.options.find(({ name }) => name === 'static-challenge');
  if (question !== undefined && totp === undefined) return faulty(missingTotp(profile, question.line));
  return ok({ ...passphrase, credentials: found, ...(totp === undefined ? {} : { totp }) });
}

function missingTotp({ name }: Profile, line: number): Fault {
  return {
    name: `${name}:${line}`,
    problem: 'the server asks for a one-time code at every login, and there is no TOTP secret',
    hint: `put the secret of your authenticator app into a file, and name it in TOTP_SECRET_FILE, or put it beside the profile as ${name.replace(/\.[^.]*$/, '')}.totp`,
  };
}

function readTotp(source: RouterConfig['totp']): Parsed<OpenvpnSecrets['totp']> {
  if (source === undefined) return ok(undefined);
  if (source.kind === 'value') return ok(source.value);
  const read = readBytes(source.path);
  return read.kind === 'text'
    ? parseTotpFile(read.bytes, 'TOTP_SECRET_FILE')
    : faulty(unreadableSecret('TOTP_SECRET_FILE', source.path, read));
}

/** Reads the token of control; undefined where there is to be no control. */
export function readControlToken(path: string | undefined): Parsed<string | undefined> {
  if (path === undefined) return ok(undefined);
  const read = readBytes(path);
  return read.kind === 'text' ? parseTokenFile(read.bytes) : faulty(unreadableSecret('CONTROL_TOKEN_FILE', path, read));
}

/** What is wrong with the file of DNS_CA_FILE, where one is named; it is read again with each tunnel. */
export function findAuthorityFaults(path: string | undefined): readonly Fault[] {
  if (path === undefined) return [];
  const read = readBytes(path);
  if (read.kind !== 'text') return [unreadableSecret('DNS_CA_FILE', path, read)];
  if (Buffer.from(read.bytes).includes('-----BEGIN CERTIFICATE-----')) return [];
  return [{ name: 'DNS_CA_FILE', value: path, problem: 'holds no certificate', hint: 'give certificates in PEM' }];
}

type Credentials = NonNullable<OpenvpnSecrets['credentials']>;

function readCredentialsFile({
  path,
  required,
}: Extract<CredentialSource, { kind: 'file' }>): Parsed<Credentials | undefined> {
  const read = readBytes(path);
  // An empty file stands for none: Compose wants a secret's file to exist, also where the profile needs no password.
  if (read.kind === 'text' && !required && read.bytes.every(isBlank)) return ok(undefined);
  if (read.kind === 'text') return parseCredentialsFile(read.bytes);
  if (read.kind === 'missing' && !required) return ok(undefined);
  return faulty(unreadableSecret(required ? 'OPENVPN_CREDENTIALS_FILE' : 'credentials', path, read));
}

function readPair({ username, password }: Extract<CredentialSource, { kind: 'pair' }>): Parsed<Credentials> {
  const user = readValue(username, 'OPENVPN_USERNAME_FILE');
  const word = readValue(password, 'OPENVPN_PASSWORD_FILE');
  if (user.kind === 'ok' && word.kind === 'ok') return ok({ username: user.value, password: word.value });
  return faulty(...(user.kind === 'faults' ? user.faults : []), ...(word.kind === 'faults' ? word.faults : []));
}

function readValue(source: ValueOrFile, name: 'OPENVPN_USERNAME_FILE' | 'OPENVPN_PASSWORD_FILE'): Parsed<string> {
  if (source.kind === 'value') return ok(source.value);
  const read = readBytes(source.path);
  return read.kind === 'text' ? parseSecretFile(read.bytes, name) : faulty(unreadableSecret(name, source.path, read));
}

function unreadableSecret(name: string, path: string, read: Exclude<FileRead, { kind: 'text' }>): Fault {
  const reason = read.kind === 'unreadable' ? `cannot be read (${read.reason})` : 'is not there';
  return {
    name,
    value: path,
    problem: `the file ${reason}`,
    hint: read.kind === 'unreadable' ? hintFor(read.reason) : 'mount it into the container',
  };
}
