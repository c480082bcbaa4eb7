import type { Transport } from '../config/router-config.ts';
import type { Port } from '../net/address.ts';
import { type Answer, type Codec, readIpv4, viewOf } from './codec.ts';

const version = 0;
/** RFC 6886, 3.3: the operation of a mapping; 0 asks for the address. An answer has 128 more. */
const operations: Readonly<Record<Transport, number>> = { udp: 1, tcp: 2 };
const transportOf = (operation: number) => (['udp', 'tcp'] as const)[operation - 1];

/** RFC 6886, 3.5. */
const reasons: Readonly<Record<number, string>> = {
  1: 'the gateway does not speak NAT-PMP',
  2: 'the gateway does not allow it',
  3: 'the gateway has no network itself',
  4: 'the gateway has no port left',
  5: 'the gateway does not know the request',
};

/** NAT-PMP, RFC 6886. */
export const natPmp: Codec = {
  render: (question) => {
    if (question.kind === 'announce') return Uint8Array.of(version, 0);
    const message = new Uint8Array(12);
    const view = viewOf(message);
    view.setUint8(1, operations[question.transport]);
    view.setUint16(4, question.inside);
    // 3.4: a mapping is taken away with port 0.
    view.setUint16(6, question.lifetimeSeconds === 0 ? 0 : question.outside);
    view.setUint32(8, question.lifetimeSeconds);
    return message;
  },
  parse: (message) => {
    // 3.5: one that does not speak this version answers in the first eight bytes.
    if (message.length < 8 || message[0] !== version || (message[1] ?? 0) < 128) return undefined;
    const view = viewOf(message);
    const operation = view.getUint8(1) - 128;
    const transport = transportOf(operation);
    const code = view.getUint16(2);
    const base = { epochSeconds: view.getUint32(4) };
    if (code !== 0) {
      const reason = reasons[code] ?? `the gateway refuses it (code ${code})`;
      return { ...base, kind: 'refusal', reason, ...(transport === undefined ? {} : { transport }) };
    }
    if (operation === 0 && message.length >= 12) return { ...base, kind: 'announce', ...withAddress(message) };
    if (transport === undefined || message.length < 16) return undefined;
    const inside = view.getUint16(8);
    if (inside === 0) return undefined;
    return {
      ...base,
      kind: 'map',
      transport,
      inside: inside as Port,
      outside: view.getUint16(10) as Port | 0,
      lifetimeSeconds: view.getUint32(12),
    };
  },
};

function withAddress(message: Uint8Array): Pick<Extract<Answer, { kind: 'announce' }>, 'address'> {
  const address = readIpv4(message, 8);
  return address === undefined ? {} : { address };
}
