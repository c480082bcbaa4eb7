import type { PortForward, Transport } from '../config/router-config.ts';
import type { IfName } from '../net/address.ts';
import { isNonEmpty, type OneOrMore } from '../one-or-more.ts';
import type { Match, PortSpan, Rule } from '../ruleset/model.ts';
import type { PlanConfig } from './context.ts';

/**
 * Masquerade that leaves forwarded ports to their owners. A client that could have the source port 4666 beyond the
 * tunnel would get what its peer sends to a forwarded port 4666, in place of its owner (CVE-2021-3773).
 */
export function planMasquerade({
  forwards,
  subnet,
  tunName,
  suffix,
}: Pick<PlanConfig, 'forwards'> & {
  /** The isolated network's, of the family that the forwards are of. */
  readonly subnet: string;
  readonly tunName: IfName;
  /** Of the rules' names. */
  readonly suffix: string;
}): readonly Rule[] {
  const out: Match = { kind: 'out', names: [tunName] };
  const clients: Match = { kind: 'source', subnet };
  return [
    ...ownPortsOf(forwards).map(
      ({ target, transports, spans }, index): Rule => ({
        id: `nat-own-ports${suffix}-${index + 1}`,
        why: 'A container keeps the ports that are forwarded to it as its source ports, too.',
        when: [
          out,
          { kind: 'source', subnet: target },
          { kind: 'transport', transports, port: { side: 'source', among: spans } },
        ],
        verdict: { kind: 'masquerade' },
      }),
    ),
    {
      id: `nat-masquerade-ports${suffix}`,
      why: "Clients appear as the tunnel's address, by ports that are nobody's (CVE-2021-3773).",
      when: [out, clients, { kind: 'transport', transports: ['tcp', 'udp'] }],
      verdict: { kind: 'masquerade', ports: freePorts(forwards) },
    },
    {
      id: `nat-masquerade${suffix}`,
      why: "Clients appear as the tunnel's address, also in a ping.",
      when: [out, clients],
      verdict: { kind: 'masquerade' },
    },
  ];
}

/** Below are the system's own (RFC 6335). */
const firstFree = 1024;
const lastPort = 65_535;

/** The most ports in a row that are not forwarded by any protocol. */
export function freePorts(forwards: readonly Pick<PortForward, 'outside'>[]): PortSpan {
  const taken = mergeSpans(forwards.map(({ outside }) => outside));
  const ends = [...taken, { first: lastPort + 1, last: lastPort + 1 }];
  let widest: PortSpan = { first: lastPort, last: lastPort };
  let from = firstFree;
  for (const { first, last } of ends) {
    if (first - 1 - from > widest.last - widest.first) widest = { first: from, last: first - 1 };
    from = Math.max(from, last + 1);
  }
  return widest;
}

interface OwnPorts {
  readonly target: string;
  readonly transports: OneOrMore<Transport>;
  readonly spans: OneOrMore<PortSpan>;
}

/** The forwards that change no port, in one row for each container and choice of protocols. */
function ownPortsOf(forwards: PlanConfig['forwards']): readonly OwnPorts[] {
  const unshifted = forwards.filter(({ outside, inside }) => outside.first === inside.first);
  const groups = Map.groupBy(unshifted, ({ target, transports }) => `${target} ${[...transports].sort()}`);
  return [...groups.values()].flatMap((group) => {
    const spans = mergeSpans(group.map(({ outside }) => outside));
    const { target = '', transports = [] } = group[0] ?? {};
    return isNonEmpty(transports) && isNonEmpty(spans) ? [{ target, transports, spans }] : [];
  });
}

/** In ascending order, and those that overlap or touch as one. */
function mergeSpans(spans: readonly PortForward['outside'][]): readonly PortSpan[] {
  const merged: PortSpan[] = [];
  for (const { first, last } of [...spans].sort((one, other) => one.first - other.first)) {
    const before = merged.at(-1);
    const isNext = before === undefined || first > before.last + 1;
    if (isNext) merged.push({ first, last });
    else merged[merged.length - 1] = { first: before.first, last: Math.max(before.last, last) };
  }
  return merged;
}
