import type { Transport } from '../config/router-config.ts';
import type { Ipv4, Port } from '../net/address.ts';

/** What a gateway is asked. */
export type Question =
  /** Whether it is the one that it was. */
  | { readonly kind: 'announce' }
  | {
      readonly kind: 'map';
      readonly transport: Transport;
      /** The port at our own address that arrives. */
      readonly inside: Port;
      /** The outside port that is wished for; 0 is any. */
      readonly outside: Port | 0;
      /** 0 takes the mapping away. */
      readonly lifetimeSeconds: number;
    };

/** What it says. `epochSeconds` counts from when it lost what it knew. */
export type Answer = { readonly epochSeconds: number } & (
  | { readonly kind: 'announce'; readonly address?: Ipv4 }
  | {
      readonly kind: 'map';
      readonly transport: Transport;
      readonly inside: Port;
      readonly outside: Port | 0;
      readonly lifetimeSeconds: number;
      readonly address?: Ipv4;
    }
  /** Why not, in words; of which question, where it says so. */
  | { readonly kind: 'refusal'; readonly reason: string; readonly transport?: Transport }
);

/** One protocol's messages. Pure: bytes in, plain data out. */
export interface Codec {
  readonly render: (question: Question) => Uint8Array;
  /** Undefined for what is no answer of this protocol to us. */
  readonly parse: (message: Uint8Array) => Answer | undefined;
}

/** True when the answer is about the question. */
export function isAbout(answer: Answer, question: Question): boolean {
  if (answer.kind === 'refusal') {
    return answer.transport === undefined || (question.kind === 'map' && answer.transport === question.transport);
  }
  if (answer.kind === 'announce' || question.kind === 'announce') return answer.kind === question.kind;
  return answer.transport === question.transport && answer.inside === question.inside;
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Four bytes as an address; undefined for 0.0.0.0, which is none. */
export function readIpv4(bytes: Uint8Array, at: number): Ipv4 | undefined {
  const text = [...bytes.subarray(at, at + 4)].join('.');
  return text === '0.0.0.0' ? undefined : (text as Ipv4);
}
