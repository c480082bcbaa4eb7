import type { Address, Origin, Protocol, Subnet } from './resource.ts';

/** The parts of a rule. What is absent is not looked at. */
export interface Words {
  readonly source?: Subnet | undefined;
  readonly notSource?: Subnet | undefined;
  readonly destination?: Subnet | undefined;
  readonly notDestination?: Subnet;
  readonly in?: string | undefined;
  readonly notIn?: string | undefined;
  readonly out?: string;
  readonly notOut?: string;
  readonly transport?: {
    readonly protocol: Protocol;
    readonly side?: 'dport' | 'sport';
    readonly port?: number | undefined;
  };
  /** More `-m` matches, in the order they are given, which is the order they are listed in. */
  readonly matches?: readonly string[];
  readonly target: string;
}

export const isDnated = '-m conntrack --ctstate DNAT';
export const isKnown = '-m conntrack --ctstate RELATED,ESTABLISHED';
export const isLocal = '-m addrtype --dst-type LOCAL';

/** Spells a rule as `iptables-save` does. */
export function renderRule(words: Words, { id }: Origin): string {
  const { transport } = words;
  const port = transport?.port === undefined ? [] : [transport.protocol, `--${transport.side}`, transport.port];
  return [
    words.source && !isAll(words.source) && `-s ${words.source.text}`,
    words.notSource && `! -s ${words.notSource.text}`,
    words.destination && !isAll(words.destination) && `-d ${words.destination.text}`,
    words.notDestination && `! -d ${words.notDestination.text}`,
    words.in && `-i ${words.in}`,
    words.notIn && `! -i ${words.notIn}`,
    words.out && `-o ${words.out}`,
    words.notOut && `! -o ${words.notOut}`,
    transport && `-p ${transport.protocol}`,
    ...(words.matches ?? []),
    port.length > 0 && `-m ${port.join(' ')}`,
    `-m comment --comment ${quote(id)}`,
    `-j ${words.target}`,
  ]
    .filter(Boolean)
    .join(' ');
}

/** What `iptables-save` leaves out. */
function isAll({ text }: Subnet): boolean {
  return text.endsWith('/0');
}

/** An address with a port, as `--to-destination` takes it. */
export function socketAddress({ family, text }: Address, port: number): string {
  return family === 'ipv4' ? `${text}:${port}` : `[${text}]:${port}`;
}

const mostBytes = 250;

/**
 * Quotes as `iptables-save` does. xt_comment holds 255 bytes; what could end the quotes is replaced, since names come
 * from whoever starts containers.
 */
function quote(comment: string): string {
  const safe = comment.replace(/[^ -~]|["'\\`$]/g, '_');
  // A container may have a name of any length; its id is at the end.
  const plain = safe.length > mostBytes ? `${safe.slice(0, mostBytes - 50)}${safe.slice(-50)}` : safe;
  return /^[\w-]+$/.test(plain) ? plain : `"${plain}"`;
}
