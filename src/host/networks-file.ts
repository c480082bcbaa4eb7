import * as z from 'zod/mini';
import { type Fault, ok, type Parsed } from '../errors.ts';
import { isDevice, parseAddress, parseSubnet } from './address.ts';
import { defined, type PlacedDocument, parsePlaced, toFaults } from './document.ts';
import type { Address, Protocol, Subnet } from './resource.ts';

/** network-go's `networks.json`, names not yet looked up. */
export interface NetworksFile {
  readonly networks: readonly NetworkEntry[];
  readonly ips: readonly AddressEntry[];
  readonly policies: readonly PolicyEntry[];
  /** Entries that mean nothing. They are left out; the rest holds. */
  readonly faults: readonly Fault[];
}

export interface NetworkEntry {
  readonly place: string;
  /** In the file; policies may use it. */
  readonly key: string;
  /** Of the Docker network. */
  readonly name: string;
  readonly subnet: Subnet;
  readonly gateway: Address;
}

export interface AddressEntry {
  readonly place: string;
  readonly address: Address;
  readonly container?: string;
  readonly selector?: string;
}

/** Names are tried in their order. */
export type PolicyEntry =
  | (PolicyBase & { readonly kind: 'allow'; readonly from: string; readonly port?: number })
  | (PolicyBase & { readonly kind: 'on-interface'; readonly interface: string; readonly port: number })
  | (PolicyBase & { readonly kind: 'inside'; readonly inside: readonly string[]; readonly port: number });

interface PolicyBase {
  readonly place: string;
  /** Who is to be reached. */
  readonly to: readonly string[];
  readonly protocol?: Protocol;
}

// Programs that write such files leave strings empty for what is not there, and write numbers as strings.
const orNone = <T extends z.core.$ZodType>(schema: T) =>
  z.optional(
    z.pipe(
      z.transform((value) => (value === '' ? undefined : value)),
      z.optional(schema),
    ),
  );
const word = orNone(z.string());
const port = z.pipe(
  z.transform((value) => (typeof value === 'string' && /^\d{1,5}$/.test(value) ? Number(value) : value)),
  z.int('is no port').check(z.minimum(1, 'is no port'), z.maximum(65_535, 'is no port')),
);
const protocol = z.pipe(
  z.transform((value) => (typeof value === 'string' ? value.toLowerCase() : value)),
  z.enum(['tcp', 'udp', 'sctp']),
);
const address = z.string().check(z.refine((text) => parseAddress(text)?.family === 'ipv4', 'is no IPv4 address'));
const subnet = z.string().check(z.refine((text) => parseSubnet(text)?.family === 'ipv4', 'is no IPv4 subnet'));

const network = z.strictObject({ network_name: word, subnet, gateway: address });
const attached = z.strictObject({ ip: orNone(address), container_name: word, selector: word, service_name: word });
const policy = z.strictObject({
  service_name: word,
  container_name: word,
  selector: word,
  name: word,
  from: word,
  iface: orNone(z.string().check(z.refine(isDevice, 'is no name of an interface'))),
  nat: orNone(z.enum(['dnat'])),
  to: word,
  port: orNone(port),
  proto: orNone(protocol),
});
const sections: readonly string[] = ['networks', 'ips', 'policies'];

/**
 * Reads `networks.json`. An entry with a mistake is told of and left out: all that the file can do is to open something.
 * @param file its name, for messages
 */
export function parseNetworksFile(text: string, file: string): Parsed<NetworksFile> {
  const parsed = parsePlaced(text, { file, form: 'JSON' });
  if (parsed.kind === 'faults') return parsed;
  const faults: Fault[] = [];
  const reader: Reader = { document: parsed.value, faults };
  for (const key of Object.keys(parsed.value.given).filter((name) => !sections.includes(name))) {
    refuse(reader, { path: [key], value: key, problem: 'is no part of it', hint: `use ${sections.join(', ')}` });
  }
  return ok({
    networks: readSection(reader, { section: 'networks', schema: network, assemble: toNetwork }),
    ips: readSection(reader, { section: 'ips', schema: attached, assemble: toAddress }),
    policies: readSection(reader, { section: 'policies', schema: policy, assemble: toPolicy }),
    faults,
  });
}

interface Reader {
  readonly document: PlacedDocument;
  readonly faults: Fault[];
}

interface Where {
  readonly reader: Reader;
  readonly path: readonly (string | number)[];
  readonly place: string;
}

/** @returns undefined, which stands for an entry that is left out */
function refuse(
  { document, faults }: Reader,
  { path, ...fault }: Omit<Fault, 'name'> & { readonly path: Where['path'] },
): undefined {
  faults.push({ name: document.placeOf(path), ...fault });
}

interface Section<S extends z.core.$ZodType, T> {
  readonly section: string;
  readonly schema: S;
  readonly assemble: (entry: z.output<S>, where: Where) => T | undefined;
}

function readSection<S extends z.core.$ZodType, T>(
  reader: Reader,
  { section, schema, assemble }: Section<S, T>,
): readonly T[] {
  const { document, faults } = reader;
  const given = document.given[section] ?? [];
  const isList = section === 'policies';
  if (typeof given !== 'object' || Array.isArray(given) !== (isList || document.given[section] == null)) {
    const problem = isList ? 'is no list' : 'is no object';
    refuse(reader, { path: [section], value: section, problem, hint: 'see docs/host.md for what it takes' });
    return [];
  }
  const entries: readonly (readonly [string | number, unknown])[] = isList
    ? (given as readonly unknown[]).map((entry, index) => [index, entry] as const)
    : Object.entries(given);
  return entries.flatMap(([key, entry]) => {
    const path = [section, key];
    const read = z.safeParse(schema, entry);
    if (!read.success) {
      const issues = read.error.issues.map((issue) => ({ ...issue, path: [...path, ...issue.path] }));
      faults.push(...issues.flatMap((issue) => toFaults(issue, document)));
      return [];
    }
    return assemble(read.data, { reader, path, place: document.placeOf(path) }) ?? [];
  });
}

function toNetwork(entry: z.output<typeof network>, { reader, path, place }: Where): NetworkEntry | undefined {
  const [parsedSubnet, gateway] = [parseSubnet(entry.subnet), parseAddress(entry.gateway)];
  if (parsedSubnet === undefined || gateway === undefined) return undefined;
  const key = `${path.at(-1)}`;
  const name = entry.network_name ?? key;
  if (!/^[a-zA-Z0-9][\w.-]*$/.test(name)) {
    return refuse(reader, {
      path,
      value: name,
      problem: 'is no name that Docker takes for a network',
      hint: 'use letters, digits, dots, hyphens and underscores',
    });
  }
  return { place, key, name, subnet: parsedSubnet, gateway };
}

function toAddress(
  { ip, container_name: container, selector }: z.output<typeof attached>,
  { reader, path, place }: Where,
): AddressEntry | undefined {
  const key = `${path.at(-1)}`;
  const own = parseAddress(ip ?? key);
  const named = parseAddress(key);
  const refuseIt = (value: string, problem: string, hint: string) => refuse(reader, { path, value, problem, hint });
  if (own?.family !== 'ipv4')
    return refuseIt(ip ?? key, 'is no IPv4 address', 'write the address as the key, or in `ip`');
  if (named !== undefined && named.text !== own.text) {
    return refuseIt(key, `is the key of another address, ${own.text}`, 'write the same address in both places');
  }
  if (container === undefined && selector === undefined) {
    return refuseIt(key, 'is the address of nobody', 'name its container in `container_name` or `selector`');
  }
  return { place, address: own, ...defined({ container, selector }) } as AddressEntry;
}

function toPolicy(entry: z.output<typeof policy>, { reader, path, place }: Where): PolicyEntry | undefined {
  const { from, nat, to, port: number, iface } = entry;
  const subject = [entry.container_name, entry.selector].filter((name) => name !== undefined);
  const refuseIt = (problem: string, hint: string) => refuse(reader, { path, problem, hint });
  if ((from === undefined) === (nat === undefined)) {
    const problem =
      from === undefined ? 'the policy has neither `from` nor `nat`' : 'the policy has both `from` and `nat`';
    return refuseIt(problem, 'give it one of them, and write two policies where both are meant');
  }
  const isInside = nat !== undefined && iface === undefined;
  const reached = to !== undefined ? [to] : isInside ? [] : subject;
  if (reached.length === 0 || (isInside && subject.length === 0)) {
    return refuseIt(
      isInside ? 'the policy needs both `selector` and `to`' : 'the policy names nobody who is to be reached',
      isInside
        ? 'name in `selector` the container that translates, in `to` the one that is reached; or an `iface` of this machine'
        : 'name a container in `container_name`, `selector` or `to`',
    );
  }
  const base = { place, to: reached };
  if (from !== undefined) {
    // A port alone means nothing to the kernel, and the seed's own examples have tcp.
    const transport = number === undefined ? {} : { port: number, protocol: 'tcp' as const };
    return { kind: 'allow', ...base, from, ...transport, ...defined({ protocol: entry.proto }) } as PolicyEntry;
  }
  if (number === undefined) return refuseIt('the policy has no `port`', 'name the port that is translated');
  const transport = { port: number, protocol: entry.proto ?? 'tcp' };
  return iface === undefined
    ? { kind: 'inside', ...base, inside: subject, ...transport }
    : { kind: 'on-interface', ...base, interface: iface, ...transport };
}
