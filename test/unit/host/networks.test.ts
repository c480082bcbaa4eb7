import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { describeDockerStep } from '../../../src/host/host-plan.ts';
import { network, plan, rulesOf } from './machine.ts';
import {
  back,
  documented,
  faultsOf,
  front,
  planFile,
  planPolicies,
  proxy,
  read,
  resourcesOf,
  running,
  small,
  stepsOf,
  web1,
} from './networks-machine.ts';

describe("network-go's example, as documented", () => {
  const config = { networks: read(documented) };
  const balancer = running('smarthostloadbalancer', { bridge: '172.17.0.2' }, 61);
  const backend = running('smarthostbackend-1', { bridge: '172.17.0.3' }, 62);
  const containers = [balancer, backend];
  const bridge = network('bridge', '172.17.0.0/24', { bridge: 'docker0' });
  const publicly = network('publicbackend', '172.18.90.0/24');

  it('makes its networks and attaches its containers', () => {
    assert.deepEqual(stepsOf(plan({ config, docker: { networks: [bridge], containers } })), [
      'docker network create --subnet 172.18.103.0/24 smarthost-loadbalancer',
      'docker network create --subnet 172.18.104.0/24 smarthost_backend-1',
      'docker network connect --ip 172.18.103.2 smarthost-loadbalancer smarthostloadbalancer',
      'docker network connect --ip 172.18.104.2 smarthost_backend-1 smarthostbackend-1',
    ]);
  });

  it('becomes an accept, its answer, and a translation', () => {
    const made = plan({
      config,
      docker: {
        networks: [
          network('smarthost-loadbalancer', '172.18.103.0/24', { bridge: 'br-balancer' }),
          network('smarthost_backend-1', '172.18.104.0/24', { bridge: 'br-backend' }),
          publicly,
        ],
        containers: [
          running('smarthostloadbalancer', { 'smarthost-loadbalancer': '172.18.103.2' }, 61),
          running('smarthostbackend-1', { 'smarthost_backend-1': '172.18.104.2' }, 62),
        ],
      },
    });
    assert.deepEqual(made.faults, []);
    assert.deepEqual(made.docker, []);
    assert.deepEqual(resourcesOf(made), ['forward', 'allow', 'network', 'network', 'attachment', 'attachment']);
    const comment = '-m comment --comment "allow publicbackend to 172.18.103.2"';
    assert.deepEqual(rulesOf(made, ['filter', 'ACCEPT']).slice(1), [
      `-s 172.18.90.0/24 -d 172.18.103.2/32 -p tcp -m tcp --dport 80 ${comment} -j ACCEPT`,
      `-s 172.18.103.2/32 -d 172.18.90.0/24 -p tcp -m conntrack --ctstate RELATED,ESTABLISHED -m tcp --sport 80 ${comment} -j ACCEPT`,
    ]);
    assert.match(
      rulesOf(made, ['nat', 'LOCAL'])[0] ?? '',
      /^-i wg0 -p tcp -m tcp --dport 80 .* -j DNAT --to-destination 172\.18\.103\.2:80$/,
    );
  });

  it('tells of the policy that names nobody, and keeps the rest', () => {
    const made = plan({ config, docker: { networks: [bridge], containers } });
    assert.match(faultsOf(made)[0] ?? '', /^networks\.json:\d+="smarthost-loadbalancer": the container has no network/);
    assert.match(faultsOf(made)[1] ?? '', /^networks\.json:\d+="publicbackend": no running container, no network/);
    assert.equal(made.docker.length, 4);
  });
});

describe('what networks.json wants of Docker', () => {
  it('is nothing where all is as it says', () => {
    const made = planFile(small);
    assert.deepEqual([made.docker, made.faults], [[], []]);
  });

  it('is an address given to a container that restarted elsewhere, or has another one', () => {
    const docker = { containers: [running('proxy', { front: '10.50.0.99' }, 71)] };
    assert.deepEqual(stepsOf(planFile(small, { docker })), [
      'docker network move --ip 10.50.0.10 front proxy',
      'docker network connect --ip 10.51.0.10 back proxy',
    ]);
  });

  it('is forwarding of IPv4, where the machine has it off', () => {
    assert.deepEqual(planFile(small, { kernel: { ipv4Forwarding: false } }).machine, [{ kind: 'enable-forwarding' }]);
    assert.deepEqual(planFile(small, { kernel: { ipv4Forwarding: true } }).machine, []);
    assert.deepEqual(plan({ kernel: { ipv4Forwarding: false } }).machine, []);
  });

  const wrong: readonly (readonly [string, object, Parameters<typeof planFile>[1], RegExp])[] = [
    [
      'a network whose gateway is elsewhere',
      { networks: { ...small.networks, x: { subnet: '10.60.0.0/24', gateway: '10.61.0.1' } } },
      {},
      /^networks\.json:\d+="10\.61\.0\.1": the gateway is no address of a host in 10\.60\.0\.0\/24\./,
    ],
    [
      'a network that overlaps with one above it',
      { networks: { ...small.networks, x: { subnet: '10.50.0.128/25', gateway: '10.50.0.129' } } },
      {},
      /^networks\.json:\d+="10\.50\.0\.128\/25": overlaps with 10\.50\.0\.0\/24 of front \(networks\.json:\d+\)\./,
    ],
    [
      "a network that overlaps with one of Docker's",
      { networks: { ...small.networks, x: { subnet: '10.0.0.0/8', gateway: '10.0.0.1' } }, ips: {} },
      { docker: { networks: [network('old', '10.77.0.0/16')] } },
      /^networks\.json:\d+="10\.50\.0\.0\/24".*|^networks\.json:\d+="10\.0\.0\.0\/8": overlaps/,
    ],
    [
      'a network that overlaps with an interface of the machine',
      { networks: { x: { subnet: '192.0.2.0/28', gateway: '192.0.2.1' } }, ips: {} },
      {},
      /^networks\.json:\d+="192\.0\.2\.0\/28": the subnet of the network x overlaps with 192\.0\.2\.0\/24 of the interface eth0\./,
    ],
    [
      'a network that Docker has with another subnet',
      {},
      { docker: { networks: [front, network('back', '10.52.0.0/24')], containers: [] } },
      /="10\.51\.0\.0\/24": Docker has back with another subnet: 10\.52\.0\.0\/24\./,
    ],
    [
      'a network of another driver',
      {},
      { docker: { networks: [{ ...front, driver: 'macvlan' }, back], containers: [] } },
      /="front": is a network of the driver macvlan\./,
    ],
    [
      'a network that is listed twice',
      { networks: { ...small.networks, x: { network_name: 'back', subnet: '10.60.0.0/24', gateway: '10.60.0.1' } } },
      {},
      /="back": is listed already \(networks\.json:\d+\)\./,
    ],
    [
      'an address outside of its network',
      { ips: { '10.55.0.2': { container_name: 'proxy' } } },
      {},
      /="10\.55\.0\.2": is in no network of this file\./,
    ],
    [
      "the gateway's address",
      { ips: { '10.50.0.1': { container_name: 'proxy' } } },
      {},
      /="10\.50\.0\.1": is no address for a container in front\./,
    ],
    [
      'the last address of a network',
      { ips: { '10.50.0.255': { container_name: 'proxy' } } },
      {},
      /="10\.50\.0\.255": is no address for a container in front\./,
    ],
    [
      'an address that another container has',
      { ips: { '10.51.0.21': { container_name: 'proxy' } } },
      {},
      /="10\.51\.0\.21": is taken by the container web-1\./,
    ],
    [
      'two addresses for one container in one network',
      { ips: { ...small.ips, '10.51.0.11': { container_name: 'proxy' } } },
      {},
      /="10\.51\.0\.11": proxy has another address in the network back \(networks\.json:\d+\)\./,
    ],
    [
      'an address of a container that does not run',
      { ips: { '10.51.0.12': { container_name: 'gone' } } },
      {},
      /="10\.51\.0\.12": no running container is called gone\./,
    ],
    [
      'an address of one of several containers',
      { ips: { '10.51.0.12': { container_name: 'web' } } },
      {},
      /="10\.51\.0\.12": web may be any of web-1, web-2\./,
    ],
    [
      'an address that Docker keeps for another gateway',
      { ips: { '10.51.0.254': { container_name: 'web-1' } } },
      {
        docker: {
          networks: [front, { ...back, ranges: [{ subnet: '10.51.0.0/24', gateway: '10.51.0.254', auxiliary: {} }] }],
        },
      },
      /="10\.51\.0\.254": is kept by Docker/,
    ],
    [
      'an address that Docker keeps by its name',
      { ips: { '10.51.0.9': { container_name: 'web-1' } } },
      {
        docker: {
          networks: [front, { ...back, ranges: [{ subnet: '10.51.0.0/24', auxiliary: { router: '10.51.0.9' } }] }],
        },
      },
      /="10\.51\.0\.9": is kept by Docker/,
    ],
    [
      "a container with the machine's network",
      { ips: { '10.51.0.12': { container_name: 'hosted' } } },
      { docker: { containers: [{ ...running('hosted', {}, 80), networkMode: 'host' }] } },
      /: hosted runs with the network host, and can be in no other\./,
    ],
  ];
  for (const [what, parts, more, message] of wrong) {
    it(`is not ${what}: that is told with its line, and the rest holds`, () => {
      const made = planFile({ ...small, ...parts }, more);
      const faults = faultsOf(made);
      assert.ok(
        faults.some((line) => message.test(line)),
        faults.join('\n'),
      );
      for (const step of made.docker) assert.doesNotMatch(describeDockerStep(step), /10\.60|10\.55|\.0\.255|192\.0\.2/);
      assert.ok(made.resources.length > 0 || 'ips' in parts);
    });
  }

  it('finds a container by the beginning of its name, when there is only one', () => {
    const compose = running('web-1-replica', { back: '10.51.0.77' }, 90);
    const file = { ...small, ips: { '10.51.0.12': { container_name: 'web-1-' } } };
    const made = planFile(file, { docker: { containers: [compose, web1] } });
    assert.deepEqual(stepsOf(made), ['docker network move --ip 10.51.0.12 back web-1-replica']);
  });
});

describe('overlapping subnets, wherever the role is told of a network', () => {
  it('are told of an isolated network, which stays shut', () => {
    const lan = network('lan', '192.0.2.0/25', { bridge: 'lanbr' });
    const made = plan({
      config: { isolated: [{ place: 'host.yaml:1', network: 'lan' }] },
      docker: { networks: [lan] },
      kernel: {
        links: [
          { name: 'eth0', addresses: ['192.0.2.5/24'] },
          { name: 'lanbr', addresses: ['192.0.2.1/25'] },
        ],
      },
    });
    assert.deepEqual(
      faultsOf(made).map((line) => line.replace(/ Give.*/, '')),
      ['host.yaml:1="192.0.2.0/25": the subnet of the network lan overlaps with 192.0.2.0/24 of the interface eth0.'],
    );
    assert.equal(rulesOf(made, ['mangle', 'FORWARD']).length, 2);
  });

  it('are none of addresses that every link has', () => {
    const lan = network('lan', 'fe80::/64', { bridge: 'lanbr' });
    const made = plan({
      config: { isolated: [{ place: 'host.yaml:1', network: 'lan' }] },
      docker: { networks: [lan] },
      kernel: { links: [{ name: 'veth1', addresses: ['fe80::1/64'] }] },
    });
    assert.deepEqual(faultsOf(made), []);
  });

  it('are told once of a network that something is forwarded into', () => {
    const entry = { interface: 'wg0', protocols: ['tcp'], hairpin: false } as const;
    const forwards = [1, 2].map((port) => ({
      ...entry,
      place: `host.yaml:${port}`,
      port,
      to: { container: 'web-1', port },
    }));
    const made = plan({
      config: { forwards },
      docker: { networks: [back, network('wide', '10.48.0.0/12')], containers: [web1] },
    });
    assert.equal(rulesOf(made, ['nat', 'LOCAL']).length, 2);
    assert.deepEqual(
      made.faults.map(({ name, value }) => [name, value]),
      [['host.yaml:1', '10.51.0.0/24']],
    );
  });
});

describe('the names in a policy', () => {
  const allowed = (from: string, more: object = {}) => {
    const made = planPolicies([{ selector: 'edge', from, port: 80, proto: 'tcp', ...more }]);
    return rulesOf(made, ['filter', 'ACCEPT'])
      .filter((rule) => rule.includes('--dport'))
      .map((rule) => /^-s (\S+) -d (\S+)/.exec(rule)?.slice(1).join(' > '));
  };
  const both = (from: string) => [`${from} > 10.50.0.10/32`, `${from} > 10.51.0.10/32`];

  it('are a container_name, an address, a subnet, a network by key or name, each as it is', () => {
    assert.deepEqual(allowed('web-1'), both('10.51.0.21/32'));
    assert.deepEqual(allowed('10.9.0.1'), both('10.9.0.1/32'));
    assert.deepEqual(allowed('10.9.0.0/16'), both('10.9.0.0/16'));
    assert.deepEqual(allowed('rear'), both('10.51.0.0/24'));
    assert.deepEqual(allowed('back'), both('10.51.0.0/24'));
  });

  it('are a selector, and the beginning of a name: all that match', () => {
    const each = ['10.50.0.10/32', '10.51.0.10/32'].flatMap((to) =>
      ['10.51.0.21/32', '10.51.0.22/32'].map((from) => `${from} > ${to}`),
    );
    assert.deepEqual(allowed('web'), each);
    assert.deepEqual(allowed('web-'), each);
    assert.deepEqual(allowed('we'), each);
  });

  it('are tried as they are before they are taken for a beginning', () => {
    const file = {
      ...small,
      ips: { ...small.ips, '10.51.0.30': { container_name: 'web', selector: 'x' } },
      policies: [{ selector: 'edge', from: 'web' }],
    };
    const made = planFile(file, { docker: { containers: [proxy, running('web', { back: '10.51.0.30' }, 9)] } });
    assert.match(rulesOf(made, ['filter', 'ACCEPT'])[0] ?? '', /^-s 10\.51\.0\.30\/32 -d 10\.50\.0\.10\/32 -m comment/);
    // Docker's own, too.
    const other = running('we', { front: '10.50.0.77' }, 10);
    const docked = planPolicies([{ selector: 'edge', from: 'we' }], { docker: { containers: [proxy, web1, other] } });
    assert.match(rulesOf(docked, ['filter', 'ACCEPT'])[0] ?? '', /^-s 10\.50\.0\.77\/32 /);
  });

  it('never open anything to a container that merely has the address', () => {
    const thief = running('thief', { back: '10.51.0.21' }, 5);
    const made = planPolicies([{ selector: 'edge', from: 'web-1' }], { docker: { containers: [proxy, thief] } });
    assert.deepEqual(rulesOf(made, ['filter', 'ACCEPT']), []);
    assert.ok(faultsOf(made).some((line) => /="web-1": no running container, no network/.test(line)));
  });

  it('are not the beginning of another one while somebody else has their address', () => {
    const ips = { ...small.ips, '10.51.0.30': { container_name: 'web' } };
    const containers = [proxy, web1, running('thief', { back: '10.51.0.30' }, 5)];
    const made = planFile({ ...small, ips, policies: [{ selector: 'edge', from: 'web' }] }, { docker: { containers } });
    assert.deepEqual(rulesOf(made, ['filter', 'ACCEPT']), []);
    assert.ok(faultsOf(made).some((line) => /="web": no running container, no network/.test(line)));
  });

  it('mean, where they come from, a container with all its addresses', () => {
    const roaming = running('web-1', { back: '10.51.0.21', front: '10.50.0.80' }, 72);
    const made = planPolicies([{ to: 'web-2', from: 'web-1' }], { docker: { containers: [roaming, proxy] } });
    assert.deepEqual(
      rulesOf(made, ['filter', 'ACCEPT']).map((rule) => /^-s (\S+) -d (\S+) -m comment/.exec(rule)?.slice(1).join(' ')),
      ['10.51.0.21/32 10.51.0.22/32', undefined, '10.50.0.80/32 10.51.0.22/32', undefined],
    );
  });

  it('say by `to` whom a policy is about, where it is there', () => {
    assert.deepEqual(allowed('web-1', { to: 'web-2' }), ['10.51.0.21/32 > 10.51.0.22/32']);
  });

  it('name nobody, or more than one where one is needed: that is told', () => {
    const made = planPolicies([
      { selector: 'edge', from: 'nobody' },
      { selector: 'web', nat: 'dnat', iface: 'wg0', port: 80 },
      { selector: 'edge', nat: 'dnat', to: 'nobody', port: 80 },
      { selector: 'web-2', from: 'web-1', port: 81 },
    ]);
    assert.deepEqual(
      made.faults.map(({ value, problem }) => `${value}: ${problem}`),
      [
        'nobody: no running container, no network and no address is meant by it',
        'nobody: no running container, no network and no address is meant by it',
        'web: it may be any of web-1, web-2',
        'nobody: no running container is meant by it',
      ],
    );
    assert.equal(rulesOf(made, ['filter', 'ACCEPT']).length, 2);
  });
});
