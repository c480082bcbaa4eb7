import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parsePortForwards } from '../../../src/config/port-forward.ts';
import type { NamedForward, PortForward, PortRange, Transport } from '../../../src/config/router-config.ts';
import type { Ipv4, Port } from '../../../src/net/address.ts';
import { cidr, cidr6, faultsOf, problemOf, valueFrom } from './outcome.ts';

const gateway = cidr('172.22.0.1/24');
const both: readonly Transport[] = ['tcp', 'udp'];

function range(first: number, last = first): PortRange {
  return { first: first as Port, last: last as Port };
}

function parseOne(text: string): PortForward | NamedForward {
  const [forward, ...others] = valueFrom(parsePortForwards(text, gateway));
  assert.ok(forward !== undefined && others.length === 0);
  return forward;
}

describe('an entry of PORT_FWD', () => {
  const target = '172.22.0.128' as Ipv4;

  it('forwards both protocols to the same port in its shortest form', () => {
    const expected = { transports: both, outside: range(4666), target, inside: range(4666) };
    assert.deepEqual(parseOne('172.22.0.128:4666'), expected);
  });

  it('forwards one protocol when it ends in its name, in any case', () => {
    assert.deepEqual(parseOne('172.22.0.128:4666/tcp').transports, ['tcp']);
    assert.deepEqual(parseOne('172.22.0.128:4666/UDP').transports, ['udp']);
  });

  it('may have another port outside', () => {
    const expected = { transports: ['tcp'], outside: range(8080), target, inside: range(80) };
    assert.deepEqual(parseOne('8080:172.22.0.128:80/tcp'), expected);
  });

  it('may have ranges of equal length', () => {
    const expected = { transports: both, outside: range(6000, 6010), target, inside: range(5000, 5010) };
    assert.deepEqual(parseOne('6000-6010:172.22.0.128:5000-5010'), expected);
    assert.deepEqual(parseOne('172.22.0.128:5000-5010').outside, range(5000, 5010));
    assert.deepEqual(parseOne('172.22.0.128:55536-65535').outside, range(55_536, 65_535));
  });

  it('may name a container instead of its address, in any case', () => {
    const expected = { transports: ['tcp'], outside: range(8080), host: 'web_1', inside: range(80) };
    assert.deepEqual(parseOne('8080:Web_1:80/tcp'), expected);
  });

  const refusals = {
    '172.22.1.5:80': 'has a target outside the isolated network 172.22.0.0/24',
    '172.22.0.1:80': 'has the gateway address of IP_ADDR as its target',
    '172.22.0.0:80': 'has the address of the subnet 172.22.0.0/24 as its target',
    '172.22.0.255:80': 'has the broadcast address of 172.22.0.0/24 as its target',
    '172.22.0.128': 'has no port',
    '172.22.0.128:': 'has no inside port',
    ':172.22.0.128:80': 'has no outside port',
    '8080:172.22.0.128': 'has no inside port after the address',
    '8080:80': 'has no address',
    '8080::80': 'has no address',
    '80': 'is not an address and a port',
    '172.22.0.128:0': 'has an inside port that is not a number from 1 to 65535',
    '172.22.0.128:65536': 'has an inside port that is not a number from 1 to 65535',
    '172.22.0.128:http': 'has an inside port that is not a number from 1 to 65535',
    '99999:172.22.0.128:80': 'has an outside port that is not a number from 1 to 65535',
    '172.22.0.128:5000-': 'has an inside range that is not two ports from 1 to 65535',
    '172.22.0.128:1-2-3': 'has an inside range that is not two ports from 1 to 65535',
    '172.22.0.128:5010-5000': 'has an inside range that runs backwards',
    '6000-6001:172.22.0.128:80': 'has 2 outside and 1 inside ports',
    '80:172.22.0.128:80-81': 'has 1 outside and 2 inside ports',
    '172.22.0.128:80/sctp': 'has a protocol other than tcp and udp',
    '172.22.0.128:80/': 'has a protocol other than tcp and udp',
    '172.22.0.128:80/tcp/udp': 'has more than one slash',
    'web.lan:80': 'has a target that is no name of one word, which alone Docker keeps to itself',
    '8080:web.:80/tcp': 'has a target that is not an IPv4 address',
    [`${'a'.repeat(64)}:80`]: 'has a target that is no name of one word, which alone Docker keeps to itself',
    '80:web': 'has no inside port after the address',
    '[web]:80': 'is an IPv6 address, and IPV6 is off',
    '1:2:172.22.0.128:80': 'has too many colons',
    '8080::172.22.0.128:80': 'has too many colons',
    '[fd00::5]:80': 'is an IPv6 address, and IPV6 is off',
    '8080:[fd00::5]:80/tcp': 'is an IPv6 address, and IPV6 is off',
    'fd00::5:80': 'is an IPv6 address, and IPV6 is off',
    '2001:db8:1:2:3:4:5:6:80': 'is an IPv6 address, and IPV6 is off',
    '::ffff:172.22.0.128:80': 'is an IPv6 address, and IPV6 is off',
    '172.22.0.300:80': 'has a target that has a number above 255',
  };
  for (const [text, problem] of Object.entries(refusals)) {
    it(`that reads ${text} ${problem}`, () => assert.equal(problemOf(parsePortForwards(text, gateway)), problem));
  }

  it('has all of its faults reported', () => {
    const problems = faultsOf(parsePortForwards('0:10.0.0.1:9-8/sctp', gateway)).map((fault) => fault.problem);
    assert.equal(problems.length, 4);
  });

  it('is not compared with a subnet that is unknown', () => {
    assert.equal(valueFrom(parsePortForwards('10.0.0.1:80', undefined)).length, 1);
  });
});

describe('PORT_FWD', () => {
  it('separates entries by commas, semicolons, spaces and line breaks', () => {
    const text = '172.22.0.2:1, 172.22.0.2:2;172.22.0.2:3 172.22.0.2:4\n\t172.22.0.2:5,\r\n';
    const ports = valueFrom(parsePortForwards(text, gateway)).map((forward) => forward.outside.first);
    assert.deepEqual(ports, [1, 2, 3, 4, 5]);
  });

  it('leaves out comments', () => {
    const text = '# the first\n172.22.0.2:1 # 172.22.0.2:2, web:3\n172.22.0.2:4';
    const ports = valueFrom(parsePortForwards(text, gateway)).map((forward) => forward.outside.first);
    assert.deepEqual(ports, [1, 4]);
  });

  it('refuses a port that a name and an address take, of each family that the name may have', () => {
    const both = { gateway: cidr6('fd00:7722::1/64') };
    for (const text of ['web:80 172.22.0.3:80/tcp', 'web:80 [fd00:7722::9]:80/tcp', 'web:80 db:80/tcp']) {
      const faults = faultsOf(parsePortForwards(text, gateway, both));
      assert.deepEqual(
        faults.map(({ problem }) => problem),
        ['takes outside port 80 for tcp, which entry 1, "web:80", has already'],
        text,
      );
    }
  });

  it('forwards nothing when it holds separators only', () => {
    assert.deepEqual(valueFrom(parsePortForwards(' ,; ', gateway)), []);
  });

  it('names the entry of each fault by number and text', () => {
    const faults = faultsOf(parsePortForwards('172.22.0.2:1,web.lan:80,172.22.0.3:x', gateway));
    assert.deepEqual(
      faults.map(({ name, value }) => [name, value]),
      [
        ['PORT_FWD entry 2', 'web.lan:80'],
        ['PORT_FWD entry 3', '172.22.0.3:x'],
      ],
    );
  });

  it('refuses an outside port that two entries take for one protocol, and names both', () => {
    const [fault, ...others] = faultsOf(parsePortForwards('172.22.0.2:80 80:172.22.0.3:8080/tcp', gateway));
    assert.equal(others.length, 0);
    assert.equal(fault?.name, 'PORT_FWD entry 2');
    assert.equal(fault?.value, '80:172.22.0.3:8080/tcp');
    assert.equal(fault?.problem, 'takes outside port 80 for tcp, which entry 1, "172.22.0.2:80", has already');
  });

  it('finds ranges that overlap in part', () => {
    const problem = problemOf(parsePortForwards('172.22.0.2:100-200 172.22.0.3:150-300', gateway));
    assert.match(problem, /^takes outside port 150-200 for tcp and udp, which entry 1, /);
  });

  it('finds an overlap with a wide range behind a narrow one', () => {
    const faults = faultsOf(parsePortForwards('172.22.0.2:1-100 172.22.0.3:10-20 172.22.0.4:50-60', gateway));
    assert.deepEqual(
      faults.map((fault) => fault.name),
      ['PORT_FWD entry 2', 'PORT_FWD entry 3'],
    );
  });

  it('is refused exactly when some pair of entries overlaps', () => {
    const ports = fc.tuple(fc.integer({ min: 1, max: 60 }), fc.nat(10), fc.constantFrom('', '/tcp', '/udp'));
    fc.assert(
      fc.property(fc.array(ports, { maxLength: 8 }), (drafts) => {
        const clash = drafts.some(([first, width, suffix], index) =>
          drafts.slice(0, index).some(([otherFirst, otherWidth, otherSuffix]) => {
            const sameProtocol = suffix === '' || otherSuffix === '' || suffix === otherSuffix;
            return sameProtocol && first <= otherFirst + otherWidth && otherFirst <= first + width;
          }),
        );
        const text = drafts.map(([first, width, suffix]) => `172.22.0.9:${first}-${first + width}${suffix}`).join(' ');
        assert.equal(parsePortForwards(text, gateway).kind, clash ? 'faults' : 'ok');
      }),
    );
  });

  it('finds overlaps among entries that are faulty otherwise', () => {
    assert.equal(faultsOf(parsePortForwards('172.22.0.2:80 80:web.lan:8080', gateway)).length, 2);
  });

  it('lets one outside port lead to two containers by protocol, and two outside ports to one inside', () => {
    valueFrom(parsePortForwards('172.22.0.2:53/tcp 172.22.0.3:53/udp', gateway));
    valueFrom(parsePortForwards('80:172.22.0.2:8080 81:172.22.0.2:8080', gateway));
  });

  /** Ten times as many entries may take 40 times as long, not the 100 of a comparison of each with each. */
  function takesNoMoreThanItsShare(parse: (count: number) => void): void {
    const fastest = (count: number) =>
      Math.min(
        ...Array.from({ length: 3 }, () => {
          // Not by the clock: other tests take the processor, and rather from the longer one.
          const before = process.threadCpuUsage();
          parse(count);
          const { user, system } = process.threadCpuUsage(before);
          return user + system;
        }),
      );
    // Long enough that what is compiled meanwhile is little of either.
    fastest(2_000);
    const [longer, shorter] = [fastest(20_000), fastest(2_000)];
    assert.ok(longer < 40 * shorter, `${longer} µs and ${shorter} µs`);
  }

  it('parses 20,000 entries in ten times the time of 2,000', () => {
    takesNoMoreThanItsShare((count) => {
      const entries = Array.from({ length: count }, (_, index) => `${index + 1}:172.22.0.${2 + (index % 250)}:80/tcp`);
      assert.equal(valueFrom(parsePortForwards(entries.join(','), gateway)).length, count);
    });
  });

  it('compares 20,000 wide ranges in ten times the time of 2,000', () => {
    takesNoMoreThanItsShare((count) => {
      const entries = Array.from({ length: count }, () => '172.22.0.2:1-65535');
      const faults = faultsOf(parsePortForwards(entries.join(','), gateway));
      assert.equal(faults.length, count - 1 + 1, 'the overlaps, and the number');
    });
  });

  it('survives as many faulty entries as an environment variable can hold', () => {
    assert.equal(faultsOf(parsePortForwards('x '.repeat(70_000), gateway)).length, 70_000);
  });

  it('never throws, and faults are clauses without a line break', () => {
    const pieces = fc.constantFrom(
      '172.22.0.5',
      'web',
      '::1',
      ':',
      '/',
      '-',
      ',',
      ' ',
      '80',
      '0',
      'tcp',
      '[',
      '\u001b',
      '…',
    );
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(pieces).map((parts) => parts.join('')),
    );
    fc.assert(
      fc.property(text, (anyText) => {
        const parsed = parsePortForwards(anyText, gateway);
        if (parsed.kind === 'ok') return;
        for (const { problem, hint } of parsed.faults) assert.doesNotMatch(problem + hint, /[\x00-\x1f]|\.$/);
      }),
    );
  });
});

describe('a list of forwards', () => {
  const transports = fc.constantFrom<readonly Transport[]>(both, ['tcp'], ['udp']);
  // Each forward gets a slice of the outside ports of its own, so that generated lists never overlap.
  const forwards = fc
    .array(fc.tuple(transports, fc.integer({ min: 2, max: 254 }), fc.nat(99), fc.nat(99), fc.boolean()), {
      maxLength: 200,
    })
    .map((drafts) =>
      drafts.map(([protocols, host, start, length, samePort], index): PortForward => {
        const outside = range(1 + index * 200 + start, 1 + index * 200 + start + length);
        const inside = samePort ? outside : range(outside.first + 20_000, outside.last + 20_000);
        return { transports: protocols, outside, target: `172.22.0.${host}` as Ipv4, inside };
      }),
    );

  const write = ({ transports: protocols, outside, target, inside }: PortForward) => {
    const ports = ({ first, last }: PortRange) => (first === last ? `${first}` : `${first}-${last}`);
    const suffix = protocols.length === 1 ? `/${protocols[0]}` : '';
    return `${outside.first === inside.first ? '' : `${ports(outside)}:`}${target}:${ports(inside)}${suffix}`;
  };

  it('is read entry by entry, whatever stands between them', () => {
    fc.assert(
      fc.property(forwards, fc.constantFrom(',', ';', ' ', '\n', ', '), (list, separator) => {
        const text = list.map(write).join(separator);
        assert.deepEqual(valueFrom(parsePortForwards(text, gateway)), list);
      }),
    );
  });
});

describe('the number of forwards', () => {
  it('is limited to what the kernel takes quickly', () => {
    assert.equal(parsePortForwards('172.22.0.5:1-10000', gateway).kind, 'ok');
    assert.match(JSON.stringify(parsePortForwards('172.22.0.5:1-10001', gateway)), /forwards 20002 ports/);
  });
});
