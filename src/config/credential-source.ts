import { type Fault, ok, type Parsed } from '../errors.ts';
import type { TotpRecipe } from '../node-openvpn-mgmt/src/index.ts';
import type { CredentialSource, ValueOrFile } from './router-config.ts';

/** Where the seed mounts user name and password, and where Docker mounts a secret of that name. */
export const defaultCredentialsPath = '/run/secrets/openvpn_credentials';

/** The settings about credentials, as given; undefined where the user gave none. */
export interface GivenCredentials {
  readonly OPENVPN_CREDENTIALS_FILE: string | undefined;
  readonly OPENVPN_USERNAME: string | undefined;
  readonly OPENVPN_USERNAME_FILE: string | undefined;
  readonly OPENVPN_PASSWORD: string | undefined;
  readonly OPENVPN_PASSWORD_FILE: string | undefined;
}

/** Decides where the credentials come from. Two answers to one question are a fault, never a silent choice. */
export function parseCredentialSource(given: GivenCredentials): Parsed<CredentialSource> {
  const username = parseValueOrFile('OPENVPN_USERNAME', given.OPENVPN_USERNAME, given.OPENVPN_USERNAME_FILE);
  const password = parseValueOrFile('OPENVPN_PASSWORD', given.OPENVPN_PASSWORD, given.OPENVPN_PASSWORD_FILE);
  const faults: Fault[] = [...username.faults, ...password.faults];
  if (username.source === undefined && password.source === undefined) {
    const path = given.OPENVPN_CREDENTIALS_FILE;
    return ok({ kind: 'file', path: path ?? defaultCredentialsPath, required: path !== undefined });
  }
  if (username.source === undefined) faults.push(missingHalf('OPENVPN_USERNAME', password.name));
  if (password.source === undefined) faults.push(missingHalf('OPENVPN_PASSWORD', username.name));
  if (given.OPENVPN_CREDENTIALS_FILE !== undefined) {
    faults.push({
      name: 'OPENVPN_CREDENTIALS_FILE',
      problem: 'is set, and so is a user name or a password of its own',
      hint: 'keep either the file with both, or OPENVPN_USERNAME and OPENVPN_PASSWORD',
    });
  }
  if (faults.length > 0 || username.source === undefined || password.source === undefined) {
    return { kind: 'faults', faults };
  }
  return ok({ kind: 'pair', username: username.source, password: password.source });
}

/** Where the secret of one-time codes comes from; undefined where there is none. */
export function parseTotpSource(
  value: TotpRecipe | undefined,
  path: string | undefined,
): Parsed<ValueOrFile<TotpRecipe> | undefined> {
  const { source, faults } = parseValueOrFile('TOTP_SECRET', value, path);
  return faults.length > 0 ? { kind: 'faults', faults } : ok(source);
}

type HalfName = 'OPENVPN_USERNAME' | 'OPENVPN_PASSWORD';

/** A setting that has a second form, which names a file. */
function parseValueOrFile<T, Name extends HalfName | 'TOTP_SECRET'>(
  name: Name,
  value: T | undefined,
  path: string | undefined,
): {
  /** The setting that gave it. */
  readonly name: Name | `${Name}_FILE`;
  readonly source: ValueOrFile<T> | undefined;
  readonly faults: readonly Fault[];
} {
  const fileName = `${name}_FILE` as const;
  if (value === undefined) {
    return { name: fileName, source: path === undefined ? undefined : { kind: 'file', path }, faults: [] };
  }
  const both: Fault = { name, problem: `is set, and so is ${fileName}`, hint: 'keep one of the two' };
  return { name, source: { kind: 'value', value }, faults: path === undefined ? [] : [both] };
}

function missingHalf(name: HalfName, other: keyof GivenCredentials): Fault {
  return {
    name,
    problem: `is not set, but ${other} is`,
    hint: `set ${name} or ${name}_FILE too`,
  };
}
