import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import type { Profile } from '../../../src/openvpn/profile.ts';
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
    const profile = { name: 'a.ovpn', needsCredentials: true, credentials: own } as Profile;
    const source = { kind: 'file', path, required: true } as const;
    const loginOf = (profiles: 'one' | 'several', given: Profile) => {
      const secrets = readSecrets({ source, profile: given, profiles });
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

test('says why a profile cannot be looked at', () => {
  const found = readProfiles({ names: [`/${'x'.repeat(300)}.ovpn`], folder: '/config' });
  assert.match(found.kind === 'faults' ? (found.faults[0]?.problem ?? '') : '', /ENAMETOOLONG/);
});
