import { isMap, LineCounter, parseDocument } from 'yaml';
import * as z from 'zod/mini';
import { type Fault, faulty, ok, type Parsed } from '../errors.ts';
import { isDevice, parseAddress } from './address.ts';
import type { HostConfig } from './host-config.ts';

const name = z.string().check(z.minLength(1, 'is empty'));
const port = z.int('is no port').check(z.minimum(1, 'is no port'), z.maximum(65_535, 'is no port'));
const address = z.string().check(z.refine((text) => parseAddress(text) !== undefined, 'is no address'));
const device = z.string().check(z.refine(isDevice, 'is no name of an interface'));
const protocol = z.enum(['tcp', 'udp', 'sctp']);

const schema = z.strictObject({
  isolated: z._default(
    z.array(
      z.union([name, z.strictObject({ network: name, router: z.optional(address), bridge: z.optional(device) })]),
    ),
    [],
  ),
  clients: z._default(z.enum(['report', 'cut-off']), 'report'),
  published: z.optional(
    z.strictObject({
      interfaces: z.union([z.literal('local'), z.array(device).check(z.minLength(1, 'is empty'))]),
      hairpin: z._default(z.boolean(), false),
    }),
  ),
  forwards: z._default(
    z.array(
      z.strictObject({
        interface: z.optional(device),
        address: z.optional(address),
        port,
        protocol: z._default(z.union([protocol, z.array(protocol).check(z.minLength(1, 'is empty'))]), 'tcp'),
        to: z.strictObject({ container: name, port: z.optional(port), network: z.optional(name) }),
        hairpin: z._default(z.boolean(), false),
      }),
    ),
    [],
  ),
  allow: z._default(
    z.array(
      z
        .strictObject({ from: name, to: name, protocol: z.optional(protocol), port: z.optional(port) })
        .check(
          z.refine(({ port, protocol }) => port === undefined || protocol !== undefined, 'a port needs a protocol'),
        ),
    ),
    [],
  ),
  ipv6nat: z._default(z.boolean(), false),
  firewall: z._default(z.enum(['auto', 'nft', 'legacy']), 'auto'),
});

/**
 * Reads the host file, or finds every fault in it with its line.
 * @param file its name, for messages
 */
export function parseHostFile(text: string, file: string): Parsed<HostConfig> {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number) => `${file}:${lines.linePos(offset).line}`;
  if (document.errors.length > 0) {
    return faulty(
      ...document.errors.map(({ pos, message }) => ({
        name: at(pos[0]),
        problem: `is no YAML: ${message}`,
        hint: 'see the lines around it; a tab is no indentation',
      })),
    );
  }
  if (!isMap(document.contents)) {
    return faulty({ name: file, problem: 'has no settings in it', hint: 'write `{}` if there are to be none' });
  }
  /** The place of the innermost part of the path that is there. */
  const placeOf = (path: readonly PropertyKey[]): string => {
    for (let depth = path.length; depth > 0; depth -= 1) {
      const node = document.getIn(path.slice(0, depth), true) as { readonly range?: readonly number[] } | undefined;
      if (node?.range?.[0] !== undefined) return at(node.range[0]);
    }
    return at(0);
  };
  const given: unknown = document.toJS();
  const read = z.safeParse(schema, given);
  if (!read.success) {
    const faultOf = (issue: z.core.$ZodIssue): readonly Fault[] =>
      toFaults(issue, { placeOf, valueAt: (path) => valueAt(given, path) });
    return faulty(...read.error.issues.flatMap(faultOf));
  }
  return ok(assemble(read.data, placeOf));
}

interface Lookup {
  readonly placeOf: (path: readonly PropertyKey[]) => string;
  readonly valueAt: (path: readonly PropertyKey[]) => unknown;
}

function toFaults(issue: z.core.$ZodIssue, lookup: Lookup): readonly Fault[] {
  const { placeOf, valueAt } = lookup;
  const setting = issue.path.map(String).join('.');
  const hint = 'see docs/host.md for what it takes';
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      name: placeOf([...issue.path, key]),
      value: key,
      problem: setting === '' ? 'is no setting' : `is no setting of ${setting}`,
      hint: 'see docs/host.md for all of them',
    }));
  }
  if (issue.code === 'invalid_union') {
    // The alternative that got furthest says best what is wrong.
    const within = issue.errors.flat().filter(({ path }) => path.length > 0);
    const [deepest] =
      within.length > 0 ? within : issue.errors.flat().filter(({ code }) => code === 'unrecognized_keys');
    if (deepest !== undefined) return toFaults({ ...deepest, path: [...issue.path, ...deepest.path] }, lookup);
  }
  const value = valueAt(issue.path);
  if (value === undefined) return [{ name: placeOf(issue.path), problem: `${setting} is missing`, hint }];
  const shown = typeof value === 'string' ? value : JSON.stringify(value);
  return [{ name: `${placeOf(issue.path)} ${setting}`, value: shown, problem: explain(issue), hint }];
}

function explain(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_value') return `is none of ${issue.values.map(String).join(', ')}`;
  if (issue.code === 'invalid_union') return 'is of no kind that is taken here';
  return issue.code === 'invalid_type' ? `is no ${issue.expected}` : issue.message;
}

function valueAt(given: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | undefined)?.[key], given);
}

function assemble(
  { isolated, clients, published, forwards, allow, ipv6nat, firewall }: z.output<typeof schema>,
  placeOf: (path: readonly PropertyKey[]) => string,
): HostConfig {
  return {
    isolated: isolated.map((entry, index) => ({
      place: placeOf(['isolated', index]),
      ...(typeof entry === 'string' ? { network: entry } : defined(entry)),
    })),
    clients,
    ...(published === undefined ? {} : { published: { place: placeOf(['published']), ...published } }),
    forwards: forwards.map(({ protocol, to, ...entry }, index) => ({
      place: placeOf(['forwards', index]),
      ...defined(entry),
      protocols: typeof protocol === 'string' ? [protocol] : protocol,
      to: { ...defined(to), port: to.port ?? entry.port },
    })),
    allow: allow.map((entry, index) => ({ place: placeOf(['allow', index]), ...defined(entry) })),
    ...(ipv6nat ? { ipv6nat: { place: placeOf(['ipv6nat']) } } : {}),
    ...(firewall === 'auto' ? {} : { firewall }),
  };
}

type Defined<T> = { [K in keyof T]: Exclude<T[K], undefined> };

/** Without the keys that were left out. */
function defined<T extends object>(entry: T): Defined<T> {
  return Object.fromEntries(Object.entries(entry).filter(([, value]) => value !== undefined)) as Defined<T>;
}
