import { faulty, ok, type Parsed } from '../errors.ts';
import { type Ipv4Cidr, type Port, parseIpv4, parsePort } from '../net/address.ts';
import { type Complaint, complainAboutAddress, looksLikeIpv6, scopeOf } from './address-fault.ts';
import { parseOutsideAddress } from './reachable-address.ts';
import type { ProbeTarget, RouterConfig } from './router-config.ts';

/** Parses HEALTH_ADDR: where the health endpoint listens, `ADDRESS:PORT`; 0.0.0.0 is every address of the router. */
export function parseHealthAddress(text: string): Parsed<RouterConfig['healthAddress']> {
  const name = 'HEALTH_ADDR';
  const { hostText, port, complaint } = splitEndpoint(text);
  const host = parseIpv4(hostText);
  if (host === undefined) return faulty({ name, value: text, ...complainAboutAddress(hostText) });
  if (port === undefined) return faulty({ name, value: text, ...complaint });
  const scope = scopeOf(host);
  if (scope === 'multicast' || scope === 'reserved' || (scope === 'unspecified' && host !== '0.0.0.0')) {
    return faulty({
      name,
      value: text,
      problem: 'is no address that a program can listen on',
      hint: 'give 127.0.0.1, 0.0.0.0 or an address of the router',
    });
  }
  return ok({ host, port });
}

/**
 * Parses HEALTH_PROBE: `dns`, or `ADDRESS:PORT` of a TCP service beyond the tunnel.
 *
 * @param isolated the isolated network; undefined when IP_ADDR is faulty itself, and then the subnet is not checked
 */
export function parseHealthProbe(text: string, isolated: Ipv4Cidr | undefined): Parsed<ProbeTarget> {
  const name = 'HEALTH_PROBE';
  if (text.toLowerCase() === 'dns') return ok({ kind: 'dns' });
  if (/^[a-z]+$/i.test(text)) {
    return faulty({ name, value: text, problem: 'is not a kind of probe', hint: 'give dns, or ADDRESS:PORT for TCP' });
  }
  const { hostText, port, complaint } = splitEndpoint(text);
  const parsed = parseOutsideAddress({
    text: hostText,
    isolated,
    unreachable: 'so it proves nothing about the tunnel',
    hint: 'give the address of a service beyond the tunnel, or dns',
  });
  if (parsed.kind === 'complaint') return faulty({ name, value: text, ...parsed.complaint });
  if (port === undefined) return faulty({ name, value: text, ...complaint });
  return ok({ kind: 'tcp', address: parsed.address, port });
}

/** Cuts `ADDRESS:PORT` in two; `complaint` says what is wrong with the port when `port` is undefined. */
function splitEndpoint(text: string): {
  readonly hostText: string;
  readonly port: Port | undefined;
  readonly complaint: Complaint;
} {
  const colon = looksLikeIpv6(text) ? -1 : text.lastIndexOf(':');
  const hostText = colon < 0 ? text : text.slice(0, colon);
  const port = colon < 0 ? undefined : parsePort(text.slice(colon + 1));
  return {
    hostText,
    port,
    complaint: {
      problem: colon < 0 ? 'has no port' : 'has a port that is not a number from 1 to 65535',
      hint: 'write ADDRESS:PORT',
    },
  };
}
