import { type Draft, isControlKey, report } from './profile-draft.ts';
import type { ProfileRemote } from './profile-model.ts';

/**
 * What OpenVPN demands of a profile as a whole (`options_postprocess_verify_ce`).
 *
 * It would say so too, but only before there is a management connection, and without a line to look at.
 */
export function checkProfile(draft: Draft): void {
  const has = (...names: readonly string[]): boolean => names.some((name) => draft.seen.has(name));
  const fault = (problem: string, hint: string): void => {
    draft.faults.push({ name: draft.file, problem, hint });
  };

  if (!has('client', 'tls-client', 'secret', 'server', 'tls-server', 'mode')) {
    fault('is not the profile of a client', 'add a line `client`');
  }
  if (!has('ca', 'capath', 'pkcs12', 'peer-fingerprint', 'secret')) {
    fault('names no certificate authority, so any server would be believed', 'add the block <ca> of the provider');
  }
  if (has('pkcs12') && has('cert', 'key')) {
    fault('has pkcs12 and also cert or key', 'keep either pkcs12 or cert and key');
  } else if (has('cert') !== has('key')) {
    fault(`has ${has('cert') ? 'cert without key' : 'key without cert'}`, 'add the other one: they belong together');
  } else if (!has('cert', 'key', 'pkcs12', 'auth-user-pass', 'secret', 'server', 'tls-server')) {
    const hint = 'add auth-user-pass, or the blocks <cert> and <key>';
    fault('has nothing that the server would know its client by', hint);
  }
}

/** Every data cipher of OpenVPN 2.6 and 2.7 with OpenSSL, the old ones too, which a build may lack. */
const knownCipher =
  /^(?:(?:AES|ARIA|CAMELLIA)-(?:128|192|256)-(?:CBC|CFB|CFB1|CFB8|GCM|OFB)|CHACHA20-POLY1305|SM4-(?:CBC|CFB|GCM|OFB)|(?:BF|CAST5|IDEA|RC2|RC2-40|RC2-64|SEED|DES|DES-EDE|DES-EDE3|DESX)(?:-(?:CBC|CFB|CFB1|CFB8|OFB))?|NONE|DEFAULT)$/i;

/** What OpenVPN would say only once it runs: a cipher that it does not know, a key that it cannot open. */
export function checkMaterial(draft: Draft): void {
  for (const option of draft.options) {
    if (!['cipher', 'data-ciphers', 'data-ciphers-fallback'].includes(option.name)) continue;
    const names = (option.parameters[0] ?? '').split(':');
    // A question mark says: only if it is known.
    const unknown = names.find((name) => !name.startsWith('?') && !knownCipher.test(name));
    if (unknown === undefined) continue;
    const hint = 'write AES-256-GCM, or what the provider says';
    report(draft, option, 'names a cipher that OpenVPN does not know', hint);
  }
  const key = draft.options.find(({ name }) => name === 'key');
  if (key?.inline?.includes('ENCRYPTED') === true && draft.keyPassphrase === undefined) {
    const hint = 'write the passphrase into a file beside the profile, and name it: askpass FILE';
    report(draft, key, 'has a passphrase, and none is given', hint);
  }
}

/** What OpenVPN demands of the options that hold for one remote. */
export function checkRemotes(draft: Draft, remote: ProfileRemote): void {
  const fault = (problem: string, hint: string): void => {
    // The same pair of options is at fault for every remote: once is enough.
    if (!draft.faults.some((known) => known.problem === problem)) {
      draft.faults.push({ name: draft.file, problem, hint });
    }
  };
  const own = remote.options.filter((option) => isControlKey(option.name));
  const keys = new Set((own.length > 0 ? own : draft.options).map((option) => option.name));
  if (['tls-auth', 'tls-crypt', 'tls-crypt-v2'].filter((name) => keys.has(name)).length > 1) {
    fault('has more than one of tls-auth, tls-crypt and tls-crypt-v2', 'keep the one that the server uses');
  }
  const names = new Set(remote.options.map((option) => option.name));
  if (names.has('tun-mtu') && (names.has('link-mtu') || names.has('udp-mtu'))) {
    fault('has both tun-mtu and link-mtu', 'keep tun-mtu');
  }
}
