import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Environment, parseRouterConfig } from '../../../src/config/env.ts';
import { renderAllowance } from '../../../src/config/lan-allow.ts';
import { renderFaults } from '../../../src/config/report.ts';
import { faultsOf, valueFrom } from './outcome.ts';

const configOf = (env: Environment) => valueFrom(parseRouterConfig({ MODE: 'sidecar', ...env })).config;
const problemsOf = (env: Environment) =>
  renderFaults(faultsOf(parseRouterConfig({ MODE: 'sidecar', ...env })), 'faults')
    .split('\n')
    .slice(1);

describe('MODE=sidecar', () => {
  it('needs no other setting, and always has a resolver, but no limit for each client', () => {
    const { isSidecar, gateway, localResolver, connectionLimit } = configOf({});
    assert.equal(isSidecar, true);
    assert.deepEqual(gateway, { address: '127.0.0.1', prefixBits: 8 });
    assert.deepEqual(localResolver, { isCaching: true, zones: [] });
    assert.equal(connectionLimit, undefined);
    assert.equal(configOf({ MODE: ' Sidecar ' }).isSidecar, true);
    assert.equal(configOf({ DNS_CACHE: 'off' }).localResolver?.isCaching, false);
  });

  it('is what nobody gets who does not ask for it', () => {
    const router = { MODE: 'router', IP_ADDR: '172.22.0.1/24' };
    assert.equal(configOf(router).isSidecar, undefined);
    assert.match(problemsOf({ MODE: 'router' }).join(), /IP_ADDR: is not set/);
    assert.match(problemsOf({ ...router, MODE: 'pod' }).join(), /MODE="pod"/);
    assert.match(problemsOf({ ...router, IP_ADDR: '127.0.0.1/8' }).join(), /IP_ADDR="127\.0\.0\.1\/8"/);
  });

  it('refuses what has no meaning without an isolated network, each with its reason, and takes `off`', () => {
    const unfit = {
      IP_ADDR: '172.22.0.1/24',
      IP6_ADDR: 'fd00:7722::1/64',
      IPV6: 'tunnel',
      STANDBY: 'on',
      PORT_FWD_HAIRPIN: 'on',
      CONNECTION_LIMIT: '100',
      MSS: '1300',
    };
    for (const [name, value] of Object.entries(unfit)) {
      const [only = '', ...others] = problemsOf({ [name]: value });
      assert.match(only, new RegExp(`^  ${name}=".*MODE=sidecar`));
      assert.deepEqual(others, [], name);
    }
    assert.equal(problemsOf(unfit).length, Object.keys(unfit).length);
    assert.equal(configOf({ IPV6: 'off', STANDBY: 'off', PORT_FWD_HAIRPIN: 'OFF' }).hasStandby, false);
  });

  it('leaves the port of its resolver to that', () => {
    for (const HEALTH_ADDR of ['0.0.0.0:5300', '127.0.0.1:5300'])
      assert.match(problemsOf({ HEALTH_ADDR }).join(), /HEALTH_ADDR.*MODE=sidecar/);
    assert.equal(configOf({ HEALTH_ADDR: '127.0.0.2:5300' }).healthAddress.port, 5300);
  });

  it('never shows the health endpoint to whoever is beyond the tunnel', () => {
    const HEALTH_ADDR = '0.0.0.0:9797';
    for (const PORT_FWD of ['9797', '80:9797/tcp', '9000-9999'])
      assert.match(problemsOf({ HEALTH_ADDR, PORT_FWD }).join(), /HEALTH_ADDR="0\.0\.0\.0:9797".*PORT_FWD/);
    assert.match(problemsOf({ HEALTH_ADDR, PORT_FWD_DYNAMIC: 'natpmp:9797' }).join(), /HEALTH_ADDR.*PORT_FWD_DYNAMIC/);
    for (const env of [{ PORT_FWD: '9797' }, { HEALTH_ADDR, PORT_FWD: '9797/udp, 9797:80/tcp' }])
      assert.ok(configOf(env).forwards.length > 0);
  });

  it('lets the local network have every port beside LAN_ALLOW: no port of its own is taken for translation', () => {
    const env = { LAN_ALLOW: '192.168.1.0/24:tcp/80', LAN_ALLOW_IN: '192.168.1.0/24:tcp/1024-65535' };
    assert.equal(configOf(env).lanAllowances?.length, 2);
  });

  it('asks for the forms of its own, and says whom the local network reaches', () => {
    assert.match(
      problemsOf({ LAN_ALLOW_IN: '192.168.1.0/24:80' }).join(),
      /Write SUBNET:tcp\/PORT or SUBNET:udp\/PORT/,
    );
    assert.match(problemsOf({ PORT_FWD_DYNAMIC: 'natpmp:0' }).join(), /Write natpmp:PORT/);
    const [allowance] = configOf({ LAN_ALLOW_IN: '192.168.1.0/24:tcp/80' }).lanAllowances ?? [];
    assert.equal(allowance && renderAllowance(allowance), '192.168.1.0/24 to this network namespace tcp/80');
  });

  it('takes PORT_FWD without a target, and none with one', () => {
    const { forwards, namedForwards } = configOf({ PORT_FWD: '6881, 8080:80/tcp, 5000-5002/udp' });
    const target = '127.0.0.1';
    const range = (first: number, last = first) => ({ first, last });
    assert.deepEqual(namedForwards, []);
    assert.deepEqual(forwards, [
      { transports: ['tcp', 'udp'], outside: range(6881), target, inside: range(6881) },
      { transports: ['tcp'], outside: range(8080), target, inside: range(80) },
      { transports: ['udp'], outside: range(5000, 5002), target, inside: range(5000, 5002) },
    ]);
    for (const entry of ['web:80', '172.22.0.128:80', '8080:web:80', '127.0.0.1:80', '[::1]:80'])
      assert.match(problemsOf({ PORT_FWD: entry }).join(), /names a target/, entry);
    for (const entry of ['0', '70000', '80:', ':80', '80-81:80', '80/sctp'])
      assert.match(problemsOf({ PORT_FWD: entry }).join(), /PORT_FWD entry 1/, entry);
  });

  it('takes PORT_FWD_DYNAMIC without a target, and hooks to localhost alone', () => {
    const place = { kind: 'address', address: '127.0.0.1' };
    const config = configOf({ PORT_FWD_DYNAMIC: 'natpmp:6881/tcp', PORT_FWD_HOOK: 'http://localhost:8080/?p={port}' });
    assert.deepEqual(config.dynamicForward, { protocol: 'natpmp', transports: ['tcp'], place, inside: 6881 });
    assert.deepEqual(config.forwardHook?.place, place);
    assert.equal(configOf({ PORT_FWD_DYNAMIC: 'pcp:inside=same' }).dynamicForward?.inside, 'same');
    assert.match(problemsOf({ PORT_FWD_DYNAMIC: 'natpmp:web:80' }).join(), /none but localhost/);
  });

  it('takes LAN_ALLOW_IN without an address, and none with one', () => {
    const { lanAllowances } = configOf({ LAN_ALLOW: '192.168.1.0/24:tcp/80', LAN_ALLOW_IN: '192.168.1.0/24:tcp/8080' });
    assert.deepEqual(
      lanAllowances?.map(({ target }) => target),
      [undefined, '127.0.0.1'],
    );
    assert.match(problemsOf({ LAN_ALLOW_IN: '192.168.1.0/24:tcp/8080:10.0.0.1' }).join(), /of this network namespace/);
    assert.match(problemsOf({ LAN_ALLOW: '192.168.1.0/24:udp/53' }).join(), /ask DNS past the tunnel/);
  });
});
