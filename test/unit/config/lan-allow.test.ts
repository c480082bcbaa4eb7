import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseLanAllow, renderAllowance } from '../../../src/config/lan-allow.ts';
import { cidr, problemOf, valueFrom } from './outcome.ts';

const isolated = cidr('172.22.0.1/24');
const out = (text: string) => parseLanAllow('LAN_ALLOW', text, isolated);
const inward = (text: string) => parseLanAllow('LAN_ALLOW_IN', text, isolated);

describe('LAN_ALLOW', () => {
  it('names subnets or single addresses, a protocol, and ports', () => {
    assert.deepEqual(valueFrom(out('192.168.1.0/24:tcp/8096, 10.1.2.3:UDP/5000-5010')).map(renderAllowance), [
      'clients to 192.168.1.0/24 tcp/8096',
      'clients to 10.1.2.3/32 udp/5000-5010',
    ]);
  });

  const refused: readonly (readonly [string, RegExp])[] = [
    ['192.168.1.0/24', /does not name/],
    ['192.168.1.0/24:8096', /does not name/],
    ['192.168.1.0/24:sctp/80', /does not name/],
    ['192.168.1.0/33:tcp/80', /no IPv4 subnet/],
    ['192.168.1.7/24:tcp/80', /an address inside its subnet/],
    ['0.0.0.0/0:tcp/443', /is no local network/],
    ['9.9.9.9:tcp/443', /is no local network/],
    ['192.0.0.0/8:tcp/443', /is no local network/],
    ['127.0.0.1:tcp/80', /is no local network/],
    ['172.16.0.0/12:tcp/80', /shares addresses with the isolated network/],
    ['192.168.1.0/24:tcp/0', /no port/],
    ['192.168.1.0/24:tcp/90-80', /no port/],
    ['192.168.1.1:udp/53', /DNS past the tunnel, by port 53/],
    ['192.168.1.1:tcp/1-65535', /DNS past the tunnel/],
    ['192.168.1.1:tcp/800-900', /by port 853/],
    ['192.168.1.0/24:tcp/80:172.22.0.9', /an address after the ports/],
    [Array.from({ length: 16 }, (_, index) => `10.0.0.${index}:tcp/80`).join(), /more than 15 entries/],
  ];
  for (const [text, problem] of refused)
    it(`refuses ${text.slice(0, 40)}`, () => assert.match(problemOf(out(text)), problem));
});

describe('LAN_ALLOW_IN', () => {
  it('names the container besides, which has DNS ports for whoever may ask', () => {
    assert.deepEqual(valueFrom(inward('192.168.1.0/24:tcp/53:172.22.0.128')).map(renderAllowance), [
      '192.168.1.0/24 to 172.22.0.128 tcp/53',
    ]);
  });

  it('names several parts of the local network for one port of a container', () => {
    const text = '192.168.1.0/24:tcp/8080:172.22.0.128, 172.18.0.1:tcp/8080:172.22.0.128';
    assert.equal(valueFrom(inward(text)).length, 2);
  });

  const refused: readonly (readonly [string, RegExp])[] = [
    ['192.168.1.0/24:tcp/80', /does not name the address of a container/],
    ['192.168.1.0/24:tcp/80:172.22.0.1', /no container's/],
    ['192.168.1.0/24:tcp/80:172.23.0.9', /no container's/],
    ['192.168.1.0/24:tcp/80:172.22.0.9, 192.168.2.0/24:tcp/70-90:172.22.0.8', /ports of another container's entry/],
  ];
  for (const [text, problem] of refused) it(`refuses ${text}`, () => assert.match(problemOf(inward(text)), problem));
});
