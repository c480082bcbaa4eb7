import assert from 'node:assert/strict';
import { test } from 'node:test';
import { renderProfile } from '../../../src/openvpn/profile.ts';
import { absence, faultsOf, parseSample, providers, understood } from './corpus.ts';

/** Port and transport of the first remote, number of different remotes, their order, or the reason for which the profile is refused. */
const expected: Readonly<Record<string, string>> = {
  anonine: '1195 tcp, 1 listed',
  blackvpn: 'blackvpn.ovpn:25 | route-ipv6 ::/128 ::1ping-restart 30 | has the option ping-restart run into it',
  bulletvpn: '443 tcp, 1 listed',
  expressvpn: '1195 udp, 1 random',
  freedomip: '443 udp, 1 listed',
  froot: '1194 udp, 1 listed',
  getflix: '443 tcp, 1 listed',
  giganews: '443 udp, 1 listed',
  hideme: '4000 udp, 1 listed',
  integrityvpn: '1198 udp, 1 random',
  ivacy: '15021 udp, 1 listed',
  octanevpn: '443 udp, 1 listed',
  privado: '1194 udp, 1 listed',
  protonvpn: '7770 tcp, 3 random',
  purevpn: '80 tcp, 1 listed',
  safervpn: '443 tcp, 1 listed',
  slickvpncore: '8080 udp, 2 listed',
  smartvpn: '1194 udp, 4 listed',
  tiger: '1194 udp, 2 listed',
  trustzone: '443 udp, 1 listed',
  vpnac: '8333 tcp, 2 random',
  vpnbook: '25000 udp, 2 listed',
  vpnht: '1301 udp, 4 random',
  vpnunlimited: '1194 udp, 1 random',
  windscribe: '1194 tcp, 1 listed',
};

test('every sample profile has an expectation', { skip: absence }, () => {
  assert.deepEqual(providers(), Object.keys(expected));
});

for (const [provider, summary] of Object.entries(expected)) {
  const refused = summary.startsWith(`${provider}.ovpn`);
  test(`${refused ? 'refuses' : 'understands'} the profile of ${provider}`, { skip: absence }, () => {
    const parsed = parseSample(provider);
    if (refused) {
      assert.deepEqual(faultsOf(parsed), [summary]);
      return;
    }
    const { remotes, remoteOrder, needsCredentials, options } = understood(parsed);
    const [{ host, port, transport }] = remotes;
    assert.match(host, /^[\w-]+(\.[\w-]+)+$/);
    assert.equal(`${port} ${transport}, ${remotes.length} ${remoteOrder}`, summary);
    assert.ok(needsCredentials);
    assert.ok(options.some((option) => option.name === 'ca' && option.inline?.includes('BEGIN CERTIFICATE') === true));
  });
}

test('gives every line of a sample that does not reach OpenVPN a reason', { skip: absence }, () => {
  for (const provider of providers()) {
    const parsed = parseSample(provider);
    if (parsed.kind !== 'ok') continue;
    for (const { line, option, reason } of parsed.value.ignored) {
      assert.ok(line > 0 && option !== '' && reason !== '', `${provider}:${line}`);
    }
  }
});

test('gives each block of smartvpn its own endpoint, and keeps the profile for all of them', { skip: absence }, () => {
  const profile = understood(parseSample('smartvpn'));
  const endpoints = profile.remotes.map(({ port, transport }) => `${port} ${transport}`);
  assert.deepEqual(endpoints, ['1194 udp', '80 tcp', '443 tcp', '53 udp']);
  for (const remote of profile.remotes) {
    const text = renderProfile({ profile, remote, address: '192.0.2.1' });
    assert.match(text, /^<tls-auth>$/m);
    assert.match(text, /^key-direction 1$/m);
  }
});
