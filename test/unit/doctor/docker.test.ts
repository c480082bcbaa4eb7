import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { holdsCapability } from '../../../src/doctor/docker-world.ts';
import {
  client,
  examine,
  healthy,
  host,
  internet,
  isolated,
  router,
  type Sick,
  testWorlds,
  type Well,
  withClient,
  withNetwork,
  withOptions,
  withRouter,
} from './seen.ts';

const recipe =
  /^remove its containers \(docker compose down\), then: docker network rm underbridge; docker network create -d bridge -o com\.docker\.network\.bridge\.inhibit_ipv4=true -o com\.docker\.network\.bridge\.enable_ip_masquerade=false --subnet 172\.22\.0\.0\/24 --gateway 172\.22\.0\.254 --aux-address DefaultGatewayIPv4=172\.22\.0\.1 underbridge$/;

const sick: readonly Sick[] = [
  {
    given: 'an engine before 20.10',
    world: { version: '19.03.15' },
    finds: ['warning', 'UB_DOCTOR_DOCKER_VERSION'],
    says: /19\.03\.15/,
  },
  {
    given: 'a macvlan for the isolated network, whatever its options',
    world: withNetwork({ driver: 'macvlan', options: {}, isInternal: true }),
    finds: ['leak', 'UB_DOCTOR_NETWORK_DRIVER'],
    says: /underbridge .*macvlan/,
    advises: recipe,
  },
  {
    given: 'an --internal network, whatever its options',
    world: withNetwork({ isInternal: true, options: {}, ranges: [{ subnet: '172.22.0.0/24', gateway: '172.22.0.2' }] }),
    finds: ['break', 'UB_DOCTOR_NETWORK_INTERNAL'],
    advises: recipe,
  },
  {
    given: 'a network that keeps its members apart',
    world: withOptions({ enable_icc: 'false' }),
    finds: ['break', 'UB_DOCTOR_NETWORK_ICC'],
    advises: recipe,
  },
  {
    given: 'an address that the machine kept on the bridge',
    world: withNetwork({ bridge: { name: 'underbr', ipv4: ['172.22.0.254/24'] } }),
    finds: ['leak', 'UB_DOCTOR_NETWORK_HOST_ADDRESS'],
    says: /172\.22\.0\.254\/24 on underbr/,
    advises: /^ip address del 172\.22\.0\.254\/24 dev underbr$/,
  },
  {
    given: 'IPv6 in the isolated network',
    world: withNetwork({ hasIpv6: true, ranges: [{ subnet: 'fd00:22::/64' }, ...isolated.ranges] }),
    finds: ['leak', 'UB_DOCTOR_NETWORK_IPV6'],
    says: /underbridge has IPv6$/,
    advises: recipe,
  },
  {
    given: 'an address of the machine in the isolated network',
    world: withOptions({ inhibit_ipv4: '' }),
    finds: ['leak', 'UB_DOCTOR_NETWORK_HOST_ADDRESS'],
    says: /172\.22\.0\.254/,
    advises: recipe,
  },
  {
    given: 'inhibit_ipv4 written as false',
    world: withOptions({ inhibit_ipv4: 'false' }),
    finds: ['leak', 'UB_DOCTOR_NETWORK_HOST_ADDRESS'],
  },
  {
    given: 'masquerade left on',
    world: withOptions({ enable_ip_masquerade: '' }),
    finds: ['leak', 'UB_DOCTOR_NETWORK_MASQUERADE'],
    advises: recipe,
  },
  {
    given: 'masquerade switched on',
    world: withOptions({ enable_ip_masquerade: 'true' }),
    finds: ['leak', 'UB_DOCTOR_NETWORK_MASQUERADE'],
  },
  {
    given: 'a routed bridge, of which Docker 20.10 knows nothing',
    world: { version: '20.10.24', ...withOptions({ gateway_mode_ipv4: 'routed', enable_ip_masquerade: '' }) },
    finds: ['leak', 'UB_DOCTOR_NETWORK_MASQUERADE'],
  },
  {
    given: 'no reserved address for the router',
    world: withNetwork({ ranges: [{ subnet: '172.22.0.0/24', gateway: '172.22.0.254' }] }),
    finds: ['break', 'UB_DOCTOR_NETWORK_GATEWAY'],
    says: /172\.22\.0\.254 is their gateway/,
    advises: recipe,
  },
  {
    given: "another address reserved than the router's",
    world: withNetwork({ ranges: [{ subnet: '172.22.0.0/24', defaultGateway: '172.22.0.2' }] }),
    finds: ['break', 'UB_DOCTOR_NETWORK_GATEWAY'],
  },
  {
    given: "a network with some of the isolated network's addresses",
    world: {
      networks: [...healthy.networks, { ...internet, name: 'big one', ranges: [{ subnet: '172.16.0.0/12' }] }]
        .filter(({ name }) => name !== 'internet')
        .concat({ ...internet, ranges: [{ subnet: '10.1.0.0/24' }] }),
    },
    finds: ['break', 'UB_DOCTOR_SUBNETS_OVERLAP'],
    says: /underbridge .*172\.22\.0\.0\/24.* big one .*172\.16\.0\.0\/12/,
    advises: /^docker network rm 'big one',/,
  },
  {
    given: 'a router outside of the isolated network',
    world: withRouter({ networks: ['internet'] }),
    finds: ['break', 'UB_DOCTOR_ROUTER_NETWORKS'],
    advises: /^docker network connect underbridge router$/,
  },
  {
    given: 'a router with the isolated network alone',
    world: withRouter({ networks: ['underbridge'] }),
    finds: ['break', 'UB_DOCTOR_ROUTER_NETWORKS'],
  },
  {
    given: 'an uplink that leads nowhere',
    world: { networks: [host, { ...internet, isInternal: true }, isolated] },
    finds: ['break', 'UB_DOCTOR_UPLINK_INTERNAL'],
  },
  {
    given: 'a router without NET_ADMIN',
    world: withRouter({ capabilities: { added: [], dropped: [], isPrivileged: false } }),
    finds: ['break', 'UB_DOCTOR_CAPABILITIES'],
    says: /no NET_ADMIN$/,
  },
  {
    given: 'a router that has dropped all and added one',
    world: withRouter({ capabilities: { added: ['NET_ADMIN'], dropped: ['ALL'], isPrivileged: false } }),
    finds: ['break', 'UB_DOCTOR_CAPABILITIES'],
    says: /no SETUID, SETGID$/,
  },
  {
    given: 'a router without /dev/net/tun',
    world: withRouter({ devices: ['/dev/fuse'] }),
    finds: ['break', 'UB_DOCTOR_TUN'],
  },
  {
    given: 'a router that forwards from the start',
    world: withRouter({ sysctls: { 'net.ipv4.ip_forward': '1' } }),
    finds: ['warning', 'UB_DOCTOR_IP_FORWARD'],
  },
  {
    given: 'a router without the sysctl',
    world: withRouter({ sysctls: {} }),
    finds: ['warning', 'UB_DOCTOR_IP_FORWARD'],
  },
  {
    given: 'a router that nothing starts again',
    world: withRouter({ restart: 'no' }),
    finds: ['warning', 'UB_DOCTOR_RESTART'],
    advises: /^docker update --restart unless-stopped router/,
  },
  {
    given: 'a router without IP_ADDR',
    world: { containers: [(({ ipAddr: _, ...rest }) => rest)(router), client] },
    finds: ['break', 'UB_DOCTOR_SETTING'],
    says: /^IP_ADDR/,
  },
  {
    given: 'an IP_ADDR with the size of another subnet',
    world: withRouter({ ipAddr: '172.22.0.1/16' }),
    finds: ['break', 'UB_DOCTOR_SETTING'],
    advises: /172\.22\.0\.1\/24/,
  },
  {
    given: 'a client without dns',
    world: withClient({ dns: [] }),
    finds: ['leak', 'UB_DOCTOR_CLIENT_DNS'],
    says: /^the client app /,
    advises: /--dns 172\.22\.0\.1 /,
  },
  {
    given: 'a client with a second network',
    world: withClient({ networks: ['internet', 'underbridge'] }),
    finds: ['leak', 'UB_DOCTOR_CLIENT_SECOND_NETWORK'],
    says: /^the client app is also in the network internet$/,
    advises: /^docker network disconnect internet app /,
  },
  {
    given: 'a client with raw sockets, as Docker gives them',
    world: withClient({ capabilities: { added: [], dropped: [], isPrivileged: false } }),
    finds: ['warning', 'UB_DOCTOR_CLIENT_FORGES'],
    says: /^the client app has NET_RAW$/,
  },
  {
    given: 'a client that may change its own routes',
    world: withClient({ capabilities: { added: ['NET_ADMIN'], dropped: ['ALL'], isPrivileged: false } }),
    finds: ['warning', 'UB_DOCTOR_CLIENT_FORGES'],
    says: /^the client app has NET_ADMIN$/,
  },
  {
    given: 'a privileged client',
    world: withClient({ capabilities: { added: [], dropped: ['ALL'], isPrivileged: true } }),
    finds: ['warning', 'UB_DOCTOR_CLIENT_FORGES'],
    says: /all capabilities$/,
  },
];

const well: readonly Well[] = [
  { given: 'all as the README says', world: {} },
  { given: 'Docker 20.10', world: { version: '20.10.24+dfsg1' } },
  { given: 'a bridge without an address', world: withNetwork({ bridge: { name: 'underbr', ipv4: [] } }) },
  { given: 'members that may talk', world: withOptions({ enable_icc: 'true' }) },
  { given: 'no client', world: { containers: [router] } },
  {
    given: 'a routed bridge of Docker 27, which has no masquerade',
    world: withOptions({ gateway_mode_ipv4: 'routed', enable_ip_masquerade: '' }),
  },
  {
    given: "Docker's own gateway as the router's, with no machine behind it",
    world: withNetwork({ ranges: [{ subnet: '172.22.0.0/24', gateway: '172.22.0.1' }] }),
  },
  { given: 'a client that asks another resolver, through the router', world: withClient({ dns: ['9.9.9.9'] }) },
  {
    given: 'a client with an internal network beside',
    world: {
      networks: [
        ...healthy.networks,
        { ...internet, name: 'db', isInternal: true, ranges: [{ subnet: '10.9.0.0/24' }] },
      ],
      containers: [router, { ...client, networks: ['underbridge', 'db'] }],
    },
  },
  {
    given: 'a second router beside the one that is looked at',
    world: { containers: [...healthy.containers, { ...router, name: 'other', ipAddr: '172.22.0.9/24' }] },
  },
  {
    given: 'a privileged router without a device of its own',
    world: withRouter({ devices: [], capabilities: { added: [], dropped: [], isPrivileged: true } }),
  },
];

describe('doctor with the Docker socket', () => {
  testWorlds({ well, sick });

  it('says how much of its questions a client without dns asks outside, by version', () => {
    for (const [version, amount] of [
      ['20.10.24+dfsg1', 'some of'],
      ['27.5.1', 'some of'],
      ['28.0.0', 'all'],
      ['29.1.0', 'all'],
    ] as const) {
      const [finding] = examine({ version, ...withClient({ dns: [] }) }).findings;
      assert.match(finding?.why ?? '', new RegExp(`resolvers ${amount} its questions`));
    }
  });

  it('never tells to type a word that a shell would take apart', () => {
    const name = `a'; reboot; echo '`;
    const networks = [host, { ...internet, name }, { ...isolated, name: `$(${name})` }];
    const containers = [
      { ...router, networks: [name, `$(${name})`] },
      { ...client, networks: [`$(${name})`, name] },
    ];
    const [finding, ...others] = examine({ networks, containers }).findings;
    assert.equal(others.length, 0);
    const typed = `docker network disconnect 'a'\\''; reboot; echo '\\''' client`;
    assert.equal(finding?.remedy.slice(0, typed.length), typed);
  });

  it('asks for no isolated network of a sidecar, and for no ip_forward, but for what else it needs', () => {
    const { ipAddr: _, ...plain } = router;
    const sidecar = { ...plain, isSidecar: true, networks: ['internet'], sysctls: {} } as const;
    assert.deepEqual(examine({ containers: [sidecar] }).findings, []);
    const [finding] = examine({ containers: [{ ...sidecar, devices: [] }] }).findings;
    assert.equal(finding?.code, 'UB_DOCTOR_TUN');
  });

  it('counts the clients of all routers that it looked at', () => {
    assert.deepEqual(examine({}).scope, { kind: 'docker', routers: ['router'], clients: 1 });
  });
});

describe('what Docker gives a container', () => {
  const cases: readonly (readonly [readonly string[], readonly string[], readonly string[]])[] = [
    // added, dropped, held
    [[], [], ['NET_RAW', 'SETUID', 'SETGID']],
    [[], ['ALL'], []],
    [['NET_ADMIN'], ['ALL'], ['NET_ADMIN']],
    [['ALL'], ['NET_RAW'], ['NET_ADMIN', 'SETUID', 'SETGID']],
    [['NET_RAW'], ['NET_RAW'], ['NET_RAW', 'SETUID', 'SETGID']],
  ];
  for (const [added, dropped, held] of cases) {
    it(`is ${held.join(', ') || 'nothing'} with [${added}] added and [${dropped}] dropped`, () => {
      const capabilities = { added, dropped, isPrivileged: false };
      const names = ['NET_ADMIN', 'NET_RAW', 'SETUID', 'SETGID'] as const;
      assert.deepEqual(
        names.filter((name) => holdsCapability({ capabilities }, name)),
        held,
      );
    });
  }
});
