import type { Context } from './context.ts';
import type { Extra } from './facts.ts';

/** A layer of defence behind the two locks: in force, switched off by a setting, or not to be had on this kernel. */
export type LayerState = 'on' | 'off' | 'missing';

/** What each layer does: docs/security.md. */
export type Layer = Extra | 'source-ports' | 'last-look' | 'early-reset';

export type Hardening = Readonly<Record<Layer, LayerState>>;

/** Which layers this router has. Some are about forwarding, of which a sidecar has none. */
export function describeHardening({ config, facts }: Pick<Context, 'config' | 'facts'>): Hardening {
  const when = (isThere: boolean) => (isThere ? 'on' : 'missing');
  const extra = (name: Extra) => when(facts.extras.includes(name));
  return {
    'egress-hook': extra('egress-hook'),
    'arp-table': extra('arp-table'),
    'connection-limit': config.connectionLimit === undefined ? 'off' : extra('connection-limit'),
    'source-ports': config.isSidecar ? 'off' : 'on',
    'last-look': when(facts.firewall === 'nft'),
    'early-reset': config.isSidecar ? 'off' : when(facts.canRejectBeforeRouting),
  };
}

/** The layers that this kernel, or the program that loads the rules, does not have. */
export function missingLayers(hardening: Hardening): readonly string[] {
  return Object.entries(hardening).flatMap(([layer, state]) => (state === 'missing' ? [layer] : []));
}
