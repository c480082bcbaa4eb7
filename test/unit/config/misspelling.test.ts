import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { findMisspellings } from '../../../src/config/misspelling.ts';
import { settingsFor } from '../../../src/config/settings.ts';

const settingNames = Object.keys(settingsFor(undefined));

function hintsFor(...names: readonly string[]): readonly string[] {
  return findMisspellings(names, settingNames).map((fault) => `${fault.name}: ${fault.hint}`);
}

describe('a variable that is not a setting', () => {
  const meanings = {
    PORT_FORWARD: 'PORT_FWD',
    PORTFWD: 'PORT_FWD',
    PORT_FDW: 'PORT_FWD',
    IPADDR: 'IP_ADDR',
    'ip-addr': 'IP_ADDR',
    IP_ADRR: 'IP_ADDR',
    IP_ADDRESS: 'IP_ADDR',
    DNS_SERVER: 'DNS',
    dns: 'DNS',
    CONFG: 'CONFIG',
    TIME_ZONE: 'TZ',
    LOGLEVEL: 'LOG_LEVEL',
    LOG_FROMAT: 'LOG_FORMAT',
    OPENVPN_PASWORD: 'OPENVPN_PASSWORD',
    OPENVPN_USER: 'OPENVPN_USERNAME',
    OPENVPN_PASSWORDFILE: 'OPENVPN_PASSWORD_FILE',
    HEALTH_PROB: 'HEALTH_PROBE',
  };
  for (const [name, meant] of Object.entries(meanings)) {
    it(`named ${name} was meant as ${meant}`, () =>
      assert.deepEqual(hintsFor(name), [`${name}: rename it to ${meant}`]));
  }

  it('is let be when it looks like none', () => {
    const strangers = [
      'PATH',
      'HOME',
      'HOSTNAME',
      'PWD',
      'TERM',
      'LANG',
      'USER',
      'NODE_VERSION',
      'YARN_VERSION',
      'SHLVL',
    ];
    const shortOnes = [
      'NS',
      'DBS',
      'MSG',
      'TX',
      'ID',
      '_',
      '',
      '__proto__',
      'constructor',
      'LOG',
      'PORT',
      'HTTP_PROXY',
    ];
    assert.deepEqual(hintsFor(...strangers, ...shortOnes), []);
  });

  it('is no setting itself', () => assert.deepEqual(hintsFor(...settingNames), []));
});
