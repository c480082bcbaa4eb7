import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type Environment, parseRouterConfig } from '../../../src/config/env.ts';
import { renderFaults } from '../../../src/config/report.ts';
import type { RouterConfig } from '../../../src/config/router-config.ts';
import { settingsFor } from '../../../src/config/settings.ts';
import { faultsOf, valueFrom } from './outcome.ts';

const least = { IP_ADDR: '172.22.0.1/24' };

function configOf(env: Environment): RouterConfig {
  return valueFrom(parseRouterConfig({ ...least, ...env })).config;
}

function reportOf(env: Environment): string {
  return renderFaults(faultsOf(parseRouterConfig({ ...least, ...env })), 'Underbridge cannot start');
}

describe('the environment', () => {
  it('of the Compose file that vpn_nat_router documents keeps working', () => {
    const parsed = valueFrom(
      parseRouterConfig({
        CONFIG: 'openvpn_config_filename.ovpn',
        IP_ADDR: '172.22.0.1/24',
        DNS: '1.1.1.1',
        PORT_FWD: '172.22.0.128:4666',
        TZ: 'UTC',
        PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        HOSTNAME: '0a1b2c3d4e5f',
        HOME: '/root',
      }),
    );
    assert.deepEqual(parsed, {
      config: {
        gateway: { address: '172.22.0.1', prefixBits: 24 },
        profileNames: ['openvpn_config_filename.ovpn'],
        failback: { kind: 'idle' },
        authRetry: 'slow',
        hasStandby: false,
        dns: { kind: 'servers', servers: ['1.1.1.1'] },
        forwards: [
          {
            transports: ['tcp', 'udp'],
            outside: { first: 4666, last: 4666 },
            target: '172.22.0.128',
            inside: { first: 4666, last: 4666 },
          },
        ],
        namedForwards: [],
        credentials: { kind: 'file', path: '/run/secrets/openvpn_credentials', required: false },
        healthAddress: { host: '127.0.0.1', port: 9797 },
        probe: { kind: 'dns' },
        connectionLimit: 4096,
        firewall: 'auto',
        timeZone: 'UTC',
        logLevel: 'info',
        logFormat: 'text',
      },
      warnings: [],
    });
  });

  it('needs nothing but IP_ADDR', () => {
    const config = configOf({});
    assert.deepEqual(config.profileNames, []);
    assert.deepEqual(config.dns, { kind: 'pushed' });
    assert.deepEqual(config.forwards, []);
  });

  it('sets every optional part', () => {
    const config = configOf({
      UPLINK_GATEWAY: '172.18.0.1',
      MSS: '1300',
      HEALTH_ADDR: '0.0.0.0:80',
      HEALTH_PROBE: '1.1.1.1:443',
      TZ: 'Europe/Warsaw',
      LOG_LEVEL: 'debug',
      LOG_FORMAT: 'json',
    });
    assert.equal(config.uplinkGateway, '172.18.0.1');
    assert.equal(config.mssBytes, 1300);
    assert.deepEqual(config.healthAddress, { host: '0.0.0.0', port: 80 });
    assert.deepEqual(config.probe, { kind: 'tcp', address: '1.1.1.1', port: 443 });
    assert.equal(config.timeZone, 'Europe/Warsaw');
    assert.deepEqual([config.logLevel, config.logFormat], ['debug', 'json']);
  });

  it('counts an empty value as unset and trims the white space around others', () => {
    const config = configOf({
      IP_ADDR: ' 172.22.0.1/24\n',
      DNS: '',
      MSS: '  ',
      LOG_LEVEL: ' warn ',
      OPENVPN_PASSWORD: '',
    });
    assert.deepEqual(config.dns, { kind: 'pushed' });
    assert.equal('mssBytes' in config, false);
    assert.equal(config.logLevel, 'warn');
    assert.equal(config.credentials.kind, 'file');
  });

  it('that lacks IP_ADDR is told so with an example', () => {
    assert.match(
      reportOf({ IP_ADDR: undefined }),
      /IP_ADDR: is not set\. Set it, for example IP_ADDR=172\.22\.0\.1\/24\./,
    );
    assert.match(reportOf({ IP_ADDR: ' ' }), /IP_ADDR: is not set\./);
  });

  it('has every fault in one report, in the order of the settings', () => {
    const report = reportOf({
      IP_ADDR: '172.22.0.1',
      CONFIG: '../x.ovpn',
      DNS: '::1 127.0.0.1',
      PORT_FWD: 'web.lan:80, 172.22.0.5:0',
      TZ: 'Mars',
      OPENVPN_USERNAME: 'alice',
      UPLINK_GATEWAY: 'gw',
      HEALTH_ADDR: '9797',
      HEALTH_PROBE: 'ping',
      MSS: '9000',
      LOG_LEVEL: 'loud',
      LOG_FORMAT: 'xml',
      PORT_FORWARD: '172.22.0.5:1',
    });
    const subjects = report
      .split('\n')
      .slice(1)
      .map((line) => /^ {2}([A-Z_]+( entry \d)?)/.exec(line)?.[1]);
    assert.deepEqual(subjects, [
      'IP_ADDR',
      'CONFIG',
      'DNS',
      'DNS',
      'PORT_FWD entry 1',
      'PORT_FWD entry 2',
      'TZ',
      'UPLINK_GATEWAY',
      'HEALTH_ADDR',
      'HEALTH_PROBE',
      'MSS',
      'LOG_LEVEL',
      'LOG_FORMAT',
      'OPENVPN_PASSWORD',
      'PORT_FORWARD',
    ]);
    assert.match(report, /^Underbridge cannot start: 15 problems\n/);
  });

  it('whose values took the quotation marks of a Compose list is told to drop them', () => {
    const report = reportOf({ IP_ADDR: '"172.22.0.1/24"', CONFIG: "'x.ovpn'" });
    assert.match(report, /2 problems\n {2}IP_ADDR: has quotation marks.*\n {2}CONFIG: has quotation marks/);
  });

  it('with a misspelled variable works, and warns without its value', () => {
    const { warnings } = valueFrom(parseRouterConfig({ ...least, DNS_SERVER: '1.1.1.1', OPENVPN_PASS: 'Hunter2' }));
    assert.deepEqual(warnings, [
      { name: 'DNS_SERVER', problem: 'is not a setting', hint: 'rename it to DNS' },
      { name: 'OPENVPN_PASS', problem: 'is not a setting', hint: 'rename it to OPENVPN_PASSWORD' },
    ]);
  });

  it('never makes the parser throw', () => {
    const names = fc.oneof(
      fc.constantFrom(...Object.keys(settingsFor(undefined)), 'NODE_ENV', '__proto__'),
      fc.string(),
    );
    const values = fc.option(fc.string({ unit: 'binary' }), { nil: undefined });
    fc.assert(fc.property(fc.dictionary(names, values), (env) => void parseRouterConfig(env)));
  });
});

describe('credentials in the environment', () => {
  it('come from the file that the user named, which then has to exist', () => {
    const expected = { kind: 'file', path: '/run/secrets/other', required: true };
    assert.deepEqual(configOf({ OPENVPN_CREDENTIALS_FILE: '/run/secrets/other' }).credentials, expected);
  });

  it('come as values, kept as they are but for one newline at the end', () => {
    const { credentials } = configOf({ OPENVPN_USERNAME: ' alice\n', OPENVPN_PASSWORD: ' "p" \n' });
    assert.deepEqual(credentials, {
      kind: 'pair',
      username: { kind: 'value', value: ' alice' },
      password: { kind: 'value', value: ' "p" ' },
    });
  });

  it('come as a value and a file', () => {
    const { credentials } = configOf({ OPENVPN_USERNAME: 'alice', OPENVPN_PASSWORD_FILE: '/run/secrets/p' });
    assert.deepEqual(credentials, {
      kind: 'pair',
      username: { kind: 'value', value: 'alice' },
      password: { kind: 'file', path: '/run/secrets/p' },
    });
  });

  it('are refused when a value and its file are both given', () => {
    const report = reportOf({ OPENVPN_USERNAME: 'u', OPENVPN_PASSWORD: 'p', OPENVPN_PASSWORD_FILE: '/p' });
    assert.match(
      report,
      /1 problem\n {2}OPENVPN_PASSWORD: is set, and so is OPENVPN_PASSWORD_FILE\. Keep one of the two\.$/,
    );
  });

  it('are refused when one half is missing', () => {
    assert.match(reportOf({ OPENVPN_USERNAME: 'u' }), /OPENVPN_PASSWORD: is not set, but OPENVPN_USERNAME is\./);
    assert.match(
      reportOf({ OPENVPN_PASSWORD_FILE: '/p' }),
      /OPENVPN_USERNAME: is not set, but OPENVPN_PASSWORD_FILE is\./,
    );
  });

  it('are refused when both the file with the two and one of its own are given', () => {
    const report = reportOf({ OPENVPN_CREDENTIALS_FILE: '/c', OPENVPN_USERNAME: 'u', OPENVPN_PASSWORD: 'p' });
    assert.match(report, /1 problem\n {2}OPENVPN_CREDENTIALS_FILE: is set, and so is/);
  });

  it('never appear in a fault, a warning or a report, wherever they were put by mistake', () => {
    const places = ['OPENVPN_USERNAME', 'OPENVPN_PASSWORD', 'OPENVPN_USERNAME_FILE', 'OPENVPN_PASSWORD_FILE'];
    const mistakes = ['OPENVPN_CREDENTIALS_FILE', 'OPENVPN_PASS', 'OPENVPN_PASWORD', 'VPN_PASSWORD'];
    const secret = fc
      .tuple(
        fc.constantFrom('', '/', '"', '\t', ' '),
        fc.stringMatching(/^[a-z]{12}$/),
        fc.constantFrom('', '\n\n', '"', '\0', 'x'.repeat(300)),
      )
      .map(([before, core, after]) => ({ core, text: `${before}${core}${after}` }));
    const env = fc.subarray([...places, ...mistakes], { minLength: 1 });
    fc.assert(
      fc.property(env, secret, fc.boolean(), (names, { core, text }, faultyElsewhere) => {
        const given = Object.fromEntries(names.map((name) => [name, text]));
        const parsed = parseRouterConfig({ ...least, ...given, ...(faultyElsewhere && { MSS: '1' }) });
        const shown = parsed.kind === 'faults' ? parsed.faults : parsed.value.warnings;
        assert.ok(!JSON.stringify(shown).includes(core));
        assert.ok(!renderFaults(shown, 'Heading').includes(core));
      }),
    );
  });
});
