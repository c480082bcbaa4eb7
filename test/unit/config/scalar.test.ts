import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  parseChoice,
  parseConnectionLimit,
  parseFailback,
  parseMss,
  parseMtu,
  parseProfileNames,
  parseSecretPath,
  parseTimeZone,
  parseUplinkGateway,
} from '../../../src/config/scalar.ts';
import { cidr, faultsOf, problemOf, valueFrom } from './outcome.ts';

describe('MSS', () => {
  it('is a number of bytes from 536 to 1460', () => {
    assert.equal(valueFrom(parseMss('536')), 536);
    assert.equal(valueFrom(parseMss('1460')), 1460);
    for (const text of ['535', '1461', '1300.5', '1e3', '-1300', 'auto', '01300']) faultsOf(parseMss(text));
  });
});

describe('MTU', () => {
  it('is a number of bytes from 576 to 1500, and with IPv6 from 1280', () => {
    for (const bytes of [576, 1500]) assert.equal(valueFrom(parseMtu(`${bytes}`, 'ipv4')), bytes);
    for (const text of ['575', '1501', '1300.5', 'auto']) faultsOf(parseMtu(text, 'ipv4'));
    assert.equal(valueFrom(parseMtu('1280', 'ipv6')), 1280);
    assert.match(problemOf(parseMtu('1279', 'ipv6')), /from 1280 to 1500, as IPv6 needs it/);
  });
});

describe('CONNECTION_LIMIT', () => {
  it('is a number up to a million, and 0 for none', () => {
    for (const number of [0, 1, 4096, 1_000_000]) assert.equal(valueFrom(parseConnectionLimit(`${number}`)), number);
    for (const text of ['1000001', '-1', '1.5', '1e3', 'off', '007']) faultsOf(parseConnectionLimit(text));
  });
});

describe('TZ', () => {
  it('is a zone of the IANA database in any case', () => {
    assert.equal(valueFrom(parseTimeZone('UTC')), 'UTC');
    assert.equal(valueFrom(parseTimeZone('europe/warsaw')), 'Europe/Warsaw');
  });

  it('is no POSIX rule and no offset, which two programs would read differently', () => {
    for (const text of ['CET-1CEST', '+02:00', '-0500', 'Mars/Olympus', ':UTC']) {
      assert.equal(problemOf(parseTimeZone(text)), 'is not a time zone');
    }
  });
});

describe('CONFIG', () => {
  it('is a list with commas in failover order', () => {
    const expected = ['first.ovpn', 'sub/second.conf', '/srv/my..third.ovpn'];
    assert.deepEqual(valueFrom(parseProfileNames('first.ovpn, sub/second.conf,,/srv/my..third.ovpn')), expected);
  });

  it('keeps spaces inside a name', () => {
    assert.deepEqual(valueFrom(parseProfileNames('my provider.ovpn')), ['my provider.ovpn']);
  });

  it('refuses a name that climbs out of its directory, by name', () => {
    const faults = faultsOf(parseProfileNames('good.ovpn,../bad.ovpn,/srv/../worse.ovpn,..'));
    assert.deepEqual(
      faults.map((fault) => fault.value),
      ['../bad.ovpn', '/srv/../worse.ovpn', '..'],
    );
  });

  it('refuses NUL and other control characters', () => {
    assert.equal(problemOf(parseProfileNames('a\0.ovpn')), 'holds a control character');
  });
});

describe('FAILBACK', () => {
  it('is idle, off or a number of minutes', () => {
    assert.deepEqual(valueFrom(parseFailback('Idle')), { kind: 'idle' });
    assert.deepEqual(valueFrom(parseFailback('off')), { kind: 'off' });
    assert.deepEqual(valueFrom(parseFailback('30')), { kind: 'after', ms: 1_800_000 });
    for (const text of ['0', '-1', '1.5', '30m', 'never', '10081']) faultsOf(parseFailback(text));
  });
});

describe('the path of a secret', () => {
  it('is absolute', () => {
    assert.equal(valueFrom(parseSecretPath('/run/secrets/x', 'OPENVPN_PASSWORD_FILE')), '/run/secrets/x');
    assert.equal(problemOf(parseSecretPath('secrets/x', 'OPENVPN_PASSWORD_FILE')), 'is not an absolute path');
    assert.equal(problemOf(parseSecretPath('/run/\0', 'OPENVPN_PASSWORD_FILE')), 'holds a control character');
  });
});

describe('a choice', () => {
  const choices = ['debug', 'info'] as const;

  it('is taken in any case', () => {
    assert.equal(valueFrom(parseChoice({ name: 'LOG_LEVEL', text: 'Info', choices })), 'info');
  });

  it('lists what can be chosen when it is faulty', () => {
    const [fault] = faultsOf(parseChoice({ name: 'LOG_LEVEL', text: 'trace', choices }));
    assert.deepEqual(fault, {
      name: 'LOG_LEVEL',
      value: 'trace',
      problem: 'is not one of its values',
      hint: 'choose from debug, info',
    });
  });
});

describe('UPLINK_GATEWAY', () => {
  it('is a host outside the isolated network', () => {
    const isolated = cidr('172.22.0.1/24');
    assert.equal(valueFrom(parseUplinkGateway('172.18.0.1', isolated)), '172.18.0.1');
    const problem = 'lies in the isolated network 172.22.0.0/24, which has no way out';
    assert.equal(problemOf(parseUplinkGateway('172.22.0.254', isolated)), problem);
    assert.equal(problemOf(parseUplinkGateway('gateway', isolated)), 'is a host name');
  });
});
