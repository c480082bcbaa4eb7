import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type Answer, type Codec, isAbout, type Question } from '../../../src/port-mapping/codec.ts';
import { natPmp } from '../../../src/port-mapping/nat-pmp.ts';
import { pcp } from '../../../src/port-mapping/pcp.ts';
import { ipv4, port } from '../tunnel/endpoints.ts';

const nonce = Uint8Array.from({ length: 12 }, (_, index) => index + 1);
const nonceHex = '0102030405060708090a0b0c';
const codecs: Readonly<Record<string, Codec>> = { natPmp, pcp: pcp(ipv4('10.8.0.2'), nonce) };
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const bytes = (text: string) => new Uint8Array(Buffer.from(text.replace(/\s/g, ''), 'hex'));

const map: Question = {
  kind: 'map',
  transport: 'tcp',
  inside: port(0x1234),
  outside: port(0x5678),
  lifetimeSeconds: 60,
};

// Written out by hand from the RFCs' figures.
describe('NAT-PMP (RFC 6886)', () => {
  it('asks for the address in two bytes', () => assert.equal(hex(natPmp.render({ kind: 'announce' })), '0000'));

  it('asks for a mapping, by udp 1 and by tcp 2', () => {
    assert.equal(hex(natPmp.render(map)), '0002 0000 1234 5678 0000003c'.replaceAll(' ', ''));
    assert.equal(hex(natPmp.render({ ...map, transport: 'udp' })).slice(0, 4), '0001');
  });

  it('takes one away with port 0 and no time', () => {
    assert.equal(hex(natPmp.render({ ...map, lifetimeSeconds: 0 })), '000200001234000000000000');
  });

  it('reads an address', () => {
    const answer = natPmp.parse(bytes('00 80 0000 00000064 cb007109'));
    assert.deepEqual(answer, { kind: 'announce', epochSeconds: 100, address: '203.0.113.9' });
  });

  it('reads a mapping', () => {
    assert.deepEqual(natPmp.parse(bytes('00 81 0000 00000064 1234 9abc 0000001e')), {
      kind: 'map',
      epochSeconds: 100,
      transport: 'udp',
      inside: 0x1234,
      outside: 0x9abc,
      lifetimeSeconds: 30,
    });
  });

  it('reads why not, also from a gateway that speaks PCP alone', () => {
    const refused = { kind: 'refusal', epochSeconds: 100, transport: 'tcp', reason: 'the gateway does not allow it' };
    assert.deepEqual(natPmp.parse(bytes('00 82 0002 00000064 1234 0000 00000000')), refused);
    assert.match(JSON.stringify(natPmp.parse(bytes('00 82 0001 00000064'))), /does not speak NAT-PMP/);
  });
});

describe('PCP (RFC 6887)', () => {
  const codec = codecs.pcp ?? natPmp;
  const zeros = (count: number) => '00'.repeat(count);
  const client = `${zeros(10)}ffff0a080002`;

  it('asks whether it is still the same', () => {
    assert.equal(hex(codec.render({ kind: 'announce' })), `0200000000000000${client}`);
  });

  it('asks for a mapping with our address and the nonce', () => {
    const wanted = `020100000000003c${client}${nonceHex}0600000012345678${zeros(10)}ffff00000000`;
    assert.equal(hex(codec.render(map)), wanted);
  });

  const answerOf = ({ code = '00', by = nonceHex, protocol = '11' } = {}) =>
    bytes(`0281 00${code} 0000001e 00000064 ${zeros(12)} ${by} ${protocol}000000 1234 9abc ${zeros(10)}ffff cb007109`);

  it('reads a mapping with the address', () => {
    assert.deepEqual(codec.parse(answerOf()), {
      kind: 'map',
      epochSeconds: 100,
      transport: 'udp',
      inside: 0x1234,
      outside: 0x9abc,
      lifetimeSeconds: 30,
      address: '203.0.113.9',
    });
  });

  it("leaves out somebody else's, whose nonce is another one", () => {
    assert.equal(codec.parse(answerOf({ by: '0102030405060708090a0b0d' })), undefined);
    assert.equal(codec.parse(answerOf({ by: zeros(12), code: '08' })), undefined);
  });

  it('reads why not, also from a gateway that speaks NAT-PMP alone', () => {
    const refused = { kind: 'refusal', epochSeconds: 100, transport: 'udp', reason: 'the gateway has no port left' };
    assert.deepEqual(codec.parse(answerOf({ code: '08' })), refused);
    assert.match(JSON.stringify(codec.parse(bytes('00 81 0001 00000064'))), /does not speak PCP/);
  });
});

for (const [name, codec] of Object.entries(codecs)) {
  describe(`${name}, whatever comes`, () => {
    const anyQuestion: fc.Arbitrary<Question> = fc.oneof(
      fc.constant<Question>({ kind: 'announce' }),
      fc.record(
        {
          kind: fc.constant('map' as const),
          transport: fc.constantFrom('tcp' as const, 'udp' as const),
          inside: fc.integer({ min: 1, max: 65_535 }).map(port),
          outside: fc.integer({ min: 1, max: 65_535 }).map(port),
          lifetimeSeconds: fc.integer({ min: 1, max: 86_400 }),
        },
        { noNullPrototype: true },
      ),
    );

    /** As a gateway would: the request with the mark of an answer, and what is read of it where it stood. */
    const answerTo = (question: Question): Uint8Array => {
      const asked = codec.render(question);
      if (name === 'pcp') {
        const answer = Uint8Array.from(asked);
        answer.fill(0, 8, 24);
        answer[1] = (answer[1] ?? 0) | 128;
        return answer;
      }
      const answer = new Uint8Array(question.kind === 'map' ? 16 : 12);
      answer.set([0, (asked[1] ?? 0) | 128]);
      if (question.kind === 'map') answer.set(asked.subarray(4), 8);
      return answer;
    };

    it('reads what it asked for out of the answer to it', () => {
      fc.assert(
        fc.property(anyQuestion, (question) => {
          const answer = codec.parse(answerTo(question)) as Answer;
          assert.ok(isAbout(answer, question));
          if (question.kind === 'announce' || answer.kind !== 'map') return;
          const { transport, inside, outside, lifetimeSeconds } = answer;
          assert.deepEqual({ kind: 'map', transport, inside, outside, lifetimeSeconds }, question);
        }),
      );
    });

    it('never throws, and reads nothing but numbers in their bounds', () => {
      const changed = fc.tuple(anyQuestion, fc.array(fc.tuple(fc.nat(59), fc.nat(255)), { maxLength: 4 }), fc.nat(60));
      const near = changed.map(([question, changes, length]) => {
        const answer = answerTo(question);
        for (const [at, byte] of changes) if (at < answer.length) answer[at] = byte;
        return answer.subarray(0, length > 40 ? answer.length : length);
      });
      fc.assert(
        fc.property(fc.oneof(fc.uint8Array({ maxLength: 80 }), near), (message) => {
          const answer = codec.parse(message);
          if (answer?.kind !== 'map') return;
          assert.ok(answer.inside >= 1 && answer.inside <= 65_535 && answer.outside <= 65_535);
        }),
        { numRuns: 2_000 },
      );
    });
  });
}
