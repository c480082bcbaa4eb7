import { asSubnet, parseAddress } from './address.ts';
import type { Part } from './render.ts';
import type { Address, Family, Forward } from './resource.ts';
import { chainPrefix } from './rules.ts';
import type { HostLink } from './snapshot.ts';
import { isDnated, isKnown, isLocal, renderRule, socketAddress } from './words.ts';

const chain = (name: string) => `${chainPrefix}${name}`;
const ofForwards = { place: '', id: 'forwards' };

/** Lets through what was translated for us, in a chain that only translated packets see. */
export function renderForwardRules(forwards: readonly Forward[]): readonly string[] {
  if (forwards.length === 0) return [];
  return [
    renderRule({ matches: [isKnown], target: 'ACCEPT' }, ofForwards),
    ...unique(
      forwards.map(({ protocol, to, origin }) =>
        renderRule(
          {
            destination: asSubnet(to.address),
            out: to.bridge,
            transport: { protocol, side: 'dport', port: to.port },
            target: 'ACCEPT',
          },
          origin,
        ),
      ),
    ),
  ];
}

/** Destination and, for hairpin, source translation. */
export function renderForwardNat({
  forwards,
  family,
  links,
  bridges,
}: {
  readonly forwards: readonly Forward[];
  readonly family: Family;
  readonly links: readonly HostLink[];
  /** Those with a container that something is forwarded to. */
  readonly bridges: readonly string[];
}): readonly Part[] {
  if (forwards.length === 0) return [];
  const own = addressesByLink(links, family);
  const hairpin = forwards.flatMap((forward) => renderHairpin(forward, own));
  const isAnyLocal = forwards.some(({ from }) => from.interface === undefined);
  const loopback = { family, text: family === 'ipv4' ? '127.0.0.0/8' : '::1/128' };
  const local = { matches: [isLocal], target: chain('LOCAL') };
  return [
    {
      chain: chain('PREROUTING'),
      rules: [
        ...(hairpin.length > 0
          ? bridges.map((bridge) => renderRule({ in: bridge, target: chain('HAIRPIN') }, ofForwards))
          : []),
        renderRule(local, ofForwards),
      ],
    },
    // The machine's own programs, when they use one of its addresses.
    ...(isAnyLocal
      ? [{ chain: chain('OUTPUT'), rules: [renderRule({ ...local, notDestination: loopback }, ofForwards)] }]
      : []),
    { chain: chain('LOCAL'), rules: forwards.map(renderDnat) },
    { chain: chain('HAIRPIN'), rules: unique(hairpin) },
    { chain: chain('POSTROUTING'), rules: unique(forwards.flatMap(renderMasquerade)) },
  ];
}

function renderDnat({ from, to, protocol, hairpin, origin }: Forward): string {
  return renderRule(
    {
      destination: from.address && asSubnet(from.address),
      in: from.interface,
      notSource: from.interface === undefined && hairpin ? itself(to) : undefined,
      // Without masquerade the container would answer its neighbour directly, who knows nothing of it.
      notIn: from.interface === undefined && !hairpin ? to.bridge : undefined,
      transport: { protocol, side: 'dport', port: from.port },
      target: dnatTo(to),
    },
    origin,
  );
}

/**
 * A container that asks for an interface's address does not arrive by that interface.
 */
function renderHairpin({ from, to, protocol, hairpin, origin }: Forward, own: ReadonlyMap<string, readonly Address[]>) {
  if (!hairpin || from.interface === undefined) return [];
  const asked = from.address === undefined ? (own.get(from.interface) ?? []) : [from.address];
  return asked.map((address) =>
    renderRule(
      {
        notSource: itself(to),
        destination: asSubnet(address),
        transport: { protocol, side: 'dport', port: from.port },
        target: dnatTo(to),
      },
      origin,
    ),
  );
}

function renderMasquerade({ to, protocol, hairpin, origin }: Forward): readonly string[] {
  if (!hairpin) return [];
  return to.subnets.map((source) =>
    renderRule(
      {
        source,
        destination: asSubnet(to.address),
        transport: { protocol, side: 'dport', port: to.port },
        matches: [isDnated],
        target: 'MASQUERADE',
      },
      origin,
    ),
  );
}

/**
 * Who asks for himself is left to Docker's proxy: with br_netfilter a bridge sends nothing back to the port where it came
 * from, unless it was told to.
 */
function itself({ address, isReflected }: Forward['to']) {
  return isReflected ? undefined : asSubnet(address);
}

function dnatTo({ address, port }: Forward['to']): string {
  return `DNAT --to-destination ${socketAddress(address, port)}`;
}

function addressesByLink(links: readonly HostLink[], family: Family): ReadonlyMap<string, readonly Address[]> {
  return new Map(
    links.map(({ name, addresses }) => [
      name,
      addresses.flatMap((text) => {
        const address = parseAddress(text.replace(/\/.*$/, ''));
        return address?.family === family ? [address] : [];
      }),
    ]),
  );
}

/** One rule is enough where several forwards would say the same. */
function unique(rules: readonly string[]): readonly string[] {
  return [...new Set(rules)];
}
