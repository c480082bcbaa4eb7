import { readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, extname, isAbsolute, join, sep } from 'node:path';
import { parseCredentialsFile, parseSecretFile } from '../config/credentials.ts';
import type { CredentialSource, ValueOrFile } from '../config/router-config.ts';
import { type Fault, faulty, ok, type Parsed } from '../errors.ts';
import { type FileRead, type Profile, parseProfile } from '../openvpn/profile.ts';
import type { OpenvpnSecrets } from './openvpn.ts';

/** Where users mount their profiles. */
export const configFolder = '/config';

const maxFileBytes = 1024 * 1024;

/** Reads the profile that CONFIG names, or the only one there is. Files it refers to must lie beside it. */
export function readProfile({ names, folder }: { names: readonly string[]; folder: string }): Parsed<Profile> {
  const path =
    names[0] === undefined ? findOnlyProfile(folder) : ok(isAbsolute(names[0]) ? names[0] : join(folder, names[0]));
  if (path.kind === 'faults') return path;
  const read = readBytes(path.value);
  if (read.kind === 'missing') {
    return faulty({
      name: 'CONFIG',
      value: path.value,
      problem: 'the profile is not there',
      hint: `mount the folder with your profile at ${folder}${listProfiles(folder)}`,
    });
  }
  if (read.kind !== 'text') {
    return faulty({
      name: 'CONFIG',
      value: path.value,
      problem: `the profile cannot be read (${read.kind === 'unreadable' ? read.reason : 'it is elsewhere'})`,
      hint: readableHint,
    });
  }
  if (read.bytes.every(isBlank)) {
    return faulty({
      name: 'CONFIG',
      value: path.value,
      problem: 'the profile is empty',
      hint: 'download it again from your provider',
    });
  }
  const home = dirname(path.value);
  return parseProfile({ name: basename(path.value), bytes: read.bytes, readFile: (file) => readInside(home, file) });
}

const readableHint = 'make it readable for root in the container, or add the capability DAC_READ_SEARCH';

function isBlank(byte: number): boolean {
  return byte <= 0x20;
}

function findOnlyProfile(folder: string): Parsed<string> {
  const profiles = profilesIn(folder);
  const [only, ...others] = profiles;
  if (only === undefined) {
    return faulty({
      name: 'CONFIG',
      problem: `there is no .ovpn or .conf file in ${folder}`,
      hint: `mount the folder with your profile at ${folder}`,
    });
  }
  if (others.length > 0) {
    return faulty({
      name: 'CONFIG',
      problem: `there is more than one profile in ${folder}: ${profiles.join(', ')}`,
      hint: `say which, for example CONFIG=${only}`,
    });
  }
  return ok(join(folder, only));
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
    if (!stat.isFile()) return { kind: 'unreadable', reason: 'it is not a file' };
    if (stat.size > maxFileBytes) return { kind: 'unreadable', reason: 'it is larger than 1 MiB' };
    return { kind: 'text', bytes: readFileSync(path) };
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error;
    return error.code === 'ENOENT' ? { kind: 'missing' } : { kind: 'unreadable', reason: `${error.code}` };
  }
}

/**
 * Reads the credentials: those of the environment first, then what the profile brought along. Their absence is a fault
 * only when the profile needs them.
 */
export function readSecrets({
  source,
  profile,
}: {
  source: CredentialSource;
  profile: Profile;
}): Parsed<OpenvpnSecrets> {
  const passphrase = profile.keyPassphrase === undefined ? {} : { keyPassphrase: profile.keyPassphrase };
  const credentials = source.kind === 'file' ? readCredentialsFile(source) : readPair(source);
  if (credentials.kind === 'faults') return credentials;
  const found = credentials.value ?? profile.credentials;
  if (found !== undefined) return ok({ ...passphrase, credentials: found });
  if (!profile.needsCredentials) return ok(passphrase);
  return faulty({
    name: 'credentials',
    problem: `the profile ${profile.name} needs a user name and a password, and none are given`,
    hint: 'put them on two lines into a file mounted at /run/secrets/openvpn_credentials',
  });
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
    hint: read.kind === 'unreadable' ? readableHint : 'mount it into the container',
  };
}
