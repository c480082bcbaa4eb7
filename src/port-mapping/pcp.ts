import type { Transport } from '../config/router-config.ts';
import type { Ipv4, Port } from '../net/address.ts';
import { type Codec, readIpv4, viewOf } from './codec.ts';

const version = 2;
const headerBytes = 24;
const mapBytes = 60;
export const nonceBytes = 12;
/** RFC 6887, 19.1: ANNOUNCE and MAP; an answer has the highest bit set. */
const operations = { announce: 0, map: 1 } as const;
const response = 128;
/** IANA's numbers of protocols. */
const protocols: Readonly<Record<Transport, number>> = { tcp: 6, udp: 17 };

/** RFC 6887, 7.4. */
const reasons: Readonly<Record<number, string>> = {
  1: 'the gateway does not speak PCP of this version',
  2: 'the gateway does not allow it',
  3: 'the gateway could not read the request',
  4: 'the gateway does not know the request',
  7: 'the gateway has no network itself',
  8: 'the gateway has no port left',
  9: 'the gateway does not map this protocol',
  10: 'the gateway gives this address no more ports',
  11: 'the gateway cannot give the port that was asked for',
  12: 'the request came from another address than it says',
  13: 'the gateway allows too few peers',
};

/**
 * PCP, RFC 6887, for IPv4.
 *
 * @param client our address in the tunnel, which the gateway compares with where a request comes from
 * @param nonce 12 bytes that nobody can guess; a mapping is renewed and taken away by the same ones
 */
export function pcp(client: Ipv4, nonce: Uint8Array): Codec {
  return {
    render: (question) => {
      const message = new Uint8Array(question.kind === 'map' ? mapBytes : headerBytes);
      const view = viewOf(message);
      view.setUint8(0, version);
      view.setUint8(1, operations[question.kind]);
      writeMapped(message, 8, client);
      if (question.kind === 'announce') return message;
      view.setUint32(4, question.lifetimeSeconds);
      message.set(nonce.subarray(0, nonceBytes), headerBytes);
      view.setUint8(36, protocols[question.transport]);
      view.setUint16(40, question.inside);
      view.setUint16(42, question.outside);
      writeMapped(message, 44, '0.0.0.0' as Ipv4);
      return message;
    },
    parse: (message) => {
      // 9: a server of another version, or of NAT-PMP alone, still says its result in the same place.
      if (message.length < 4 || (message[1] ?? 0) < response) return undefined;
      const view = viewOf(message);
      const code = view.getUint8(3);
      const isShort = message[0] !== version || message.length < headerBytes;
      const epochSeconds = isShort ? 0 : view.getUint32(8);
      const isMap = view.getUint8(1) === response + operations.map && message.length >= mapBytes;
      const transport = isMap && !isShort ? transportOf(view.getUint8(36)) : undefined;
      // Somebody else's mapping, or an answer to what an earlier start asked.
      if (transport !== undefined && !hasNonce(message, nonce)) return undefined;
      if (code !== 0) {
        const reason = reasons[code] ?? `the gateway refuses it (code ${code})`;
        return { epochSeconds, kind: 'refusal', reason, ...(transport === undefined ? {} : { transport }) };
      }
      if (isShort) return undefined;
      if (view.getUint8(1) === response + operations.announce) return { epochSeconds, kind: 'announce' };
      const inside = isMap ? view.getUint16(40) : 0;
      if (transport === undefined || inside === 0) return undefined;
      const address = readIpv4(message, 56);
      return {
        epochSeconds,
        kind: 'map',
        transport,
        inside: inside as Port,
        outside: view.getUint16(42) as Port | 0,
        lifetimeSeconds: view.getUint32(4),
        ...(address === undefined ? {} : { address }),
      };
    },
  };
}

function transportOf(protocol: number): Transport | undefined {
  return (['tcp', 'udp'] as const).find((transport) => protocols[transport] === protocol);
}

function hasNonce(message: Uint8Array, nonce: Uint8Array): boolean {
  return nonce.every((byte, index) => index >= nonceBytes || message[headerBytes + index] === byte);
}

/** ::ffff:a.b.c.d */
function writeMapped(message: Uint8Array, at: number, address: Ipv4): void {
  message.set([0xff, 0xff, ...address.split('.').map(Number)], at + 10);
}
