import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withoutSecrets } from '../../../src/system/openvpn.ts';

test('keeps logins, headers and questions of a server out of the log', () => {
  const lines = {
    "Send to HTTP proxy: 'Proxy-Authorization: Basic aHVudGVyOmh1bnRlcg=='":
      "Send to HTTP proxy: 'Proxy-Authorization…'",
    "Send to HTTP proxy: 'X-Token: hunter:2'": "Send to HTTP proxy: 'X-Token…'",
    "Send to HTTP proxy: 'hunter\nhunter'": "Send to HTTP proxy: 'hunter…'",
    'AUTH: Received control message: AUTH_FAILED,CRV1:R,E:hunter2:aHVudGVy:Which code: now?':
      'AUTH: Received control message: AUTH_FAILED,CRV1:R,E:…:…:Which code: now?',
    'VERIFY OK: depth=0, CN=server': 'VERIFY OK: depth=0, CN=server',
  };
  for (const [line, shown] of Object.entries(lines)) assert.equal(withoutSecrets(line), shown);
});
