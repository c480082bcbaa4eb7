import assert from 'node:assert/strict';
import { test } from 'node:test';
import { liesBeside } from '../../../src/system/files.ts';

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
