import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { HostConfig } from '../../../src/host/host-config.ts';
import { apps, container, network, others, plan, port, router, rulesOf, underbridge } from './machine.ts';

const published = (more: Partial<HostConfig['published']> = {}): Partial<HostConfig> => ({
  published: { place: 'host.yaml:1', interfaces: ['tailscale0'], hairpin: false, ...more },
});
const id = (name: string) => name.padEnd(12, '0');
const web = container('web', { apps: '10.90.0.10' }, { ports: [port('8080:80')] });
const LOCAL = ['nat', 'LOCAL'] as const;

describe('a published port', () => {
  it('is translated for what arrives by the interface, and let through', () => {
    const made = plan({ config: published(), docker: { containers: [web] } });
    const comment = `-m comment --comment "published web 8080/tcp ${id('web')}"`;
    assert.deepEqual(rulesOf(made, LOCAL), [
      `-i tailscale0 -p tcp -m tcp --dport 8080 ${comment} -j DNAT --to-destination 10.90.0.10:80`,
    ]);
    assert.deepEqual(rulesOf(made, ['filter', 'DNATED']), [
      '-m conntrack --ctstate RELATED,ESTABLISHED -m comment --comment forwards -j ACCEPT',
      `-d 10.90.0.10/32 -o br-apps -p tcp -m tcp --dport 80 ${comment} -j ACCEPT`,
    ]);
    assert.deepEqual(made.faults, []);
  });

  it('is nobody’s while nothing asks for it', () => {
    assert.deepEqual(plan({ docker: { containers: [web] } }).rules[0]?.tables, []);
  });

  const cases: readonly (readonly [string, string, readonly string[]])[] = [
    ['on a loopback address is left out', '127.0.0.1:8080:80', []],
    ['on an address is for that address', '192.0.2.5:8080:80', ['-d 192.0.2.5/32 -i tailscale0 -p tcp']],
    ['of udp is udp', '8080:80/udp', ['-i tailscale0 -p udp']],
    ['of sctp is sctp', '8080:80/sctp', ['-i tailscale0 -p sctp']],
    ['on IPv6 alone is left out where the container has no such address', ':::8080:80', []],
  ];
  for (const [what, text, starts] of cases) {
    it(what, () => {
      const made = plan({ config: published(), docker: { containers: [{ ...web, ports: [port(text)] }] } });
      const rules = rulesOf(made, LOCAL);
      assert.equal(rules.length, starts.length);
      for (const [index, start] of starts.entries())
        assert.ok(rules[index]?.startsWith(`${start} -m `), `${rules[index]}`);
      assert.deepEqual(made.faults, []);
    });
  }

  it('goes to an IPv6 address by rules of that family', () => {
    const six = network('apps', 'fd00:90::/64');
    const made = plan({
      config: published(),
      docker: {
        networks: [six],
        containers: [
          {
            ...web,
            endpoints: [{ network: 'apps', ipv4: '', ipv6: 'fd00:90::10', gatewayPriority: 0 }],
            ports: [port(':::8080:80')],
          },
        ],
      },
      kernel: { saved: { ipv6: new Map() }, links: [{ name: 'br-apps', addresses: ['fd00:90::1/64'] }] },
    });
    assert.match(rulesOf(made, LOCAL, 'ipv6')[0] ?? '', /-j DNAT --to-destination \[fd00:90::10\]:80$/);
  });

  it('is translated for anything addressed to this machine where `local` is asked for, but not for neighbours', () => {
    const made = plan({ config: published({ interfaces: 'local' }), docker: { containers: [web] } });
    assert.match(rulesOf(made, LOCAL)[0] ?? '', /^! -i br-apps -p tcp -m tcp --dport 8080 /);
    assert.match(rulesOf(made, ['nat', 'OUTPUT'])[0] ?? '', /^! -d 127.0.0.0\/8 -m addrtype --dst-type LOCAL /);
  });

  it('is open to containers of this machine where hairpin is on', () => {
    const made = plan({ config: published({ hairpin: true }), docker: { containers: [web] } });
    assert.match(
      rulesOf(made, ['nat', 'HAIRPIN'])[0] ?? '',
      /^! -s 10\.90\.0\.10\/32 -d 100\.64\.0\.1\/32 -p tcp -m tcp --dport 8080 /,
    );
    assert.match(
      rulesOf(made, ['nat', 'POSTROUTING'])[0] ?? '',
      /^-s 10\.90\.0\.0\/24 -d 10\.90\.0\.10\/32 -p tcp -m conntrack --ctstate DNAT -m tcp --dport 80 .*-j MASQUERADE$/,
    );
  });

  const choices: readonly (readonly [string, Parameters<typeof container>[2], string])[] = [
    ['the first by name', {}, '10.90.0.10'],
    ['that of the higher priority', { priority: { others: 5 } } as never, '10.91.0.10'],
    ['that of the label', { labels: { 'underbridge.network': 'others' } }, '10.91.0.10'],
  ];
  for (const [what, more, address] of choices) {
    it(`is reached, where there are several networks, by ${what}`, () => {
      const { priority = {}, ...rest } = more as { readonly priority?: Readonly<Record<string, number>> };
      const both = container('web', { others: '10.91.0.10', apps: '10.90.0.10' }, { ports: web.ports, ...rest });
      const endpoints = both.endpoints.map((one) => ({ ...one, gatewayPriority: priority[one.network] ?? 0 }));
      const made = plan({ config: published(), docker: { containers: [{ ...both, endpoints }] } });
      assert.match(rulesOf(made, LOCAL)[0] ?? '', new RegExp(`--to-destination ${address}:80$`));
    });
  }

  it('is never reached by an internal network, or one where this machine has no address', () => {
    const inner = network('a-inner', '10.80.0.0/24', { isInternal: true });
    const both = container('web', { 'a-inner': '10.80.0.2', underbridge: '172.22.0.9', apps: '10.90.0.10' });
    const docker = { networks: [inner, underbridge, apps] };
    const made = plan({ config: published(), docker: { ...docker, containers: [{ ...both, ports: web.ports }] } });
    assert.match(rulesOf(made, LOCAL)[0] ?? '', /--to-destination 10\.90\.0\.10:80$/);
    const none = plan({
      config: published(),
      docker: { ...docker, containers: [{ ...both, endpoints: both.endpoints.slice(0, 2), ports: web.ports }] },
    });
    assert.deepEqual(rulesOf(none, LOCAL), []);
    assert.match(none.faults[0]?.problem ?? '', /no network by which this machine could reach it/);
  });

  it('is never reached by an isolated network, though the machine has an address there', () => {
    const shut = network('a-shut', '10.80.0.0/24', { labels: { 'underbridge.isolated': 'true' } });
    const both = container('web', { 'a-shut': '10.80.0.2', apps: '10.90.0.10' }, { ports: web.ports });
    const made = plan({ config: published(), docker: { networks: [shut, apps], containers: [both] } });
    assert.match(rulesOf(made, LOCAL)[0] ?? '', /--to-destination 10\.90\.0\.10:80$/);
  });

  it('follows the label of its container', () => {
    const labelled = (value: string) => ({ ...web, labels: { 'underbridge.published': value } });
    const of = (value: string, config = {}) =>
      rulesOf(plan({ config, docker: { containers: [labelled(value)] } }), LOCAL).length;
    assert.deepEqual([of('off', published()), of('wg0, tailscale0'), of('local'), of('')], [0, 2, 1, 0]);
  });

  it('goes to one container when two want it, and the other is told of', () => {
    const b = { ...web, name: 'b', id: 'b'.repeat(64) };
    const a = { ...web, name: 'a', id: 'a'.repeat(64) };
    const made = plan({ config: published(), docker: { containers: [b, a] } });
    assert.equal(rulesOf(made, LOCAL).length, 1);
    assert.match(rulesOf(made, LOCAL)[0] ?? '', /published a /);
    assert.match(made.faults[0]?.problem ?? '', /^b wants the port that a has/);
  });

  it('cannot end the comment of its rule by the name of its container', () => {
    const evil = { ...web, name: 'x" -j ACCEPT #\n-A INPUT' };
    const [rule = ''] = rulesOf(plan({ config: published(), docker: { containers: [evil] } }), LOCAL);
    assert.match(rule, /--comment "published x_ -j ACCEPT #_-A INPUT 8080\/tcp web000000000" -j DNAT --to-d/);
  });
});

describe('what comes with an image or a network', () => {
  it('cannot bring words of its own into a rule', () => {
    for (const value of ['eth0" -j ACCEPT', 'eth+', '-j', "e'", 'a\\b', 'sixteen-chars-xx']) {
      const labelled = { ...web, labels: { 'underbridge.published': value } };
      const made = plan({ docker: { containers: [labelled] } });
      assert.deepEqual(rulesOf(made, LOCAL), [], value);
      assert.match(made.faults[0]?.problem ?? '', /is no name of an interface/, value);
    }
    const odd = { ...underbridge, bridge: 'a"b' };
    const made = plan({
      config: { isolated: [{ place: 'host.yaml:1', network: 'underbridge' }] },
      docker: { networks: [odd] },
    });
    assert.deepEqual(made.resources, []);
    assert.match(made.faults[0]?.problem ?? '', /a name that no rule can hold/);
  });
});

describe('a forward of the host file', () => {
  const entry = {
    place: 'host.yaml:3',
    port: 9000,
    protocols: ['tcp', 'udp'] as const,
    to: { container: 'web', port: 90 },
    hairpin: false,
  };

  it('has a rule for each protocol', () => {
    const made = plan({ config: { forwards: [{ ...entry, interface: 'wg0' }] }, docker: { containers: [web] } });
    assert.deepEqual(
      rulesOf(made, LOCAL).map((rule) => rule.slice(0, 37)),
      ['-i wg0 -p tcp -m tcp --dport 9000 -m ', '-i wg0 -p udp -m udp --dport 9000 -m '],
    );
  });

  it('comes before a published port', () => {
    const forwards = [{ ...entry, port: 8080 }];
    const other = container('other', { apps: '10.90.0.11' }, { ports: [port('8080:80')] });
    const made = plan({ config: { ...published(), forwards }, docker: { containers: [web, other] } });
    assert.match(made.faults[0]?.problem ?? '', /^other wants the port that web has \(host\.yaml:3\)/);
  });

  it('is left out, and told of, when its container does not run; the rest stays', () => {
    const forwards = [{ ...entry, to: { container: 'gone', port: 1 } }, entry];
    const made = plan({ config: { forwards }, docker: { containers: [web] } });
    assert.deepEqual(
      made.faults.map(({ name, value }) => [name, value]),
      [['host.yaml:3', 'gone']],
    );
    assert.equal(rulesOf(made, LOCAL).length, 2);
  });
});

describe('who may talk to whom', () => {
  it('is a rule there and one back, after the user’s own', () => {
    const allow = [{ place: 'host.yaml:2', from: 'web', to: 'others', protocol: 'tcp', port: 80 } as const];
    const made = plan({ config: { allow }, docker: { containers: [web] } });
    assert.deepEqual(rulesOf(made, ['filter', 'ACCEPT']), [
      '-s 10.90.0.10/32 -d 10.91.0.0/24 -p tcp -m tcp --dport 80 -m comment --comment "allow web to others" -j ACCEPT',
      '-s 10.91.0.0/24 -d 10.90.0.10/32 -p tcp -m conntrack --ctstate RELATED,ESTABLISHED -m tcp --sport 80 -m comment --comment "allow web to others" -j ACCEPT',
    ]);
    const [filter] = made.rules[0]?.tables ?? [];
    assert.deepEqual(filter?.jumps, [{ from: 'DOCKER-USER', to: 'UNDERBRIDGE-ACCEPT', place: 'last' }]);
  });

  it('is told of when a side is nobody', () => {
    const made = plan({ config: { allow: [{ place: 'host.yaml:2', from: 'nobody', to: '10.0.0.0/8' }] } });
    assert.deepEqual(
      made.faults.map(({ name, value }) => [name, value]),
      [['host.yaml:2', 'nobody']],
    );
  });
});

describe('a plan', () => {
  it('is the same in whatever order Docker lists', () => {
    const ports = [port('1:1'), port('2:2/udp'), port('10:3'), port('2:2')];
    const containers = [
      { ...web, ports },
      container('both', { others: '10.91.0.9', apps: '10.90.0.9' }, { ports: [port('7:7')] }),
      router,
    ];
    const config = { isolated: [{ place: '', network: 'underbridge' }], ...published({ hairpin: true }) };
    const labels = { 'underbridge.isolated': 'yes' };
    const networks = [apps, others, underbridge, network('closed', '10.7.0.0/24', { labels, isInternal: true })];
    const turned = (docker: { readonly containers: typeof containers; readonly networks: typeof networks }) => ({
      networks: docker.networks.toReversed(),
      containers: docker.containers.toReversed().map((one) => ({
        ...one,
        ports: one.ports.toReversed(),
        endpoints: one.endpoints.toReversed(),
      })),
    });
    const docker = { containers, networks };
    assert.deepEqual(plan({ config, docker: turned(docker) }), plan({ config, docker }));
  });
});

describe('the way into the chains of others', () => {
  const config = { isolated: [{ place: '', network: 'underbridge' }], ...published() };
  const jumpsInto = (saved: string) => {
    const [filter] = plan({ config, docker: { containers: [router, web] }, saved }).rules[0]?.tables ?? [];
    return filter?.jumps.filter(({ from }) => from !== 'INPUT').map(({ from, place }) => `${from} ${place}`);
  };

  it('is DOCKER-USER where packets come through it, else FORWARD', () => {
    const user = ':DOCKER-USER - [0:0]\n';
    const table = (text: string) => `*filter\n:FORWARD ACCEPT [0:0]\n${text}COMMIT\n`;
    assert.deepEqual(jumpsInto(table(`${user}-A FORWARD -j DOCKER-USER\n`)), ['DOCKER-USER first', 'DOCKER-USER last']);
    assert.deepEqual(jumpsInto(table(user)), ['FORWARD first', 'FORWARD first']);
    assert.deepEqual(jumpsInto(table('')), ['FORWARD first', 'FORWARD first']);
  });
});
