import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { isContainerName, isForwardChain, renderForwardFile } from '../../../src/host/forward-file.ts';
import type { DockerContainer } from '../../../src/host/snapshot.ts';
import { parseSave } from '../../../src/ruleset/iptables-restore.ts';
import { apps, container, network, port } from './machine.ts';

const bridge = network('bridge', '172.17.0.0/16', { bridge: 'docker0' });
const inner = network('a-inner', '10.80.0.0/24', { isInternal: true });
const six = network('six', 'fd00:90::/64', {
  ranges: [
    { subnet: '10.93.0.0/24', auxiliary: {} },
    { subnet: 'fd00:90::/64', auxiliary: {} },
  ],
});
const networks = [bridge, apps, inner, six];
const links = [
  { name: 'docker0', addresses: ['172.17.0.1/16'] },
  { name: 'br-apps', addresses: ['10.90.0.1/24'] },
  { name: 'br-a-inner', addresses: ['10.80.0.1/24'] },
  { name: 'br-six', addresses: ['10.93.0.1/24', 'fd00:90::1/64'] },
];

function render(one: DockerContainer, more: { readonly family?: 'ipv4' | 'ipv6'; readonly chain?: string } = {}) {
  const snapshot = { docker: { version: '', networks, containers: [one] }, kernel: { links } };
  return renderForwardFile({ container: one, family: 'ipv4', chain: 'DOCKER_CONTAINERS', ...more }, snapshot);
}
const hello = (ports: readonly string[], addresses: Readonly<Record<string, string>> = { bridge: '172.17.0.2' }) =>
  container('hello-world', addresses, { ports: ports.map(port) });
const comment = (text: string) => `-m comment --comment "forward hello-world ${text}"`;

describe('the file of a container with published ports', () => {
  it("holds the seed's rules, and declares no chain", () => {
    assert.equal(
      render(hello(['5000:5000'])),
      `*nat
-A DOCKER_CONTAINERS ! -i docker0 -p tcp -m tcp --dport 5000 ${comment('5000/tcp')} -j DNAT --to-destination 172.17.0.2:5000
COMMIT
*filter
-A FORWARD -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 5000 ${comment('5000/tcp')} -j ACCEPT
COMMIT
`,
    );
  });

  it('lets a container of another network answer, of which the base file knows nothing', () => {
    const text = render(hello(['8080:80'], { apps: '10.90.0.5' }));
    assert.match(
      text,
      /^-A FORWARD -d 10\.90\.0\.5\/32 ! -i br-apps -o br-apps -p tcp -m tcp --dport 80 .*-j ACCEPT$/m,
    );
    assert.match(
      text,
      /^-A FORWARD -s 10\.90\.0\.5\/32 -i br-apps ! -o br-apps -p tcp -m conntrack --ctstate RELATED,ESTABLISHED -m tcp --sport 80 .*-j ACCEPT$/m,
    );
  });

  it('goes by a network that this machine reaches, whatever comes first by name', () => {
    assert.match(
      render(hello(['1:1'], { 'a-inner': '10.80.0.9', apps: '10.90.0.5' })),
      /--to-destination 10\.90\.0\.5:1\n/,
    );
    assert.equal(render(hello(['1:1'], { 'a-inner': '10.80.0.9' })), 'unreachable');
  });

  it('has every binding, with its address, its protocol and its own port', () => {
    const text = render(
      hello(['80:8080', '192.0.2.5:81:81', '127.0.0.1:82:82', '53:53/udp', '36412:36412/sctp', '80:9090/udp']),
    );
    const nat = [...text.matchAll(/^-A DOCKER_CONTAINERS (.*?) -m comment.*-j (.*)$/gm)].map(
      ([, when, what]) => `${when} > ${what}`,
    );
    assert.deepEqual(nat, [
      '! -i docker0 -p tcp -m tcp --dport 80 > DNAT --to-destination 172.17.0.2:8080',
      '-d 192.0.2.5/32 ! -i docker0 -p tcp -m tcp --dport 81 > DNAT --to-destination 172.17.0.2:81',
      '! -i docker0 -p udp -m udp --dport 53 > DNAT --to-destination 172.17.0.2:53',
      '! -i docker0 -p sctp -m sctp --dport 36412 > DNAT --to-destination 172.17.0.2:36412',
      '! -i docker0 -p udp -m udp --dport 80 > DNAT --to-destination 172.17.0.2:9090',
    ]);
  });

  it('is empty without ports of the family, also where only a proxy of Docker listens', () => {
    assert.equal(render(hello([])), '');
    assert.equal(render(hello(['127.0.0.1:1:1'])), '');
    assert.equal(render(hello(['80:80', ':::80:80']), { family: 'ipv6' }), '');
  });

  it('holds IPv6 where the container has it', () => {
    const one = hello(['80:80', ':::80:80']);
    const endpoints = [{ network: 'six', ipv4: '10.93.0.5', ipv6: 'fd00:90::5', gatewayPriority: 0 }];
    assert.match(
      render({ ...one, endpoints }, { family: 'ipv6', chain: 'MINE' }),
      /^-A MINE ! -i br-six -p tcp .*\[fd00:90::5\]:80$/m,
    );
  });

  it('is input of iptables-restore whatever is published, and says nothing but of that container', () => {
    const anyPort = fc
      .tuple(
        fc.constantFrom('', '0.0.0.0:', '127.0.0.1:', '192.0.2.5:', ':::', '::1:'),
        fc.integer({ min: 1, max: 65_535 }),
        fc.integer({ min: 1, max: 65_535 }),
        fc.constantFrom('tcp', 'udp', 'sctp'),
      )
      .map(([ip, from, to, protocol]) => `${ip}${from}:${to}/${protocol}`);
    fc.assert(
      fc.property(fc.array(anyPort, { maxLength: 8 }), (ports) => {
        const text = render(hello(ports));
        for (const line of text.split('\n'))
          assert.match(
            line,
            /^$|^\*(nat|filter)$|^COMMIT$|^-A (DOCKER_CONTAINERS|FORWARD) .*"forward hello-world \d+\/\w+" -j (ACCEPT|DNAT --to-destination 172\.17\.0\.2:\d+)$/,
          );
        const open = ports.filter((one) => !one.startsWith('127.') && !one.startsWith('::'));
        assert.equal(
          text.split('\n').filter((line) => line.startsWith('-A DOCKER_CONTAINERS')).length,
          new Set(open.map((one) => one.replace('0.0.0.0:', ''))).size,
        );
        assert.ok(parseSave(text).size === (open.length > 0 ? 2 : 0));
      }),
    );
  });
});

describe('what the command takes', () => {
  it('are names of containers that lead to no other folder, and chains that stay', () => {
    assert.deepEqual(['web', 'a_b-1.c', '..', '../x', 'a/b', '', '-x'].map(isContainerName), [
      true,
      true,
      false,
      false,
      false,
      false,
      false,
    ]);
    assert.deepEqual(['DOCKER_CONTAINERS', 'DOCKER', 'PREROUTING', 'a b', 'x'.repeat(29)].map(isForwardChain), [
      true,
      false,
      false,
      false,
      false,
    ]);
  });
});
