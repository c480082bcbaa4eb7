import * as z from 'zod/mini';
import { faulty, ok, type Parsed } from '../errors.ts';
import { isDevice, parseAddress } from './address.ts';
import { defined, parsePlaced, toFaults } from './document.ts';
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
  const document = parsePlaced(text, { file, form: 'YAML' });
  if (document.kind === 'faults') return document;
  const read = z.safeParse(schema, document.value.given);
  if (!read.success) return faulty(...read.error.issues.flatMap((issue) => toFaults(issue, document.value)));
  return ok(assemble(read.data, document.value.placeOf));
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
