import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { firstHop, renderProfile } from '../../../src/openvpn/profile.ts';
import { faultsOf, parseText, understood } from './corpus.ts';

const head = ['client', 'dev tun', '<ca>', 'x', '</ca>', 'auth-user-pass'];
const profileOf = (...lines: readonly string[]) => understood(parseText([...head, ...lines, ''].join('\n')));
const rendered = (...lines: readonly string[]) => {
  const profile = profileOf(...lines);
  const [remote] = profile.remotes;
  return renderProfile({ profile, remote, address: '198.51.100.9' })
    .split('\n')
    .filter((row) => /proxy|remote/.test(row));
};

describe('a proxy of a profile', () => {
  it('is what OpenVPN talks to, and gets the name of the server as it stands', () => {
    const lines = ['remote vpn.example.net 443 tcp', 'http-proxy proxy.example.net 8080'];
    assert.deepEqual(firstHop(profileOf(...lines).remotes[0]), {
      host: 'proxy.example.net',
      port: 8080,
      transport: 'tcp',
    });
    assert.deepEqual(rendered(...lines), ['http-proxy 198.51.100.9 8080', 'remote vpn.example.net 443 tcp4-client']);
  });

  it('is told the login over the management connection, never in the profile', () => {
    const login = ['<http-proxy-user-pass>', 'alice', 'secret word', '</http-proxy-user-pass>'];
    const remote = 'remote vpn.example.net 443 tcp';
    const http = [remote, 'http-proxy 192.0.2.1 8080', ...login];
    assert.deepEqual(profileOf(...http).remotes[0].proxy?.credentials, { username: 'alice', password: 'secret word' });
    assert.deepEqual(rendered(...http)[0], 'http-proxy 198.51.100.9 8080 stdin basic');
    const asked = rendered(remote, 'http-proxy 192.0.2.1 8080 auto', ...login)[0];
    assert.equal(asked, 'http-proxy 198.51.100.9 8080 stdin basic');
    assert.deepEqual(
      rendered(remote, 'http-proxy 192.0.2.1 8080 none ntlm2', ...login)[0],
      'http-proxy 198.51.100.9 8080 stdin ntlm2',
    );
  });

  it('takes its own options along, and a default port where it speaks SOCKS', () => {
    const remote = 'remote vpn.example.net 443 tcp';
    assert.deepEqual(rendered(remote, 'http-proxy 192.0.2.1 8080', 'http-proxy-option AGENT "a b"'), [
      'http-proxy 198.51.100.9 8080',
      "http-proxy-option AGENT 'a b'",
      'remote vpn.example.net 443 tcp4-client',
    ]);
    assert.deepEqual(rendered(remote, 'socks-proxy 192.0.2.1')[0], 'socks-proxy 198.51.100.9 1080');
    assert.deepEqual(rendered(remote, 'http-proxy-option AGENT lonely'), ['remote 198.51.100.9 443 tcp4-client']);
  });

  it('holds for its own <connection> block', () => {
    const { remotes } = profileOf(
      ...['<connection>', 'remote 192.0.2.9 443 tcp', 'http-proxy 192.0.2.1 8080', '</connection>'],
      ...['<connection>', 'remote 192.0.2.9 1194 udp', '</connection>'],
    );
    assert.deepEqual(
      remotes.map((remote) => firstHop(remote).host),
      ['192.0.2.1', '192.0.2.9'],
    );
  });

  it('is refused before a remote over UDP', () => {
    assert.deepEqual(
      faultsOf(parseText([...head, 'remote 192.0.2.9 1194', 'http-proxy 192.0.2.1 8080', ''].join('\n'))),
      ['test.ovpn:7 | remote 192.0.2.9 1194 | is a remote over UDP behind an HTTP proxy'],
    );
    assert.deepEqual(faultsOf(parseText([...head, 'remote 192.0.2.9 1194', 'socks-proxy 192.0.2.1', ''].join('\n'))), [
      'test.ovpn:7 | remote 192.0.2.9 1194 | is a remote over UDP behind a SOCKS proxy, whose port for UDP nobody knows yet',
    ]);
  });
});
