import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { DockerNetwork, HostKernel } from '../../../src/host/snapshot.ts';
import { parseSave } from '../../../src/ruleset/iptables-restore.ts';
import { container, network, plan, port, rulesOf } from './machine.ts';

const six = network('six', 'fd00:5eed:1::/64');
const options = (values: Readonly<Record<string, string>>) => ({
  options: Object.fromEntries(
    Object.entries(values).map(([name, value]) => [`com.docker.network.bridge.${name}`, value]),
  ),
});
const on = (name: string, ...ports: readonly string[]) => ({
  ...container('web', {}, { ports: ports.map(port) }),
  endpoints: [{ network: name, ipv4: '', ipv6: 'fd00:5eed:1::10', gatewayPriority: 0 }],
});

/** Plans for networks whose bridges have the first address of fd00:5eed:1::/64, with a container that publishes ports. */
function planned(
  networks: readonly DockerNetwork[],
  {
    ports = [':::8080:80'],
    kernel = {},
    saved = '',
  }: { ports?: string[]; kernel?: Partial<HostKernel>; saved?: string } = {},
) {
  return plan({
    config: { ipv6nat: { place: 'host.yaml:1' } },
    docker: { networks, containers: networks.slice(0, 1).map(({ name }) => on(name, ...ports)) },
    kernel: {
      saved: { ipv6: parseSave(saved) },
      links: networks.map(({ bridge }) => ({ name: bridge, addresses: ['fd00:5eed:1::1/64'] })),
      ipv6Forwarding: true,
      ...kernel,
    },
  });
}

const filter = (made: ReturnType<typeof plan>, chain = 'BRIDGES') =>
  rulesOf(made, ['filter', chain], 'ipv6').map((rule) =>
    rule.replace(/ ?-m comment --comment ("[^"]*"|\S+)/, '').trim(),
  );
const nat = (made: ReturnType<typeof plan>, chain: string) => rulesOf(made, ['nat', chain], 'ipv6');

describe('a bridge with unique local addresses', () => {
  it('is left alone unless it is asked for, like any other bridge', () => {
    assert.deepEqual(plan({ docker: { networks: [six] } }).resources, []);
    for (const other of [
      network('six', '2001:db8::/64'),
      network('six', '10.0.0.0/24'),
      network('six', 'fe80::/64'),
      { ...six, driver: 'macvlan', bridge: '' },
      { ...six, ...options({ gateway_mode_ipv6: 'routed' }) },
      { ...six, labels: { 'underbridge.isolated': 'true' } },
    ]) {
      const kinds = planned([other]).resources.map(({ kind }) => kind);
      assert.equal(kinds.includes('bridge-base'), false, JSON.stringify(other));
    }
  });

  it('has the rules that Docker would write, and at the end nothing that is not published', () => {
    const made = planned([six]);
    assert.deepEqual(filter(made), [
      '-i br-six ! -o br-six -j UNDERBRIDGE-BETWEEN',
      '-o br-six -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
      '-i br-six ! -o br-six -j ACCEPT',
      '-i br-six -o br-six -j ACCEPT',
      '! -i br-six -o br-six -j DROP',
    ]);
    assert.deepEqual(filter(made, 'BETWEEN'), ['-o br-six -j DROP']);
    assert.match(nat(made, 'POSTROUTING')[0] ?? '', /^-s fd00:5eed:1::\/64 ! -o br-six .*-j MASQUERADE$/);
    assert.match(nat(made, 'LOCAL')[0] ?? '', /^! -i br-six -p tcp .*--to-destination \[fd00:5eed:1::10\]:80$/);
    assert.match(
      filter(made, 'DNATED')[1] ?? '',
      /^-d fd00:5eed:1::10\/128 -o br-six -p tcp -m tcp --dport 80 -j ACCEPT$/,
    );
    assert.deepEqual(made.faults, []);
    assert.deepEqual(made.findings, []);
  });

  it('follows the options of its network', () => {
    assert.deepEqual(nat(planned([{ ...six, ...options({ enable_ip_masquerade: 'false' }) }]), 'POSTROUTING'), []);
    assert.ok(filter(planned([{ ...six, ...options({ enable_icc: '0' }) }])).includes('-i br-six -o br-six -j DROP'));
    const inner = planned([{ ...six, isInternal: true }]);
    assert.deepEqual(filter(inner), [
      '-i br-six ! -o br-six -j DROP',
      '-i br-six -o br-six -j ACCEPT',
      '! -i br-six -o br-six -j DROP',
    ]);
    assert.deepEqual([nat(inner, 'POSTROUTING'), nat(inner, 'LOCAL')], [[], []]);
  });

  it('publishes where the port or host_binding_ipv6 says', () => {
    const local = (binding: string, ...ports: string[]) => {
      const made = planned([{ ...six, ...options({ host_binding_ipv6: binding }) }], { ports });
      return [...nat(made, 'LOCAL').map((rule) => rule.split(' -p ')[0]), ...made.faults.map(({ name }) => name)];
    };
    assert.deepEqual(local('::', ':::8080:80'), ['! -i br-six']);
    assert.deepEqual(local('fd77::5', ':::8080:80'), ['-d fd77::5/128 ! -i br-six']);
    assert.deepEqual(local('fd77::5', 'fd77::6:8080:80'), ['-d fd77::6/128 ! -i br-six']);
    assert.deepEqual(local('::1', ':::8080:80'), []);
    assert.deepEqual(local('::', '::1:8080:80', '0.0.0.0:8081:80', '127.0.0.1:8082:80'), []);
    assert.deepEqual(local('fd77::5/64', ':::8080:80'), ['option of network six']);
  });

  it('is published once where `published` asks for the same, and on both where it asks for more', () => {
    const local = (binding: string) => {
      const made = plan({
        config: { ipv6nat: { place: '' }, published: { place: '', interfaces: ['tailscale0'], hairpin: false } },
        docker: {
          networks: [{ ...six, ...options({ host_binding_ipv6: binding }) }],
          containers: [on('six', ':::8080:80')],
        },
        kernel: {
          saved: { ipv6: new Map() },
          links: [{ name: 'br-six', addresses: ['fd00:5eed:1::1/64'] }],
        },
      });
      assert.deepEqual(made.faults, []);
      return nat(made, 'LOCAL').map((rule) => rule.split(' -p ')[0]);
    };
    assert.deepEqual(local('::'), ['! -i br-six']);
    assert.deepEqual(local('fd77::5'), ['-d fd77::5/128 ! -i br-six', '-i tailscale0']);
  });

  it('brings neighbours, and a container to itself, where Docker has no proxy for that', () => {
    const kernel = {
      links: [
        { name: 'br-six', addresses: ['fd00:5eed:1::1/64'] },
        { name: 'veth1', addresses: [], reflectedBy: 'br-six' },
      ],
    };
    const made = planned([six], { kernel });
    assert.match(nat(made, 'LOCAL')[0] ?? '', /^-p tcp -m tcp --dport 8080 /);
    assert.match(
      nat(made, 'POSTROUTING')[0] ?? '',
      /^-s fd00:5eed:1::\/64 -d fd00:5eed:1::10\/128 -p tcp .*-j MASQUERADE$/,
    );
  });

  it('asks a DOCKER-USER first that nothing else leads to', () => {
    const chains = '*filter\n:FORWARD ACCEPT [0:0]\n:DOCKER-USER - [0:0]\n';
    assert.equal(filter(planned([six], { saved: `${chains}COMMIT\n` }))[0], '-j DOCKER-USER');
    const reached = planned([six], { saved: `${chains}-A FORWARD -j DOCKER-USER\nCOMMIT\n` });
    assert.ok(!filter(reached).includes('-j DOCKER-USER'));
    assert.deepEqual(
      reached.rules[0]?.tables[0]?.jumps.map(({ from, to }) => `${from} ${to}`),
      ['DOCKER-USER UNDERBRIDGE-ACCEPT', 'DOCKER-USER UNDERBRIDGE-BRIDGES'],
    );
  });

  const ofDocker: readonly (readonly [string, string])[] = [
    ['20.10 with ip6tables', '-A FORWARD -o br-six -j DOCKER'],
    ['28.5', '-A DOCKER-BRIDGE -o br-six -j DOCKER'],
    ['29', '-A DOCKER-INTERNAL ! -s fd00:5eed:1::/64 -o br-six -j DROP'],
  ];
  for (const [version, rule] of ofDocker) {
    it(`is left to Docker ${version}, which names it in its own rules`, () => {
      const chains = ['FORWARD ACCEPT', 'DOCKER-USER -', 'DOCKER-BRIDGE -', 'DOCKER-INTERNAL -'].map(
        (chain) => `:${chain} [0:0]\n`,
      );
      const saved = (line: string) => `*filter\n${chains.join('')}${line}\nCOMMIT\n`;
      const made = planned([six], { saved: saved(rule) });
      assert.deepEqual(
        made.findings.map(({ code, subject }) => `${code} ${subject}`),
        ['ipv6nat-by-docker six'],
      );
      assert.deepEqual([made.resources, made.rules[0]?.tables], [[], []]);
      // Another bridge, or a rule of somebody else's.
      for (const other of [
        rule.replace('br-six', 'br-six2'),
        '-A FORWARD -o br-six -j ACCEPT',
        '-A DOCKER-USER -i br-six -j DROP',
        '-A FORWARD -o br-six -j DOCKER-USER',
      ]) {
        assert.deepEqual(planned([six], { saved: saved(other) }).findings, [], other);
      }
    });
  }

  it('is told of where the machine forwards no IPv6', () => {
    const codes = (kernel: Partial<HostKernel>) => planned([six], { kernel }).findings.map(({ code }) => code);
    assert.deepEqual(codes({ ipv6Forwarding: false }), ['ipv6-forwarding-off']);
  });
});
