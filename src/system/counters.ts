import type { Count, PassedCounts, Reading, RefusedCounts } from '../health/counts.ts';
import type { IfName } from '../net/address.ts';
import { passedTable, renderPassedTable } from '../plan/counting.ts';
import { filterTable } from '../plan/lockdown.ts';
import { run } from './exec.ts';
import { type NetlinkSocket, netlinkNetfilter, openNetlink } from './netlink.ts';

/**
 * Reads what the kernel has counted, by netlink: a program and its JSON would take twenty times as long. Answers are
 * walked by offsets, because two hundred clients have a thousand counters, and there is no JIT.
 */
export interface Counters {
  /** Undefined when there is no such table. */
  readonly readPassed: () => Reading<PassedCounts> | undefined;
  readonly readRefused: () => Reading<RefusedCounts> | undefined;
}

/** Loads the table that counts what passes, with all counters at 0. @throws UnderbridgeError UB_EXEC */
export async function loadPassedTable(lan: IfName, tunnels: readonly IfName[]): Promise<void> {
  await run({ file: 'nft', args: ['-f', '-'], input: renderPassedTable(lan, tunnels) });
}

/** @throws UnderbridgeError UB_KERNEL */
export function openCounters(): Counters {
  const socket = openNetlink({ protocol: netlinkNetfilter });
  return {
    readPassed: () => {
      const generation = readHandle(socket, passedTable);
      const rules = readRules(socket, passedTable);
      const total = (id: string) => rules.get(id) ?? { packets: 0, bytes: 0 };
      if (generation === undefined || rules.size === 0) return undefined;
      const read = (set: string) => {
        const counts = new Map<string, Count>();
        visitSet(socket, {
          table: passedTable,
          set,
          visit: (key, counter) => counts.set(addressIn(key), countIn(counter)),
        });
        return counts;
      };
      const counts = {
        sent: read('sent'),
        received: read('received'),
        opened: read('opened'),
        total: { sent: total('sent'), received: total('received') },
        past: { sent: total('sent-past'), received: total('received-past') },
      };
      return { generation, counts };
    },
    readRefused: () => {
      const generation = readHandle(socket, filterTable);
      if (generation === undefined) return undefined;
      const reasons = new Map<number, string>();
      const rules = new Map<string, Count>();
      for (const [id, count] of readRules(socket, filterTable)) {
        const [, number, reason] = /^count-(\d+)-(.*)$/.exec(id) ?? [];
        if (reason !== undefined) reasons.set(Number(number), reason);
        else if (count !== undefined) rules.set(id.replace(/^refuse-/, ''), count);
      }
      const clients = new Map<string, Record<string, number>>();
      visitSet(socket, {
        table: filterTable,
        set: 'refused',
        visit: (key, counter) => {
          const reason = reasons.get(key.view.getUint32(key.from + 4, true)) ?? 'unknown';
          const address = addressIn(key);
          const known = clients.get(address);
          if (known === undefined) clients.set(address, { [reason]: packetsIn(counter) });
          else known[reason] = packetsIn(counter);
        },
      });
      // Loaded anew meanwhile: numbers may have another meaning.
      return readHandle(socket, filterTable) === generation ? { generation, counts: { rules, clients } } : undefined;
    },
  };
}

function addressIn({ view, from }: Span): string {
  return `${view.getUint8(from)}.${view.getUint8(from + 1)}.${view.getUint8(from + 2)}.${view.getUint8(from + 3)}`;
}

// Numbers from Linux include/uapi/linux/netlink.h and netfilter/nf_tables.h.
const request = 1;
const dump = 0x300;
const subsystem = 10 << 8;
const messages = { getTable: 1, getRule: 7, getSetElement: 13 } as const;
const errorMessage = 2;
const doneMessage = 3;
const inetFamily = 1;
const headerBytes = 16;
const nfgenmsgBytes = 4;
const attributes = {
  table: { name: 1, handle: 4 },
  rule: { table: 1, expressions: 4, userData: 7 },
  elements: { table: 1, set: 2, list: 3 },
  element: { key: 1, expression: 7, expressions: 11 },
  data: { value: 1 },
  expression: { name: 1, data: 2 },
  counter: { bytes: 1, packets: 2 },
} as const;

/** A part of a netlink datagram: attributes, one after the other. */
interface Span {
  readonly view: DataView;
  readonly from: number;
  readonly to: number;
}

/** A number that no other load of this table has. */
function readHandle(socket: NetlinkSocket, table: string): string | undefined {
  const [answer] = ask(socket, { type: messages.getTable, flags: request, texts: [[attributes.table.name, table]] });
  const handle = answer && find(answer, attributes.table.handle);
  return handle && `${handle.view.getBigUint64(handle.from)}`;
}

/** A table's rules by their comments, each with its counter if it has one. */
function readRules(socket: NetlinkSocket, table: string): ReadonlyMap<string, Count | undefined> {
  const { rule } = attributes;
  const found = new Map<string, Count | undefined>();
  for (const answer of ask(socket, { type: messages.getRule, flags: request | dump, texts: [[rule.table, table]] })) {
    const userData = find(answer, rule.userData);
    const expressions = find(answer, rule.expressions);
    const comment = userData && commentIn(userData);
    const counter = expressions && firstCounter(expressions);
    if (comment !== undefined) found.set(comment, counter && countIn(counter));
  }
  return found;
}

/** libnftnl's user data: type, length, value; type 0 is the comment, which ends with NUL. */
function commentIn({ view, from }: Span): string | undefined {
  if (view.getUint8(from) !== 0) return undefined;
  return Buffer.from(view.buffer).toString('utf8', from + 2, from + 1 + view.getUint8(from + 1));
}

/** Shows the key of each element, and its counter. */
function visitSet(
  socket: NetlinkSocket,
  {
    table,
    set,
    visit,
  }: { readonly table: string; readonly set: string; readonly visit: (key: Span, counter: Span) => void },
): void {
  const { elements, element, data } = attributes;
  const texts = [
    [elements.table, table],
    [elements.set, set],
  ] as const;
  for (const answer of ask(socket, { type: messages.getSetElement, flags: request | dump, texts })) {
    const list = find(answer, elements.list);
    if (list === undefined) continue;
    for (let at = list.from; at + 4 <= list.to; at = next(list.view, at)) {
      const body = inside(list.view, at);
      const key = find(body, element.key);
      const value = key && find(key, data.value);
      // One expression stands alone; since Linux 5.11 there may be a list.
      const single = find(body, element.expression);
      const several = single === undefined ? find(body, element.expressions) : undefined;
      const counter = single === undefined ? several && firstCounter(several) : asCounter(single);
      if (value !== undefined && counter !== undefined) visit(value, counter);
    }
  }
}

/** The first counter of a list of expressions. */
function firstCounter({ view, from, to }: Span): Span | undefined {
  for (let at = from; at + 4 <= to; at = next(view, at)) {
    const counter = asCounter(inside(view, at));
    if (counter !== undefined) return counter;
  }
  return undefined;
}

/** The first letters of an expression's name, as one number: `coun`, and `ter` with its end. */
const counterName = [0x636f756e, 0x74657200] as const;

/** What an expression counts, if it is a counter. */
function asCounter(expression: Span): Span | undefined {
  const name = find(expression, attributes.expression.name);
  if (name === undefined || name.to - name.from !== 8) return undefined;
  const { view, from } = name;
  const isCounter = view.getUint32(from) === counterName[0] && view.getUint32(from + 4) === counterName[1];
  return isCounter ? find(expression, attributes.expression.data) : undefined;
}

function countIn(counter: Span): Count {
  const bytes = find(counter, attributes.counter.bytes);
  return { packets: packetsIn(counter), bytes: bytes === undefined ? 0 : numberAt(bytes) };
}

function packetsIn(counter: Span): number {
  const packets = find(counter, attributes.counter.packets);
  return packets === undefined ? 0 : numberAt(packets);
}

/** Exact up to 2^53. */
function numberAt({ view, from }: Span): number {
  return view.getUint32(from) * 0x1_0000_0000 + view.getUint32(from + 4);
}

/** struct nlattr: the value of the first attribute of a type. */
function find({ view, from, to }: Span, type: number): Span | undefined {
  for (let at = from; at + 4 <= to; at = next(view, at)) {
    // The two highest bits of the type are flags.
    if ((view.getUint16(at + 2, true) & 0x3fff) === type) return inside(view, at);
  }
  return undefined;
}

function inside(view: DataView, at: number): Span {
  return { view, from: at + 4, to: at + view.getUint16(at, true) };
}

/** Never where it was, whatever the length says. */
function next(view: DataView, at: number): number {
  return at + Math.max(4, (view.getUint16(at, true) + 3) & ~3);
}

/** Sends one request, and gives the attributes of each answer; none when the kernel refuses. */
function ask(
  socket: NetlinkSocket,
  {
    type,
    flags,
    texts,
  }: { readonly type: number; readonly flags: number; readonly texts: readonly (readonly [number, string])[] },
): readonly Span[] {
  const parts = texts.map(([id, text]) => renderText(id, text));
  const head = Buffer.alloc(headerBytes + nfgenmsgBytes);
  const length = parts.reduce((sum, part) => sum + part.length, head.length);
  head.writeUInt32LE(length, 0);
  head.writeUInt16LE(subsystem | type, 4);
  head.writeUInt16LE(flags, 6);
  head[headerBytes] = inetFamily;
  if (!socket.send(Buffer.concat([head, ...parts]))) return [];
  const answers: Span[] = [];
  for (;;) {
    // The kernel makes each part of a dump while it is asked for it, so there is never anything to wait for.
    const received = socket.receive();
    if (received === 'nothing' || received === 'overrun') return answers;
    // Kept, while its buffer is used again.
    const view = new DataView(new Uint8Array(received).buffer);
    for (let at = 0; at + headerBytes <= view.byteLength; ) {
      const bytes = view.getUint32(at, true);
      const kind = view.getUint16(at + 4, true);
      if (bytes < headerBytes || kind === doneMessage || kind === errorMessage) return answers;
      answers.push({ view, from: at + headerBytes + nfgenmsgBytes, to: at + bytes });
      at += (bytes + 3) & ~3;
    }
    if ((flags & dump) === 0) return answers;
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
