// What doctor says of networks and containers on real engines. Needs root; starts engines apart.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Ran } from '../../compose/proof/transcript.ts';
import { type EngineName, image, openEngine, runApart } from './apart.ts';
import { openWorld, runFor, type World } from './world.ts';

await runApart(import.meta.filename);

const demoImage = 'underbridge-demo:dev';
const isolated = 'z-isolated';
const socket = ['--volume', '/var/run/docker.sock:/var/run/docker.sock:ro'];
const gateway = ['--gateway', '172.24.0.254', '--aux-address', 'DefaultGatewayIPv4=172.24.0.1'];
const closed = optionsOf({ inhibit_ipv4: 'true', enable_ip_masquerade: 'false' });

function optionsOf(options: Readonly<Record<string, string>>): readonly string[] {
  return Object.entries(options).flatMap(([name, value]) => ['--opt', `com.docker.network.bridge.${name}=${value}`]);
}

interface Diagnosis extends Ran {
  readonly codes: readonly string[];
  readonly findings: readonly string[];
}

function diagnose(ran: Ran): Diagnosis {
  const findings = ran.stdout.split('\n').filter((line) => /^(leak|break|warning) /.test(line));
  return { ...ran, findings, codes: findings.map((line) => /UB_DOCTOR_\w+/.exec(line)?.[0] ?? line) };
}

for (const on of ['20.10', '28.5'] satisfies readonly EngineName[]) {
  describe(`Docker ${on}`, () => {
    let world: World;

    before(async () => {
      world = openWorld(await openEngine(on), { isolated: 'last' });
      await world.startScene();
      await world.startRouter();
      await world.awaitHealth('router');
    });
    after(() => world?.remove());

    const docker = (...args: readonly string[]) => world.engine.docker(...args);
    const run = (options: readonly string[], ...args: readonly string[]) =>
      runFor(world.engine, ['docker', 'run', '--rm', ...options, image, 'doctor', ...args]);
    const examine = async (...args: readonly string[]) => diagnose(await run(socket, ...args));

    test('finds nothing in the demo, by the socket and from inside', async () => {
      const outside = await examine();
      assert.deepEqual([outside.code, outside.findings], [0, []], outside.stdout + outside.stderr);
      assert.match(outside.stdout, /^0 leaks, 0 breaks, 0 warnings\. Looked at \S+router\S* and 2 clients /);
      const inside = diagnose(await world.exec('router', 'underbridge', 'doctor'));
      assert.deepEqual([inside.code, inside.findings], [0, []], inside.stdout + inside.stderr);
      assert.match(inside.stdout, /^0 leaks, 0 breaks, 0 warnings\. Looked at this container/);
    });

    test('needs no capability, no network and nothing to write to', async () => {
      const bare = [
        '--cap-drop',
        'ALL',
        '--network',
        'none',
        '--read-only',
        '--security-opt',
        'no-new-privileges:true',
      ];
      const ran = await run([...socket, ...bare]);
      assert.deepEqual([ran.code, ran.stderr], [0, '']);
    });

    /** Looks while a client is in the isolated network that was run with these options. */
    async function withClient(
      options: readonly string[],
      look: (name: string) => Promise<Diagnosis>,
      otherNetwork?: string,
    ): Promise<Diagnosis> {
      const name = 't-client';
      await docker('create', '--name', name, '--network', isolated, ...options, demoImage, 'sleep', 'infinity');
      try {
        if (otherNetwork !== undefined) await docker('network', 'connect', otherNetwork, name);
        await docker('start', name);
        return await look(name);
      } finally {
        await docker('rm', '--force', name);
      }
    }
    const dns = ['--dns', '172.22.0.1'];
    const unforging = ['--cap-drop', 'NET_RAW'];

    test('finds a client without dns', async () => {
      const { code, codes, stdout } = await withClient(unforging, () => examine());
      assert.deepEqual([code, codes], [1, ['UB_DOCTOR_CLIENT_DNS']], stdout);
      assert.match(stdout, /^leak UB_DOCTOR_CLIENT_DNS: the client t-client .* --dns 172\.22\.0\.1 /m);
    });

    test('finds a client with a second network, and nothing once that is gone as it says', async () => {
      const found = await withClient(
        [...dns, ...unforging],
        async () => {
          const sick = await examine();
          const [command = ''] = /docker network disconnect \S+ \S+/.exec(sick.stdout) ?? [];
          const { code, stderr } = await runFor(world.engine, ['sh', '-c', command]);
          assert.equal(code, 0, stderr);
          assert.equal((await examine()).code, 0);
          return sick;
        },
        'n-internet',
      );
      assert.deepEqual([found.code, found.codes], [1, ['UB_DOCTOR_CLIENT_SECOND_NETWORK']], found.stdout);
    });

    test('warns of a client that Docker gave raw sockets, and ends with 3', async () => {
      const { code, codes, stdout } = await withClient(dns, () => examine());
      assert.deepEqual([code, codes], [3, ['UB_DOCTOR_CLIENT_FORGES']], stdout);
      const admin = ['--cap-drop', 'ALL', '--cap-add', 'NET_ADMIN'];
      const other = await withClient([...dns, ...admin], () => examine());
      assert.deepEqual([other.code, other.codes], [3, ['UB_DOCTOR_CLIENT_FORGES']], other.stdout);
      assert.match(other.stdout, /the client t-client has NET_ADMIN\./);
    });

    test('counts a client that does not run, and one that is gone no more', async () => {
      const { codes } = await withClient(unforging, async (name) => {
        await docker('kill', name);
        return examine();
      });
      assert.deepEqual(codes, ['UB_DOCTOR_CLIENT_DNS']);
      assert.equal((await examine()).code, 0);
    });

    /** Makes a network and a router in it that does not run yet, and looks at that one alone. */
    async function withNetwork(
      options: readonly string[],
      look: (examineIt: (options?: readonly string[]) => Promise<Diagnosis>) => Promise<void>,
      routerOptions: readonly string[] = [],
    ): Promise<void> {
      const [name, router] = ['t-network', 't-router'];
      await docker('network', 'create', '--subnet', '172.24.0.0/24', ...options, name);
      try {
        await look(async (options = []) => {
          const good = ['--cap-add', 'NET_ADMIN', '--device', '/dev/net/tun', '--sysctl', 'net.ipv4.ip_forward=0'];
          const env = ['--env', 'IP_ADDR=172.24.0.1/24', '--env', 'OPENVPN_PASSWORD=secret of a run'];
          const made = ['create', '--name', router, '--restart', 'always', '--network', name, ...env];
          await docker(...made, ...(routerOptions.length > 0 ? routerOptions : good), image);
          try {
            await docker('network', 'connect', 'm-uplink', router);
            const found = diagnose(await run([...socket, ...options], router));
            const json = await run([...socket, ...options], router, '--json');
            assert.deepEqual(
              JSON.parse(json.stdout).findings.map(({ code }: { readonly code: string }) => code),
              found.codes,
            );
            assert.doesNotMatch(found.stdout + json.stdout, /secret of a run/);
            return found;
          } finally {
            await docker('rm', '--force', router);
          }
        });
      } finally {
        await docker('network', 'rm', name);
      }
    }

    test('finds nothing in a network made as the README says, before anything runs in it', async () => {
      await withNetwork([...closed, ...gateway], async (examineIt) => {
        const { code, stdout } = await examineIt();
        assert.equal(code, 0, stdout);
      });
    });

    // Docker refuses a gateway of an internal network since 25.0.
    const internal = on === '20.10' ? ['--internal', ...gateway] : ['--internal'];
    const networks: readonly {
      readonly made: string;
      readonly by: readonly string[];
      readonly finds: readonly string[];
    }[] = [
      {
        made: 'so that its members are kept apart',
        by: [...closed, ...optionsOf({ enable_icc: 'false' }), ...gateway],
        finds: ['UB_DOCTOR_NETWORK_ICC'],
      },
      { made: 'with --internal', by: internal, finds: ['UB_DOCTOR_NETWORK_INTERNAL'] },
      {
        made: 'with masquerade left on',
        by: [...optionsOf({ inhibit_ipv4: 'true' }), ...gateway],
        finds: ['UB_DOCTOR_NETWORK_MASQUERADE'],
      },
      {
        made: 'with an address of the machine',
        by: [...optionsOf({ enable_ip_masquerade: 'false' }), ...gateway],
        finds: ['UB_DOCTOR_NETWORK_HOST_ADDRESS'],
      },
      {
        made: 'with IPv6',
        by: [...closed, ...gateway, '--ipv6', '--subnet', 'fd00:24::/64'],
        finds: ['UB_DOCTOR_NETWORK_IPV6'],
      },
      {
        made: 'without an address reserved for the router',
        by: [...closed, '--gateway', '172.24.0.254'],
        finds: ['UB_DOCTOR_NETWORK_GATEWAY'],
      },
      {
        made: 'by nothing but a name and a subnet',
        by: [],
        finds: ['UB_DOCTOR_NETWORK_HOST_ADDRESS', 'UB_DOCTOR_NETWORK_MASQUERADE'],
      },
    ];
    for (const { made, by, finds } of networks) {
      test(`finds a network made ${made}, and nothing once it is made as doctor says`, async () => {
        await withNetwork(by, async (examineIt) => {
          const sick = await examineIt();
          assert.deepEqual([sick.code, sick.codes], [1, finds], sick.stdout + sick.stderr);
          const [command = ''] = /docker network rm .*/.exec(sick.stdout) ?? [];
          const typed = await runFor(world.engine, ['sh', '-c', command]);
          assert.equal(typed.code, 0, typed.stderr);
          const mended = await examineIt();
          assert.equal(mended.code, 0, mended.stdout);
        });
      });
    }

    test('finds an address that the machine kept on the bridge, in its network, and leaves that open', async () => {
      const type = async (command: string) => runFor(world.engine, ['sh', '-c', command]);
      const bridge = ['--opt', 'com.docker.network.bridge.name=t-bridge'];
      if (on === '20.10') await type('ip link add t-bridge type bridge && ip address add 172.24.0.254/24 dev t-bridge');
      else {
        const refused = ['--internal', '--subnet', '172.24.0.0/24', ...bridge, ...gateway];
        await assert.rejects(docker('network', 'create', ...refused, 't-refused'), /no gateway can be set/);
      }
      await withNetwork([...closed, ...bridge, ...gateway], async (examineIt) => {
        const blind = await examineIt();
        assert.equal(blind.code, 0, blind.stdout);
        const host = ['--network', 'host', '--cap-add', 'NET_ADMIN'];
        const sick = await examineIt(host);
        assert.deepEqual([sick.code, sick.codes], [1, ['UB_DOCTOR_NETWORK_HOST_ADDRESS']], sick.stdout + sick.stderr);
        const [command = ''] = /ip address del .*/.exec(sick.stdout) ?? [];
        assert.equal((await type(command)).code, 0);
        const mended = await examineIt(host);
        assert.equal(mended.code, 0, mended.stdout);
      });
      await type('ip link del t-bridge');
      const rules = await type('nft list tables; ip rule');
      assert.doesNotMatch(rules.stdout, /underbridge|unreachable/);
      assert.match(rules.stdout, /lookup main/);
    });

    test('finds what a router container lacks', async () => {
      await withNetwork(
        [...closed, ...gateway],
        async (examineIt) => {
          const { code, codes, stdout } = await examineIt();
          assert.equal(code, 1, stdout);
          assert.deepEqual(codes, ['UB_DOCTOR_CAPABILITIES', 'UB_DOCTOR_TUN', 'UB_DOCTOR_IP_FORWARD'], stdout);
          assert.match(stdout, /has no NET_ADMIN, SETUID, SETGID\./);
        },
        ['--cap-drop', 'ALL'],
      );
    });

    describe('says that nothing could be looked at', () => {
      const refusals: readonly {
        readonly given: string;
        readonly options?: readonly string[];
        readonly args?: readonly string[];
        readonly says: RegExp;
      }[] = [
        { given: 'a name that no container has', args: ['nobody'], says: /knows no container "nobody"/ },
        { given: 'a path for a name', args: ['../networks'], says: /knows no container "\.\.\/networks"/ },
        { given: 'an empty name', args: [''], says: /knows no container ""/ },
        { given: 'no socket', options: [], says: /does not answer at \/var\/run\/docker\.sock \(ENOENT\)/ },
        {
          given: 'a folder for a socket, as Docker makes it where there is none',
          options: ['--volume', '/var/run/no-docker.sock:/var/run/docker.sock:ro'],
          says: /does not answer at .*\(ECONNREFUSED\)/,
        },
        {
          given: 'a user who may not open it',
          options: [...socket, '--user', '1000:1000'],
          says: /does not answer at .*\(EACCES\)\n.*no --user/,
        },
      ];
      for (const { given, options = socket, args = [], says } of refusals) {
        test(given, async () => {
          const { code, stdout, stderr } = await run(options, ...args);
          assert.deepEqual([code, stdout], [2, ''], stderr);
          assert.match(stderr, says);
          assert.match(stderr, /\(UB_DOCKER\)$/);
          assert.doesNotMatch(stderr, /^\s+at /m);
        });
      }
    });

    test('looks at a container that is no router as at one that should be', async () => {
      const { code, codes, stdout } = await examine(world.nameOf('web'));
      assert.equal(code, 1, stdout);
      assert.ok(codes.includes('UB_DOCTOR_SETTING'), stdout);
      assert.match(stdout, /^break UB_DOCTOR_SETTING: IP_ADDR=/m);
    });

    // The last one: it takes the router away.
    test('says that there is no router', async () => {
      await world.docker('router', 'rm', '--force');
      const { code, stderr } = await run(socket);
      assert.equal(code, 2);
      assert.match(stderr, /Docker has no container that runs the router/);
    });
  });
}
