import { type Draft, isControlKey } from './profile-draft.ts';
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
