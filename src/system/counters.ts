import type { Count, PassedCounts, RefusedCounts } from '../health/counts.ts';
import type { IfName } from '../net/address.ts';
import { passedTable, renderPassedTable } from '../plan/counting.ts';
import { filterTable } from '../plan/lockdown.ts';
import { run } from './exec.ts';
import { findAttribute, type NetlinkSocket, netlinkNetfilter, openNetlink, parseMessages } from './netlink.ts';

/** Reads what the kernel has counted, by netlink: a program and its JSON would take twenty times as long. */
export interface Counters {
  /** Undefined when there is no such table. */
  readonly readPassed: () => PassedCounts | undefined;
  readonly readRefused: () => RefusedCounts | undefined;
}

/** Loads the table that counts what passes, with all counters at 0. @throws UnderbridgeError UB_EXEC */
export async function loadPassedTable(lan: IfName): Promise<void> {
  await run({ file: 'nft', args: ['-f', '-'], input: renderPassedTable(lan) });
}

/** @throws UnderbridgeError UB_KERNEL */
export function openCounters(): Counters {
  const socket = openNetlink({ protocol: netlinkNetfilter });
  return {
    readPassed: () => {
      const rules = readRules(socket, passedTable);
      const total = (id: string) => rules.get(id) ?? { packets: 0, bytes: 0 };
      if (rules.size === 0) return undefined;
      const read = (set: string) => readSet(socket, passedTable, set, addressOf);
      return {
        sent: read('sent'),
        received: read('received'),
        opened: read('opened'),
        total: { sent: total('sent'), received: total('received') },
      };
    },
    readRefused: () => {
      const generation = readHandle(socket, filterTable);
      if (generation === undefined) return undefined;
      const listed = readRules(socket, filterTable);
      const reasons = new Map<number, string>();
      const rules = new Map<string, Count>();
      for (const [id, count] of listed) {
        const [, number, reason] = /^count-(\d+)-(.*)$/.exec(id) ?? [];
        if (reason !== undefined) reasons.set(Number(number), reason);
        else if (count !== undefined) rules.set(id.replace(/^refuse-/, ''), count);
      }
      const clients = readSet(socket, filterTable, 'refused', (key) => {
        const reason = reasons.get(key.readUInt32LE(4));
        return `${addressOf(key)} ${reason ?? 'unknown'}`;
      });
      // Loaded anew meanwhile: numbers may have another meaning.
      return readHandle(socket, filterTable) === generation ? { generation, rules, clients } : undefined;
    },
  };
}

function addressOf(key: Buffer): string {
  return `${key[0]}.${key[1]}.${key[2]}.${key[3]}`;
}

// Numbers from Linux include/uapi/linux/netlink.h and netfilter/nf_tables.h.
const request = 1;
const dump = 0x300;
const messages = { getTable: 1, newRule: 6, getRule: 7, newSetElement: 12, getSetElement: 13 } as const;
const errorMessage = 2;
const doneMessage = 3;
const inetFamily = 1;
const nfgenmsgBytes = 4;
const attributes = {
  table: { name: 1, handle: 4 },
  rule: { table: 1, expressions: 4, userData: 7 },
  elements: { table: 1, set: 2, list: 3 },
  element: { key: 1, expression: 7, expressions: 11 },
  expression: { name: 1, data: 2 },
  counter: { bytes: 1, packets: 2 },
} as const;

/** A number that no other load of this table has. */
function readHandle(socket: NetlinkSocket, table: string): string | undefined {
  const [answer] = ask(socket, { type: messages.getTable, flags: request, texts: [[attributes.table.name, table]] });
  return answer === undefined
    ? undefined
    : findAttribute({ type: 0, payload: answer }, { after: nfgenmsgBytes, type: attributes.table.handle })?.toString(
        'hex',
      );
}

/** A table's rules by their comments, each with its counter if it has one. */
function readRules(socket: NetlinkSocket, table: string): ReadonlyMap<string, Count | undefined> {
  const { rule } = attributes;
  const found = new Map<string, Count | undefined>();
  for (const payload of ask(socket, { type: messages.getRule, flags: request | dump, texts: [[rule.table, table]] })) {
    const message = { type: 0, payload };
    const comment = commentOf(findAttribute(message, { after: nfgenmsgBytes, type: rule.userData }));
    const expressions = findAttribute(message, { after: nfgenmsgBytes, type: rule.expressions });
    if (comment !== undefined && expressions !== undefined) found.set(comment, counterIn(expressions));
  }
  return found;
}

/** libnftnl's user data: type, length, value; type 0 is the comment, which ends with NUL. */
function commentOf(userData: Buffer | undefined): string | undefined {
  if (userData === undefined || userData[0] !== 0) return undefined;
  return userData.toString('utf8', 2, 1 + (userData[1] ?? 1));
}

function readSet(
  socket: NetlinkSocket,
  table: string,
  set: string,
  nameOf: (key: Buffer) => string,
): ReadonlyMap<string, Count> {
  const { elements, element } = attributes;
  const found = new Map<string, Count>();
  const texts = [
    [elements.table, table],
    [elements.set, set],
  ] as const;
  for (const payload of ask(socket, { type: messages.getSetElement, flags: request | dump, texts })) {
    const list = findAttribute({ type: 0, payload }, { after: nfgenmsgBytes, type: elements.list });
    if (list === undefined) continue;
    eachAttribute(list, (_, body) => {
      const key = attribute(attribute(body, element.key), 1);
      const single = attribute(body, element.expression);
      const count = single === undefined ? counterIn(attribute(body, element.expressions)) : counterOf(single);
      if (key !== undefined && count !== undefined) found.set(nameOf(key), count);
    });
  }
  return found;
}

/** The first counter of a list of expressions. */
function counterIn(list: Buffer | undefined): Count | undefined {
  let found: Count | undefined;
  if (list !== undefined) eachAttribute(list, (_, body) => (found ??= counterOf(body)));
  return found;
}

function counterOf(expression: Buffer): Count | undefined {
  const { name, data } = attributes.expression;
  if (attribute(expression, name)?.toString('latin1', 0, 7) !== 'counter') return undefined;
  const counter = attribute(expression, data);
  const bytes = attribute(counter, attributes.counter.bytes);
  const packets = attribute(counter, attributes.counter.packets);
  if (bytes === undefined || packets === undefined) return undefined;
  return { bytes: bigEndian(bytes), packets: bigEndian(packets) };
}

/** Exact up to 2^53. */
function bigEndian(value: Buffer): number {
  return value.readUInt32BE(0) * 0x1_0000_0000 + value.readUInt32BE(4);
}

function eachAttribute(buffer: Buffer, visit: (type: number, value: Buffer) => void): void {
  for (let at = 0; at + 4 <= buffer.length; ) {
    const length = buffer.readUInt16LE(at);
    if (length < 4) return;
    visit(buffer.readUInt16LE(at + 2) & 0x3fff, buffer.subarray(at + 4, at + length));
    at += (length + 3) & ~3;
  }
}

function attribute(buffer: Buffer | undefined, type: number): Buffer | undefined {
  return buffer === undefined ? undefined : findAttribute({ type: 0, payload: buffer }, { after: 0, type });
}

/** Sends one request, and gives the payloads of all answers; none when the kernel refuses. */
function ask(
  socket: NetlinkSocket,
  {
    type,
    flags,
    texts,
  }: { readonly type: number; readonly flags: number; readonly texts: readonly (readonly [number, string])[] },
): readonly Buffer[] {
  const parts = texts.map(([id, text]) => renderText(id, text));
  const head = Buffer.alloc(20);
  const length = parts.reduce((sum, part) => sum + part.length, head.length);
  head.writeUInt32LE(length, 0);
  head.writeUInt16LE((10 << 8) | type, 4);
  head.writeUInt16LE(flags, 6);
  head[16] = inetFamily;
  if (!socket.send(Buffer.concat([head, ...parts]))) return [];
  const answers: Buffer[] = [];
  for (;;) {
    // The kernel makes each part of a dump while it is asked for it, so there is never anything to wait for.
    const received = socket.receive();
    if (received === 'nothing' || received === 'overrun') return answers;
    for (const message of parseMessages(received)) {
      if (message.type === doneMessage || message.type === errorMessage) return answers;
      // The buffer is used again for the next datagram.
      answers.push(Buffer.from(message.payload));
      if ((flags & dump) === 0) return answers;
    }
  }
}

/** struct nlattr with a string. */
function renderText(type: number, text: string): Buffer {
  const value = Buffer.from(`${text}\0`, 'latin1');
  const attribute = Buffer.alloc((4 + value.length + 3) & ~3);
  attribute.writeUInt16LE(4 + value.length, 0);
  attribute.writeUInt16LE(type, 2);
  value.copy(attribute, 4);
  return attribute;
}
