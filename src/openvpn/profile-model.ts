import type { IpFamily, Port } from '../net/address.ts';
import type { TotpRecipe } from '../node-openvpn-mgmt/src/index.ts';

/** One option of a profile, with the quoting undone and its file embedded. */
export interface ProfileOption {
  readonly name: string;
  readonly parameters: readonly string[];
  /** 1-based line of the profile on which it starts. */
  readonly line: number;
  /** The body of its inline block, each line ended by `\n`. A secret unless it is a certificate. */
  readonly inline?: string;
}

/** One server that a profile offers, by literal address or by name. */
export interface ProfileRemote {
  readonly host: string;
  readonly port: Port;
  readonly transport: 'udp' | 'tcp';
  /** Of which family its name is looked up; absent: of both. */
  readonly family?: IpFamily;
  readonly line: number;
  /** Options that hold for this remote only: those of its `<connection>` block, and the profile's own of that kind. */
  readonly options: readonly ProfileOption[];
  /** What it is reached by. */
  readonly proxy?: ProfileProxy;
}

/** A proxy between the router and a server. It looks the server's name up, and only TCP goes through it. */
export interface ProfileProxy {
  readonly kind: 'http' | 'socks';
  readonly host: string;
  readonly port: Port;
  /** How to log in to an HTTP proxy, where there is a login. */
  readonly method?: 'basic' | 'ntlm' | 'ntlm2';
  readonly credentials?: { readonly username: string; readonly password: string };
  /** Its `http-proxy-option` lines. */
  readonly rows: readonly ProfileOption[];
}

/** A line that does not reach OpenVPN, and why. */
export interface IgnoredOption {
  readonly line: number;
  readonly option: string;
  readonly reason: string;
}

/** A client profile, understood: what OpenVPN gets to see of it. */
export interface Profile {
  /** The file's name. */
  readonly name: string;
  readonly remotes: readonly [ProfileRemote, ...ProfileRemote[]];
  readonly remoteOrder: 'listed' | 'random';
  /** What passes, in the profile's order. */
  readonly options: readonly ProfileOption[];
  /** The server asks for a user name and a password. */
  readonly needsCredentials: boolean;
  /** User name and password, where the profile holds them or names a file of its folder that does. */
  readonly credentials?: { readonly username: string; readonly password: string };
  /** What one-time codes are made of, from a file beside the profile: `fast.totp` of `fast.ovpn`. */
  readonly totp?: TotpRecipe;
  /** Passphrase of the private key, from the file that `askpass` names. */
  readonly keyPassphrase?: string;
  readonly ignored: readonly IgnoredOption[];
}

/** What became of a profile's wish to read a file. `outside`: it lies outside of the profile's folder. */
export type FileRead =
  | { readonly kind: 'text'; readonly bytes: Uint8Array }
  | { readonly kind: 'missing' }
  | { readonly kind: 'unreadable'; readonly reason: string }
  | { readonly kind: 'outside' };
