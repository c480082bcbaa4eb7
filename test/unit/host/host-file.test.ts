import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { renderFaults } from '../../../src/config/report.ts';
import { parseHostFile } from '../../../src/host/host-file.ts';

function faultsOf(text: string): readonly string[] {
  const parsed = parseHostFile(text, 'host.yaml');
  assert.equal(parsed.kind, 'faults');
  return parsed.kind === 'faults' ? renderFaults(parsed.faults, '').split('\n').slice(1) : [];
}

describe('the host file', () => {
  it('says all that can be said', () => {
    const parsed = parseHostFile(
      `isolated:
  - underbridge
  - { network: inner, router: 172.23.0.1, bridge: innerbr }
clients: cut-off
published: { interfaces: [tailscale0], hairpin: true }
forwards:
  - { interface: wg0, port: 53, protocol: [tcp, udp], to: { container: dns } }
allow:
  - { from: web, to: 10.0.0.0/8, protocol: tcp, port: 5432 }
firewall: legacy
`,
      'host.yaml',
    );
    assert.deepEqual(parsed, {
      kind: 'ok',
      value: {
        isolated: [
          { place: 'host.yaml:2', network: 'underbridge' },
          { place: 'host.yaml:3', network: 'inner', router: '172.23.0.1', bridge: 'innerbr' },
        ],
        clients: 'cut-off',
        published: { place: 'host.yaml:5', interfaces: ['tailscale0'], hairpin: true },
        forwards: [
          {
            place: 'host.yaml:7',
            interface: 'wg0',
            port: 53,
            protocols: ['tcp', 'udp'],
            to: { container: 'dns', port: 53 },
            hairpin: false,
          },
        ],
        allow: [{ place: 'host.yaml:9', from: 'web', to: '10.0.0.0/8', protocol: 'tcp', port: 5432 }],
        firewall: 'legacy',
      },
    });
  });

  it('may say nothing', () => {
    assert.equal(parseHostFile('{}', 'host.yaml').kind, 'ok');
  });

  it('is told all that is wrong with it, each with its line', () => {
    assert.deepEqual(
      faultsOf(`isolated:
  - network: x
    routr: 1.2.3.4
    router: 1.2.3.400
published:
  interfaces: [tailscale0, "a b"]
forwards:
  - { port: 80800, protocol: icmp, to: { container: [web] } }
allow:
  - { from: a, port: 80 }
  - { from: a, to: b, port: 80 }
clients: cut
networks: {}
`).map((line) => line.replace(/ See docs.*/, '')),
      [
        '  host.yaml:4 isolated.0.router="1.2.3.400": is no address.',
        '  host.yaml:3="routr": is no setting of isolated.0.',
        '  host.yaml:12 clients="cut": is none of report, cut-off.',
        '  host.yaml:6 published.interfaces.1="a b": is no name of an interface.',
        '  host.yaml:8 forwards.0.port="80800": is no port.',
        '  host.yaml:8 forwards.0.protocol="icmp": is of no kind that is taken here.',
        '  host.yaml:8 forwards.0.to.container="[\\"web\\"]": is no string.',
        '  host.yaml:10: allow.0.to is missing.',
        '  host.yaml:11 allow.1="{\\"from\\":\\"a\\",\\"to\\":\\"b\\",\\"port\\":80}": a port needs a protocol.',
        '  host.yaml:13="networks": is no setting.',
      ],
    );
  });

  const broken: readonly (readonly [string, string, RegExp])[] = [
    ['half-written', 'isolated: [a, b', /host\.yaml:1: is no YAML/],
    ['with a part that holds itself', 'allow: &all [*all]\n', /host\.yaml: is no YAML: Converting circular structure/],
    ['with a key twice', 'clients: report\nclients: cut-off\n', /host\.yaml:2: is no YAML: Map keys must be unique/],
    ['with a name for nothing', 'isolated: [*underbr]\n', /host\.yaml: is no YAML: Unresolved alias/],
    ['cut off to nothing', '', /has no settings in it/],
    ['that is a list', '- underbridge\n', /has no settings in it/],
  ];
  for (const [what, text, message] of broken) {
    it(`is refused ${what}`, () => {
      assert.match(faultsOf(text)[0] ?? '', message);
    });
  }
});
