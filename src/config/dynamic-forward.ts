import { faulty, ok, type Parsed } from '../errors.ts';
import { type Ipv4Cidr, type Port, parseIpv4, parsePort } from '../net/address.ts';
import { parseContainerName } from '../net/container-name.ts';
import type { Complaint } from './address-fault.ts';
import { complainAboutPlace, isolatedNetwork, parseTransports } from './port-forward.ts';
import type { ContainerPlace, DynamicForward, ForwardHook, MappingProtocol } from './router-config.ts';
import { isOwnNetwork, ownNetwork } from './sidecar.ts';

const ownForm = 'write natpmp:PORT, or natpmp:inside=same';
const containerForm =
  'write natpmp:TARGET:PORT or pcp:TARGET:PORT, for example natpmp:web:80 or natpmp:qbittorrent:inside=same';
const protocols: readonly MappingProtocol[] = ['natpmp', 'pcp'];

/**
 * Parses PORT_FWD_DYNAMIC: `natpmp:TARGET:INSIDE[/tcp|/udp]`, or `pcp:…`. INSIDE is a port, or `same` for the number that
 * the provider gives. With MODE=sidecar there is no TARGET.
 *
 * @param isolated the isolated network; undefined when IP_ADDR is faulty, and then targets are not compared with it
 */
export function parseDynamicForward(text: string, isolated: Ipv4Cidr | undefined): Parsed<DynamicForward> {
  const fail = (complaint: Complaint) => faulty({ name: 'PORT_FWD_DYNAMIC', value: text, ...complaint });
  const form = isOwnNetwork(isolated) ? ownForm : containerForm;
  const [body = '', suffix, ...surplus] = text.split('/');
  const fields = body.split(':');
  if (isOwnNetwork(isolated) && fields.length === 2) fields.splice(1, 0, ownNetwork.address);
  const [protocolText = '', targetText = '', insideText = '', ...rest] = fields;
  const transports = parseTransports(suffix);
  if (surplus.length > 0 || transports === undefined) {
    const hint = 'end it in /tcp or /udp, or leave the slash out for both';
    return fail({ problem: 'has a protocol other than tcp and udp', hint });
  }
  const protocol = protocols.find((name) => name === protocolText.toLowerCase());
  if (protocol === undefined) return fail({ problem: 'does not begin with natpmp or pcp', hint: form });
  if (insideText === '' || rest.length > 0)
    return fail({ problem: 'is not a protocol, a target and a port', hint: form });
  const place = parsePlace(targetText, isolated);
  if (place.kind === 'complaint') return fail({ ...place.complaint });
  const inside = /^(inside=)?same$/i.test(insideText) ? 'same' : parsePort(insideText);
  if (inside === undefined)
    return fail({ problem: 'has an inside port that is neither from 1 to 65535 nor same', hint: form });
  return ok({ protocol, transports, place: place.place, inside });
}

type ParsedPlace =
  | { readonly kind: 'place'; readonly place: ContainerPlace }
  | { readonly kind: 'complaint'; readonly complaint: Complaint };

function parsePlace(text: string, isolated: Ipv4Cidr | undefined): ParsedPlace {
  if (isOwnNetwork(isolated)) return parseOwnPlace(text);
  const name = parseContainerName(text);
  if (name !== undefined) return { kind: 'place', place: { kind: 'name', name } };
  const address = parseIpv4(text);
  if (address === undefined) {
    const problem = 'has a target that is neither an IPv4 address nor a name of one word';
    return { kind: 'complaint', complaint: { problem, hint: containerForm } };
  }
  const complaint = complainAboutPlace(address, isolated && isolatedNetwork(isolated));
  return complaint === undefined
    ? { kind: 'place', place: { kind: 'address', address } }
    : { kind: 'complaint', complaint };
}

/** With MODE=sidecar every target is here. */
function parseOwnPlace(text: string): ParsedPlace {
  const { address } = ownNetwork;
  if (text === address || text.toLowerCase() === 'localhost')
    return { kind: 'place', place: { kind: 'address', address } };
  const problem = 'has a target, and with MODE=sidecar there is none but localhost';
  return { kind: 'complaint', complaint: { problem, hint: ownForm } };
}

const hookForm = 'write http://NAME:PORT/PATH with {port} where the number belongs';
const httpPort = 80 as Port;

/**
 * Parses PORT_FWD_HOOK: `http://NAME[:PORT]/PATH`, of a container of the isolated network, with `{port}` in it. Faults
 * leave the value out: it may hold a password.
 */
export function parseForwardHook(text: string, isolated: Ipv4Cidr | undefined): Parsed<ForwardHook> {
  const fail = (complaint: Complaint) => faulty({ name: 'PORT_FWD_HOOK', ...complaint });
  const [, host, portText, path = ''] = /^http:\/\/([^/:@?#\s]+)(?::(\d+))?(\/[!-~]*)?$/i.exec(text) ?? [];
  if (host === undefined) {
    return fail({ problem: 'is not a plain http address without a user name', hint: hookForm });
  }
  const port = portText === undefined ? httpPort : parsePort(portText);
  if (port === undefined) return fail({ problem: 'has a port that is not a number from 1 to 65535', hint: hookForm });
  if (!path.includes('{port}')) return fail({ problem: 'has no {port}', hint: hookForm });
  const place = parsePlace(host, isolated);
  if (place.kind === 'complaint') return fail({ ...place.complaint, hint: hookForm });
  return ok({ place: place.place, port, path });
}
