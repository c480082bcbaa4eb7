import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Parsed } from '../../../src/errors.ts';
import { type FileRead, type Profile, parseProfile } from '../../../src/openvpn/profile.ts';

/** Profiles of real providers. They are not part of the repository: the folder `shared` lies beside it. */
const folder = join(import.meta.dirname, '../../../../shared/profiles');

/** Why tests of the sample profiles cannot run, for `skip`; a stranger's clone has none, but CI must. */
export const absence =
  existsSync(folder) || process.env.CI !== undefined ? false : `the sample profiles are not there (${folder})`;

/** The names of the sample profiles, without their ending. */
export function providers(): readonly string[] {
  if (absence !== false) return [];
  return readdirSync(folder)
    .filter((file) => file.endsWith('.ovpn'))
    .map((file) => file.slice(0, -'.ovpn'.length));
}

/** Parses a sample profile; the files that it names are taken from the folder `NAME.files`, whatever their path. */
export function parseSample(provider: string): Parsed<Profile> {
  return parseProfile({
    name: `${provider}.ovpn`,
    bytes: readFileSync(join(folder, `${provider}.ovpn`)),
    readFile: (path) => readSampleFile(join(folder, `${provider}.files`, basename(path))),
  });
}

/** Parses a profile that a test writes down; `files` are those of its folder. */
export function parseText(text: string, files: Readonly<Record<string, string | Uint8Array | FileRead>> = {}) {
  return parseProfile({
    name: 'test.ovpn',
    bytes: Buffer.from(text),
    readFile: (path) => {
      const file = files[path];
      if (file === undefined) return { kind: 'missing' };
      if (typeof file === 'string') return { kind: 'text', bytes: Buffer.from(file) };
      return file instanceof Uint8Array ? { kind: 'text', bytes: file } : file;
    },
  });
}

/** The smallest profile that has everything, and the lines that a test is about. */
export function withLines(...lines: readonly string[]): string {
  return ['client', 'auth-user-pass', 'remote vpn.example.net 1194', '<ca>', 'CA', '</ca>', ...lines, ''].join('\n');
}

/** The profile of a text that must be understood. */
export function understood(parsed: Parsed<Profile>): Profile {
  if (parsed.kind === 'ok') return parsed.value;
  throw new Error(`not understood: ${JSON.stringify(parsed.faults, undefined, 2)}`);
}

/** The faults of a text that must not be understood, one line each. */
export function faultsOf(parsed: Parsed<Profile>): readonly string[] {
  if (parsed.kind === 'ok') throw new Error('understood, but should not be');
  return parsed.faults.map(({ name, value, problem }) =>
    [name, ...(value === undefined ? [] : [value]), problem].join(' | '),
  );
}

function readSampleFile(path: string): FileRead {
  return existsSync(path) ? { kind: 'text', bytes: readFileSync(path) } : { kind: 'missing' };
}
