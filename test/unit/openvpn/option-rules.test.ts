import assert from 'node:assert/strict';
import { test } from 'node:test';
import { knownOptions, ruleOf } from '../../../src/openvpn/option-rules.ts';

test('puts each option into exactly one class', () => {
  const names = knownOptions();
  assert.equal(new Set(names).size, names.length);
});

test('knows no option by a name of the language', () => {
  for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) assert.equal(ruleOf(name), undefined);
});

test('lets nothing pass that could run a program or name a file', () => {
  const dangerous = [
    ...['up', 'down', 'ipchange', 'route-up', 'route-pre-down', 'tls-verify', 'auth-user-pass-verify', 'learn-address'],
    ...[
      'client-connect',
      'client-disconnect',
      'client-crresponse',
      'tls-crypt-v2-verify',
      'iproute',
      'plugin',
      'engine',
    ],
    ...[
      'providers',
      'pkcs11-providers',
      'pkcs11-id',
      'config',
      'cd',
      'chroot',
      'capath',
      'client-config-dir',
      'tmp-dir',
    ],
    ...['log', 'log-append', 'status', 'writepid', 'replay-persist', 'tls-export-cert', 'ifconfig-pool-persist'],
    ...['management', 'management-client', 'management-hold', 'management-external-key', 'memstats'],
  ];
  for (const name of dangerous) assert.equal(ruleOf(name)?.kind, 'refuse', name);
});

test('drops what the router sets on the command line', () => {
  const ours = [
    'verb',
    'script-security',
    'persist-tun',
    'nobind',
    'ping',
    'ping-restart',
    'connect-retry',
    'auth-retry',
  ];
  for (const name of ours) assert.equal(ruleOf(name)?.kind, 'drop', name);
});

test('never drops what verifies the server', () => {
  for (const name of ['ca', 'verify-x509-name', 'remote-cert-tls', 'remote-cert-eku', 'ns-cert-type', 'crl-verify']) {
    assert.ok(['pass', 'material'].includes(ruleOf(name)?.kind ?? ''), name);
  }
  assert.equal(ruleOf('tls-remote')?.kind, 'refuse');
});
