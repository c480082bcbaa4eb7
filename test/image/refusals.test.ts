// What the image says to bad input, and that it takes nothing before it refuses. Needs root; starts engines apart.
import assert from 'node:assert/strict';
import { chmod, chown } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Engine } from '../lab/engine.ts';
import { type EngineName, openEngine, removeAll, runApart } from './apart.ts';
import {
  type ContainerRun,
  createContainer,
  type Files,
  goodRun,
  makeFiles,
  makeNetworks,
  networks,
  runContainer,
} from './container.ts';
import { runFor } from './world.ts';

await runApart(import.meta.filename);

interface Refusal {
  readonly given: string;
  readonly run: Partial<ContainerRun>;
  /** One for each problem that is reported, and there are no others. */
  readonly says: readonly RegExp[];
}

const capHint = /`cap_add: \[NET_ADMIN, SETUID, SETGID\]`/.source;

const refusals: readonly Refusal[] = [
  {
    given: 'no IP_ADDR',
    run: { env: { ...goodRun.env, IP_ADDR: undefined } },
    says: [/^IP_ADDR: .*172\.22\.0\.1\/24/],
  },
  {
    given: "an IP_ADDR in no interface's subnet",
    run: { env: { ...goodRun.env, IP_ADDR: '172.29.0.1/24' } },
    says: [/^IP_ADDR="172\.29\.0\.1\/24": no interface .*172\.29\.0\.0\/24 .*eth\d 172\.22\..*[Aa]ttach/],
  },
  {
    given: 'no profile folder and no CONFIG',
    run: { config: undefined },
    says: [/^CONFIG: there is no \.ovpn or \.conf file in \/config\. Mount/],
  },
  {
    given: 'no profile folder, and a CONFIG',
    run: { config: undefined, env: { ...goodRun.env, CONFIG: 'client.ovpn' } },
    says: [/^CONFIG="\/config\/client\.ovpn": the profile is not there\. Mount/],
  },
  {
    given: 'a CONFIG that is not there',
    run: { env: { ...goodRun.env, CONFIG: 'other.ovpn' } },
    says: [/^CONFIG="\/config\/other\.ovpn": the profile is not there\. .*client\.ovpn/],
  },
  {
    given: 'an empty profile',
    run: { config: 'empty' },
    says: [/^CONFIG="\/config\/client\.ovpn": the profile is empty/],
  },
  {
    given: 'a profile that another user has closed',
    run: { config: 'closed' },
    says: [/^CONFIG="\/config\/client\.ovpn": the profile cannot be read \(EACCES\)\. .*DAC_READ_SEARCH/],
  },
  {
    given: 'two profiles and no CONFIG',
    run: { config: 'two' },
    says: [/^CONFIG: there is more than one profile in \/config: one\.ovpn, two\.ovpn\. .*CONFIG=one\.ovpn/],
  },
  {
    given: 'a profile that would run programs',
    run: { config: 'programs' },
    says: [
      /^client\.ovpn:2="plugin \/evil\.so": would load code into OpenVPN\. Remove the line/,
      /^client\.ovpn:3="up \/evil\.sh": would run a program\. Remove the line/,
      /^client\.ovpn:\d\d="route-up .*": would run a program\. Remove the line/,
    ],
  },
  {
    given: 'a PORT_FWD with a malformed entry',
    run: { env: { ...goodRun.env, PORT_FWD: '172.22.0.128:4666, 172.22.0.300:80' } },
    says: [/^PORT_FWD entry 2="172\.22\.0\.300:80": .*above 255/],
  },
  {
    given: 'no credentials for a profile that needs them',
    run: { credentials: undefined },
    says: [
      /^credentials: the profile client\.ovpn needs a user name and a password.*\/run\/secrets\/openvpn_credentials/,
    ],
  },
  {
    given: 'no /dev/net/tun',
    run: { device: 'none' },
    says: [/^\/dev\/net\/tun: it is not there\. .*`devices: \[\/dev\/net\/tun\]`/],
  },
  {
    given: 'no NET_ADMIN',
    run: { capabilities: ['SETUID', 'SETGID'] },
    says: [new RegExp(`^capabilities="NET_ADMIN": .*${capHint}`)],
  },
  {
    given: 'a DNS inside the isolated network',
    run: { env: { ...goodRun.env, DNS: '172.22.0.53' } },
    says: [/^DNS="172\.22\.0\.53": .*isolated network/],
  },
  {
    given: 'only the isolated network',
    run: { networks: [networks.isolated] },
    says: [/^networks: there is no uplink/],
  },
  {
    given: 'only the uplink',
    run: { networks: [networks.uplink] },
    says: [/^IP_ADDR="172\.22\.0\.1\/24": no interface/],
  },
  {
    given: 'several of these at once',
    run: {
      env: {
        IP_ADDR: '172.29.0.1/24',
        DNS: '172.29.0.53',
        PORT_FWD: '172.29.0.9, 172.29.0.9:99999',
        TZ: 'Mars/Phobos',
      },
      config: 'empty',
      device: 'none',
      capabilities: [],
    },
    says: [
      /^DNS="172\.29\.0\.53": /,
      /^PORT_FWD entry 1="172\.29\.0\.9": has no port/,
      /^PORT_FWD entry 2="172\.29\.0\.9:99999": /,
      /^TZ="Mars\/Phobos": /,
      /^CONFIG="\/config\/client\.ovpn": the profile is empty/,
      /^IP_ADDR="172\.29\.0\.1\/24": no interface/,
      /^capabilities="NET_ADMIN": /,
      /^capabilities="SETUID": /,
      /^capabilities="SETGID": /,
      /^\/dev\/net\/tun: /,
    ],
  },
  {
    given: 'no file, no network and no device at once',
    run: { config: undefined, credentials: undefined, networks: [networks.isolated], device: 'none' },
    says: [/^CONFIG: /, /^networks: there is no uplink/, /^\/dev\/net\/tun: /],
  },
];

for (const on of ['20.10', '28.5'] satisfies readonly EngineName[]) {
  describe(`Docker ${on}`, () => {
    let engine: Engine;
    let files: Files;
    before(async () => {
      engine = await openEngine(on);
      await makeNetworks(engine);
      files = await makeFiles({
        empty: { 'client.ovpn': '\n' },
        closed: { 'client.ovpn': 'PROFILE\n' },
        two: { 'one.ovpn': 'PROFILE\n', 'two.ovpn': 'PROFILE\n' },
        // Line 1 is left out by itself: providers write it.
        programs: {
          'client.ovpn': 'script-security 2\nplugin /evil.so\nup /evil.sh\nPROFILE\nroute-up "/bin/sh -c evil"\n',
        },
      });
      const closed = join(files.folder, 'closed/client.ovpn');
      await chown(closed, 1000, 1000);
      await chmod(closed, 0o600);
      const asker = ['run', '--detach', '--name', 'asker', '--network', networks.isolated, 'underbridge-demo:dev'];
      await engine.docker(...asker, 'arping', '-I', 'eth0', '172.22.0.1');
    });
    after(async () => {
      await files?.remove();
      if (engine !== undefined) await removeAll(engine);
    });

    describe('refuses', { concurrency: 3 }, () => {
      for (const { given, run, says } of refusals) {
        test(given, async () => {
          const ran = await runContainer(engine, files, { ...goodRun, ...run });
          assert.equal(ran.code, 1, ran.stdout + ran.stderr);
          assert.equal(ran.stdout, '');
          const [heading, ...problems] = ran.stderr.split('\n');
          const count = says.length === 1 ? '1 problem' : `${says.length} problems`;
          assert.equal(heading, `the router cannot start: ${count}`, ran.stderr);
          assert.equal(problems.length, says.length, ran.stderr);
          for (const expected of says) {
            const fitting = problems.filter((line) => expected.test(line.trim()));
            assert.equal(fitting.length, 1, `${expected}:\n${ran.stderr}`);
          }
          assert.doesNotMatch(ran.stderr, /^\s+at /m);
        });
      }
    });

    test('refuses an IP_ADDR that another container answers for', async () => {
      const owner = ['run', '--detach', '--network', networks.taken, '--ip', '172.23.0.1', 'underbridge-demo:dev'];
      const id = await engine.docker(...owner, 'sleep', 'infinity');
      const mac = await engine.docker(
        'inspect',
        '--format',
        '{{range .NetworkSettings.Networks}}{{.MacAddress}}{{end}}',
        id,
      );
      const env = { ...goodRun.env, IP_ADDR: '172.23.0.1/24' };
      const ran = await runContainer(engine, files, { ...goodRun, env, networks: [networks.taken, networks.uplink] });
      assert.equal(ran.code, 1, ran.stdout + ran.stderr);
      const message = ran.stderr.split('\n').filter((line) => line.includes('IP_ADDR'));
      assert.deepEqual(message, [`underbridge: IP_ADDR="172.23.0.1/24": ${mac} already answers for this address`]);
      assert.match(ran.stderr, /another router runs there/);
      assert.doesNotMatch(ran.stdout + ran.stderr, /^\s+at |gateway address claimed/m);
    });

    test('never answered for the gateway address before it refused', async () => {
      const asked = await engine.docker('logs', 'asker');
      assert.doesNotMatch(asked, /reply from/);
    });

    // The last ones: they answer for the address, and so prove that the asker can hear.
    for (const ipForward of [0, 1] as const) {
      test(`starts with net.ipv4.ip_forward=${ipForward}, and lets only the isolated network's interface forward`, async () => {
        await started({ ...goodRun, ipForward }, async (id) => {
          const read = 'cd /proc/sys/net/ipv4/conf; for each in eth*; do echo $(cat $each/forwarding); done';
          const settings = await engine.docker('exec', id, 'sh', '-c', read);
          assert.deepEqual(settings.split('\n').toSorted(), ['0', '1']);
        });
      });
    }

    test('reads a profile that another user has closed, with DAC_READ_SEARCH', async () => {
      const capabilities = [...goodRun.capabilities, 'DAC_READ_SEARCH'];
      await started({ ...goodRun, config: 'closed', capabilities }, async () => undefined);
    });

    test('answers for the gateway address once it runs', async () => {
      assert.match(await engine.docker('logs', 'asker'), /reply from 172\.22\.0\.1 /);
    });

    /** Runs a router that does not refuse, until it has the gateway address and `check` is done. */
    async function started(run: ContainerRun, check: (id: string) => Promise<void>): Promise<void> {
      const id = await createContainer(engine, files, run);
      try {
        await engine.docker('start', id);
        let log = '';
        for (const deadline = Date.now() + 15_000; !log.includes('gateway address claimed'); await sleep(100)) {
          const { stdout, stderr } = await runFor(engine, ['docker', 'logs', id]);
          log = stdout + stderr;
          assert.ok(Date.now() < deadline, log);
        }
        // The asker asks once a second.
        await sleep(1_200);
        await check(id);
      } finally {
        await engine.docker('rm', '--force', id);
      }
    }
  });
}
