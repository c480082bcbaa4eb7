import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parseDynamicForward, parseForwardHook } from '../../../src/config/dynamic-forward.ts';
import { parseRouterConfig } from '../../../src/config/env.ts';
import { cidr, faultsOf, problemOf, valueFrom } from './outcome.ts';

const isolated = cidr('172.22.0.1/24');

describe('PORT_FWD_DYNAMIC', () => {
  const parse = (text: string) => parseDynamicForward(text, isolated);

  it('names a protocol, a container and its port', () => {
    assert.deepEqual(valueFrom(parse('natpmp:Web:80')), {
      protocol: 'natpmp',
      transports: ['tcp', 'udp'],
      place: { kind: 'name', name: 'web' },
      inside: 80,
    });
    assert.deepEqual(valueFrom(parse('PCP:172.22.0.9:80/udp')), {
      protocol: 'pcp',
      transports: ['udp'],
      place: { kind: 'address', address: '172.22.0.9' },
      inside: 80,
    });
  });

  it('may let the container listen on the number that is given', () => {
    for (const text of ['natpmp:web:same', 'natpmp:web:inside=same']) {
      assert.equal(valueFrom(parse(text)).inside, 'same');
    }
  });

  const refusals = {
    'web:80': 'does not begin with natpmp or pcp',
    'upnp:web:80': 'does not begin with natpmp or pcp',
    'natpmp:web': 'is not a protocol, a target and a port',
    'natpmp:web:80:81': 'is not a protocol, a target and a port',
    'natpmp:web:0': 'has an inside port that is neither from 1 to 65535 nor same',
    'natpmp:web:80/sctp': 'has a protocol other than tcp and udp',
    'natpmp:web.lan:80': 'has a target that is neither an IPv4 address nor a name of one word',
    'natpmp:172.22.0.1:80': 'has the gateway address of IP_ADDR as its target',
    'natpmp:10.0.0.1:80': 'has a target outside the isolated network 172.22.0.0/24',
  };
  for (const [text, problem] of Object.entries(refusals)) {
    it(`that reads ${text} ${problem}`, () => assert.equal(problemOf(parse(text)), problem));
  }
});

describe('PORT_FWD_HOOK', () => {
  const parse = (text: string) => parseForwardHook(text, isolated);

  it('is a request to a container with the port in it', () => {
    assert.deepEqual(valueFrom(parse('http://app:8080/set?json={"p":{port}}')), {
      place: { kind: 'name', name: 'app' },
      port: 8080,
      path: '/set?json={"p":{port}}',
    });
    assert.equal(valueFrom(parse('http://172.22.0.9/{port}')).port, 80);
  });

  const refusals = {
    'https://app/{port}': 'is not a plain http address without a user name',
    'http://me:pw@app/{port}': 'is not a plain http address without a user name',
    'http://app/{port}\n': 'is not a plain http address without a user name',
    'http://app:0/{port}': 'has a port that is not a number from 1 to 65535',
    'http://app/port': 'has no {port}',
    'http://app': 'has no {port}',
    'http://1.1.1.1/{port}': 'has a target outside the isolated network 172.22.0.0/24',
    'http://example.com/{port}': 'has a target that is neither an IPv4 address nor a name of one word',
  };
  for (const [text, problem] of Object.entries(refusals)) {
    it(`that reads ${JSON.stringify(text)} ${problem}`, () => assert.equal(problemOf(parse(text)), problem));
  }
});

it('no fault of PORT_FWD_HOOK shows what may be a password', () => {
  for (const text of [
    'http://me:pass-word@app/{port}',
    'http://app/login?p=pass-word',
    'http://1.1.1.1/pass-word{port}',
  ])
    assert.doesNotMatch(JSON.stringify(faultsOf(parseForwardHook(text, isolated))), /pass-word/);
});

it('what tells of a port is refused while none is asked for', () => {
  const env = { IP_ADDR: '172.22.0.1/24', PORT_FWD_FILE: '/x/port', PORT_FWD_HOOK: 'http://app/{port}' };
  const names = faultsOf(parseRouterConfig(env)).map(({ name }) => name);
  assert.deepEqual(names, ['PORT_FWD_FILE', 'PORT_FWD_HOOK']);
});

it('no text makes a parser throw', () => {
  const pieces = fc.constantFrom(
    'natpmp',
    'pcp',
    ':',
    '/',
    'web',
    '80',
    'same',
    'http://',
    '{port}',
    '172.22.0.9',
    '@',
  );
  const anyText = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(pieces).map((parts) => parts.join('')),
  );
  fc.assert(
    fc.property(anyText, (text) => {
      for (const parsed of [parseDynamicForward(text, isolated), parseForwardHook(text, isolated)]) {
        if (parsed.kind === 'ok') continue;
        for (const { problem, hint } of parsed.faults) assert.doesNotMatch(problem + hint, /[\x00-\x1f]|\.$/);
      }
    }),
  );
});
