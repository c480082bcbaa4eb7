import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { parseTotp } from '../../../src/node-openvpn-mgmt/src/index.ts';
import type { Profile, ProfileOption } from '../../../src/openvpn/profile.ts';
import { liesBeside, readProfiles, readSecrets } from '../../../src/system/files.ts';

test("takes a file for the profile's own in its folder and below", () => {
  assert.ok(liesBeside({ root: '/config', path: '/config/ca.crt' }));
  assert.ok(liesBeside({ root: '/config', path: '/config/keys/ca.crt' }));
  for (const path of ['/config', '/configs/ca.crt', '/etc/shadow', '/'])
    assert.ok(!liesBeside({ root: '/config', path }), path);
});

// Otherwise `auth-user-pass /run/secrets/other` would send another secret to the VPN server.
test('gives a profile that is mounted at / no file but those of / itself', () => {
  assert.ok(liesBeside({ root: '/', path: '/ca.crt' }));
  for (const path of ['/run/secrets/other', '/etc/shadow', '/proc/self/environ'])
    assert.ok(!liesBeside({ root: '/', path }), path);
});

test("takes the settings' login for the only profile, and each one's own for several", () => {
  const folder = mkdtempSync(`${tmpdir()}/credentials-`);
  try {
    const path = `${folder}/shared`;
    writeFileSync(path, 'shared\nshared password\n');
    const own = { username: 'own', password: 'own password' };
    const shared = { username: 'shared', password: 'shared password' };
    const profile = {
      name: 'a.ovpn',
      needsCredentials: true,
      credentials: own,
      options: [] as readonly ProfileOption[],
    } as Profile;
    const source = { kind: 'file', path, required: true } as const;
    const loginOf = (profiles: 'one' | 'several', given: Profile) => {
      const secrets = readSecrets({ sources: { credentials: source }, profile: given, profiles });
      return secrets.kind === 'ok' ? secrets.value.credentials : assert.fail();
    };
    assert.deepEqual(loginOf('one', profile), shared);
    assert.deepEqual(loginOf('several', profile), own);
    const { credentials, ...without } = profile;
    assert.deepEqual(loginOf('several', without as Profile), shared);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('gives the codes of the settings to the login of the settings only, and says where none are', () => {
  const credentials = { kind: 'file', path: '/nowhere', required: false } as const;
  const [ofSettings, ofProfile] = [parseTotp('AAAAAAAA'), parseTotp('BBBBBBBB')];
  const pair = (name: string) => ({ kind: 'value', value: name }) as const;
  const login = { kind: 'pair', username: pair('shared'), password: pair('shared password') } as const;
  const asking = { name: 'static-challenge', parameters: ['Code', '1'], line: 7 };
  const own = {
    name: 'a.ovpn',
    needsCredentials: true,
    credentials: { username: 'own', password: 'own password' },
    options: [asking] as readonly ProfileOption[],
  } as Profile;
  const totpOf = (profiles: 'one' | 'several', profile: Profile) => {
    const secrets = readSecrets({
      sources: { credentials: login, totp: { kind: 'value', value: ofSettings } },
      profile,
      profiles,
    });
    return secrets.kind === 'ok' ? secrets.value.totp : secrets.faults.map(({ name, problem }) => `${name} ${problem}`);
  };
  const { credentials: _, ...without } = own;
  assert.equal(totpOf('one', own), ofSettings);
  assert.equal(totpOf('one', { ...own, totp: ofProfile }), ofSettings);
  assert.equal(totpOf('several', { ...own, totp: ofProfile }), ofProfile);
  assert.equal(totpOf('several', without as Profile), ofSettings);
  const missing = ['a.ovpn:7 the server asks for a one-time code at every login, and there is no TOTP secret'];
  assert.deepEqual(totpOf('several', own), missing);
  const alone = readSecrets({ sources: { credentials }, profile: own, profiles: 'one' });
  assert.match(alone.kind === 'faults' ? (alone.faults[0]?.hint ?? '') : '', /TOTP_SECRET_FILE, or .* a\.totp$/);
});

test('says where a folder in place of a file comes from', () => {
  const folder = mkdtempSync(`${tmpdir()}/folder-`);
  try {
    const secrets = readSecrets({
      sources: { credentials: { kind: 'file', path: folder, required: false } },
      profile: { name: 'a.ovpn', needsCredentials: false, options: [] as readonly ProfileOption[] } as Profile,
      profiles: 'one',
    });
    assert.match(secrets.kind === 'faults' ? (secrets.faults[0]?.hint ?? '') : '', /^put a file there: Docker makes /);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('says why a profile cannot be looked at', () => {
  const found = readProfiles({ names: [`/${'x'.repeat(300)}.ovpn`], folder: '/config' });
  assert.match(found.kind === 'faults' ? (found.faults[0]?.problem ?? '') : '', /ENAMETOOLONG/);
});
