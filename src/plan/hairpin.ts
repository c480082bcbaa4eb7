import { familyOf, type Ip } from '../net/address.ts';
import type { OneOrMore } from '../one-or-more.ts';
import type { Chain, Rule } from '../ruleset/model.ts';
import { planLimit } from './connection-limit.ts';
import type { Context } from './context.ts';

const chain = 'hairpin';

/** The way from client to client, for what was sent to a forwarded port of the tunnel (PORT_FWD_HAIRPIN). */
export function planHairpinJump({ config, facts }: Context): readonly Rule[] {
  if (config.hairpin === undefined) return [];
  return [
    {
      id: 'forward-hairpin',
      why: 'From a client to a forwarded port, and its answers; both stay on the isolated network.',
      when: [{ kind: 'in', names: [facts.lan.name] }, { kind: 'out', names: [facts.lan.name] }, { kind: 'was-dnated' }],
      verdict: { kind: 'jump', chain },
    },
  ];
}

export function planHairpin(context: Context): readonly Chain[] {
  if (context.config.hairpin === undefined) return [];
  const rules: readonly Rule[] = [
    {
      id: 'hairpin-established',
      why: 'Flows that are known.',
      when: [{ kind: 'state', states: ['established', 'related'] }],
      verdict: { kind: 'accept' },
    },
    ...planLimit(context, { id: 'hairpin-limit', when: [] }),
    {
      id: 'hairpin-new',
      why: 'New ones, which PORT_FWD translated.',
      when: [{ kind: 'state', states: ['new'] }],
      verdict: { kind: 'accept' },
    },
  ];
  return [{ name: chain, rules }];
}

/** What translates them: the target by the map of forwards, and the source, so that the answer comes back here. */
export function planHairpinNat({
  config,
  facts,
  address,
  subnet,
  suffix,
}: Pick<Context, 'config' | 'facts'> & {
  /** The tunnel's. */
  readonly address: Ip;
  /** The isolated network's. */
  readonly subnet: string;
  readonly suffix: string;
}): { readonly destination: Rule; readonly source: Rule } | undefined {
  if (config.hairpin === undefined) return undefined;
  const family = familyOf(address);
  const { publicAddress } = config;
  // A provider without NAT says the tunnel's own address; a set lists it once, and the read-back would differ.
  const isOther = family === 'ipv4' && publicAddress !== undefined && publicAddress !== address;
  const addresses: OneOrMore<Ip> = isOther ? [address, publicAddress] : [address];
  return {
    destination: {
      id: `nat-hairpin${suffix}`,
      why: "A client reaches a forwarded port by the tunnel's own address (PORT_FWD_HAIRPIN).",
      when: [
        { kind: 'in', names: [facts.lan.name] },
        { kind: 'destination', addresses },
      ],
      verdict: { kind: 'dnat-by-map', map: 'forwards', family },
    },
    source: {
      id: `nat-hairpin-source${suffix}`,
      why: 'Without it the container would answer past the router, from an address that nobody asked.',
      when: [{ kind: 'out', names: [facts.lan.name] }, { kind: 'source', subnet }, { kind: 'was-dnated' }],
      verdict: { kind: 'masquerade' },
    },
  };
}
