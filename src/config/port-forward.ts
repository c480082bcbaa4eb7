import { type Fault, ok, type Parsed } from '../errors.ts';
import {
  broadcastOf,
  contains,
  type Ip,
  type IpFamily,
  type Ipv4,
  type Ipv4Cidr,
  type Ipv6,
  isIpv6,
  networkOf,
  parseIpv4,
  parseIpv6,
  renderSubnet,
} from '../net/address.ts';
import { type ContainerName, parseContainerName } from '../net/container-name.ts';
import { type Complaint, complainAboutAddress, looksLikeHostName } from './address-fault.ts';
import { type IsolatedIpv6, ipv6OffComplaint } from './ipv6.ts';
import { findPortOverlaps, type PortClaim } from './port-overlap.ts';
import { countPorts, parsePortRange } from './port-range.ts';
import type { NamedForward, PortForward, PortRange, Transport } from './router-config.ts';
import { isOwnNetwork, ownNetwork } from './sidecar.ts';

const form = 'write [OUTSIDE:]TARGET:INSIDE[/tcp|/udp], for example 8080:172.22.0.128:80/tcp or web:80';
const ipv6Form = 'put the address in brackets, for example 8080:[fd00:7722::128]:80/tcp';

/** The isolated network with the addresses in it that no container can have, worked out once for all entries. */
export interface IsolatedNetwork {
  readonly cidr: Ipv4Cidr;
  readonly network: Ipv4;
  readonly broadcast: Ipv4;
}

export function isolatedNetwork(cidr: Ipv4Cidr): IsolatedNetwork {
  return { cidr, network: networkOf(cidr), broadcast: broadcastOf(cidr) };
}

/** What an entry turned out to say; a part that is faulty is absent. */
interface EntryReading {
  readonly transports: readonly Transport[] | undefined;
  readonly outside: PortRange | undefined;
  readonly families: readonly IpFamily[];
  readonly target: Ip | undefined;
  readonly host?: ContainerName | undefined;
  readonly inside: PortRange | undefined;
  readonly complaints: readonly Complaint[];
}

/**
 * Parses PORT_FWD: entries `[OUTSIDE:]TARGET:INSIDE[/tcp|/udp]` with commas, semicolons or white space between them, and
 * comments from # to the end of a line. TARGET is an address, of IPv6 in brackets, or a container's name. A port may be a
 * range; OUTSIDE is INSIDE when absent; without a suffix both protocols are forwarded.
 * With MODE=sidecar entries are `[OUTSIDE:]INSIDE[/tcp|/udp]`. Each fault names its entry, counted from 1.
 *
 * @param gateway IP_ADDR; undefined when that is faulty itself, and then targets are not compared with the subnet
 * @param ipv6 undefined when clients have no IPv6, and then no target may be of it
 */
export function parsePortForwards(
  text: string,
  gateway: Ipv4Cidr | undefined,
  ipv6?: IsolatedIpv6,
): Parsed<readonly (PortForward | NamedForward)[]> {
  const isolated = gateway && isolatedNetwork(gateway);
  const forwards: (PortForward | NamedForward)[] = [];
  const claims: PortClaim[] = [];
  const entryFaults: Fault[] = [];
  const entryTexts = text
    .replace(/#.*/g, '')
    .split(/[,;\s]+/)
    .filter((entryText) => entryText !== '');
  for (const [index, entryText] of entryTexts.entries()) {
    const entryNumber = index + 1;
    const { transports, outside, families, target, host, inside, complaints } = isOwnNetwork(gateway)
      ? readOwnEntry(entryText)
      : readEntry(entryText, isolated, ipv6);
    for (const complaint of complaints) {
      entryFaults.push({ name: `PORT_FWD entry ${entryNumber}`, value: entryText, ...complaint });
    }
    // A claim counts even when the rest of its entry is faulty, or the overlap would only show after the first repair.
    if (outside !== undefined && transports !== undefined) {
      claims.push(...families.map((family) => ({ entryNumber, entryText, outside, family, transports })));
      if (inside === undefined) continue;
      if (target !== undefined) forwards.push({ transports, outside, target, inside });
      if (host !== undefined) forwards.push({ transports, outside, host, inside });
    }
  }
  const faults = entryFaults.concat(findPortOverlaps(claims), findTooMany(forwards));
  return faults.length > 0 ? { kind: 'faults', faults } : ok(forwards);
}

/** So many elements of the kernel's map take 0.2 s with every connection; all ports of both protocols took 9 s. */
const mostMapped = 20_000;

function findTooMany(forwards: readonly (PortForward | NamedForward)[]): readonly Fault[] {
  const mapped = forwards.reduce((sum, { transports, outside }) => sum + transports.length * countPorts(outside), 0);
  if (mapped <= mostMapped) return [];
  return [
    {
      name: 'PORT_FWD',
      problem: `forwards ${mapped} ports (a port of both protocols counts twice), more than ${mostMapped}`,
      hint: 'forward only what your provider sends you, and name the protocol',
    },
  ];
}

/** Of MODE=sidecar, where the target is not to be said: `6881`, `8080:80/tcp`. */
function readOwnEntry(entryText: string): EntryReading {
  const [body = '', ...suffix] = entryText.split('/');
  const ports = body.split(':');
  if (ports.length <= 2 && ports.every((port) => /^[\d-]*$/.test(port))) {
    return readEntry(
      [[...ports.slice(0, -1), ownNetwork.address, ports.at(-1)].join(':'), ...suffix].join('/'),
      undefined,
      undefined,
    );
  }
  const complaint = {
    problem: 'names a target, and with MODE=sidecar each port leads to this network namespace',
    hint: 'write [OUTSIDE:]INSIDE[/tcp|/udp], for example 6881 or 8080:80/tcp',
  };
  const [transports, outside, target, inside] = [undefined, undefined, undefined, undefined];
  return { transports, outside, families: [], target, inside, complaints: [complaint] };
}

function readEntry(
  entryText: string,
  isolated: IsolatedNetwork | undefined,
  ipv6: IsolatedIpv6 | undefined,
): EntryReading {
  const [body = '', protocol, ...surplus] = entryText.split('/');
  const transports = parseTransports(protocol);
  const complaints: Complaint[] = [];
  if (surplus.length > 0) {
    complaints.push({
      problem: 'has more than one slash',
      hint: 'end it in one of /tcp and /udp, or neither for both',
    });
  } else if (transports === undefined) {
    complaints.push({
      problem: 'has a protocol other than tcp and udp',
      hint: 'end it in /tcp or /udp, or leave the slash out for both',
    });
  }
  const bracketed = /^(?:([^[\]]*):)?\[([^[\]]*)\]:([^[\]]*)$/.exec(body);
  const fields = bracketed === null ? body.split(':') : bracketed.slice(1).filter((field) => field !== undefined);
  const shape = bracketed === null ? complainAboutShape(body, fields, ipv6) : undefined;
  if (shape !== undefined) {
    const [outside, target, inside] = [undefined, undefined, undefined];
    return { transports, outside, families: [], target, inside, complaints: [shape, ...complaints] };
  }
  const [insideText = '', targetText = '', outsideText = insideText] = fields.toReversed();
  const host = bracketed === null ? parseContainerName(targetText) : undefined;
  const target = bracketed === null ? parseIpv4(targetText) : parseIpv6(targetText);
  const targetComplaint =
    host === undefined
      ? complainAboutTarget({ target, targetText, isBracketed: bracketed !== null, isolated, ipv6 })
      : undefined;
  if (targetComplaint !== undefined) complaints.push(targetComplaint);
  const inside = parsePortRange(insideText, 'inside');
  if (inside.kind === 'complaint') complaints.push(inside.complaint);
  const outside = fields.length === 2 ? inside : parsePortRange(outsideText, 'outside');
  if (outside.kind === 'complaint' && outside !== inside) complaints.push(outside.complaint);
  if (inside.kind === 'range' && outside.kind === 'range') {
    const [outsideCount, insideCount] = [countPorts(outside.range), countPorts(inside.range)];
    if (outsideCount !== insideCount) {
      complaints.push({
        problem: `has ${outsideCount} outside and ${insideCount} inside ports`,
        hint: 'make both ranges equally long',
      });
    }
  }
  return {
    transports,
    outside: outside.kind === 'range' ? outside.range : undefined,
    families:
      host === undefined ? [bracketed === null ? 'ipv4' : 'ipv6'] : ipv6 === undefined ? ['ipv4'] : ['ipv4', 'ipv6'],
    target,
    host,
    inside: inside.kind === 'range' ? inside.range : undefined,
    complaints,
  };
}

/** The protocols that a suffix means; none means both. Undefined for a suffix that is not a protocol. */
export function parseTransports(suffix: string | undefined): readonly Transport[] | undefined {
  if (suffix === undefined) return ['tcp', 'udp'];
  const protocol = suffix.toLowerCase();
  return protocol === 'tcp' || protocol === 'udp' ? [protocol] : undefined;
}

/** Says why an entry does not fall into outside port, address and inside port. */
function complainAboutShape(
  body: string,
  fields: readonly string[],
  ipv6: IsolatedIpv6 | undefined,
): Complaint | undefined {
  if (meantAsIpv6(body, fields)) {
    return ipv6 === undefined ? ipv6OffComplaint : { problem: 'is not [ADDRESS] and a port', hint: ipv6Form };
  }
  if (fields.length > 3) return { problem: 'has too many colons', hint: form };
  const [first = '', second = ''] = fields;
  if (fields.length === 1) {
    return { problem: parseIpv4(first) === undefined ? 'is not an address and a port' : 'has no port', hint: form };
  }
  if (fields.length === 2 && /^[\d-]*$/.test(first)) {
    const isTarget = parseIpv4(second) !== undefined || parseContainerName(second) !== undefined;
    const problem = isTarget ? 'has no inside port after the address' : 'has no address';
    return { problem, hint: form };
  }
  return undefined;
}

function meantAsIpv6(body: string, fields: readonly string[]): boolean {
  if (body.includes('[')) return true;
  if (!/^[0-9a-f:.]+$/i.test(body)) return false;
  // `8080::80` is a valid IPv6 address, but more likely an entry with an empty variable where the address belongs.
  if (fields.length === 3 && /^\d*$/.test(fields[0] ?? '')) return false;
  const hasLetters = /[a-f]/i.test(body);
  if (!hasLetters && fields.some((field) => parseIpv4(field) !== undefined)) return false;
  return body.includes('::') || fields.length > 7 || (hasLetters && fields.length > 3);
}

function complainAboutTarget({
  target,
  targetText,
  isBracketed,
  isolated,
  ipv6,
}: {
  readonly target: Ip | undefined;
  readonly targetText: string;
  readonly isBracketed: boolean;
  readonly isolated: IsolatedNetwork | undefined;
  readonly ipv6: IsolatedIpv6 | undefined;
}): Complaint | undefined {
  if (isBracketed && ipv6 === undefined) return ipv6OffComplaint;
  if (target === undefined) {
    return isBracketed
      ? { problem: 'has no IPv6 address in its brackets', hint: ipv6Form }
      : complainAboutTargetText(targetText);
  }
  return isIpv6(target) ? complainAboutIpv6Place(target, ipv6) : complainAboutPlace(target, isolated);
}

function complainAboutIpv6Place(target: Ipv6, ipv6: IsolatedIpv6 | undefined): Complaint | undefined {
  const gateway = ipv6?.gateway;
  if (gateway === undefined) return undefined;
  const hint = 'give the address of a container in the isolated network';
  const subnet = renderSubnet(gateway);
  if (!contains(gateway, target)) return { problem: `has a target outside the isolated network ${subnet}`, hint };
  return target === gateway.address
    ? { problem: 'has the gateway address of IP6_ADDR as its target', hint }
    : undefined;
}

function complainAboutTargetText(targetText: string): Complaint {
  if (targetText === '' || /^\d+$/.test(targetText)) return { problem: 'has no address', hint: form };
  if (looksLikeHostName(targetText)) {
    return {
      problem: 'has a target that is no name of one word, which alone Docker keeps to itself',
      hint: 'give the container an alias of letters, digits and hyphens, without a dot',
    };
  }
  const { problem, hint } = complainAboutAddress(targetText);
  return { problem: `has a target that ${problem}`, hint };
}

/** Says why no container can have this address. */
export function complainAboutPlace(target: Ipv4, isolated: IsolatedNetwork | undefined): Complaint | undefined {
  if (isolated === undefined) return undefined;
  const hint = 'give the address of a container in the isolated network';
  const subnet = renderSubnet(isolated.cidr);
  if (!contains(isolated.cidr, target)) return { problem: `has a target outside the isolated network ${subnet}`, hint };
  if (target === isolated.cidr.address) return { problem: 'has the gateway address of IP_ADDR as its target', hint };
  if (target === isolated.network) return { problem: `has the address of the subnet ${subnet} as its target`, hint };
  if (target === isolated.broadcast) return { problem: `has the broadcast address of ${subnet} as its target`, hint };
  return undefined;
}
