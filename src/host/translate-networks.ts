import type { Fault } from '../errors.ts';
import type { NetworksFile } from './networks-file.ts';
import { type ResolvedNetworks, resolveNetworks } from './resolve-networks.ts';
import { type TranslatedPolicies, translatePolicies } from './resolve-policies.ts';
import type { DockerSnapshot, HostLink } from './snapshot.ts';

/** network-go's file in this role's own words. */
export interface TranslatedNetworks
  extends Pick<ResolvedNetworks, 'resources' | 'steps'>,
    Pick<TranslatedPolicies, 'allow' | 'forwards' | 'inside'> {
  readonly faults: readonly Fault[];
}

/** @param file absent: there is none */
export function translateNetworks(
  file: NetworksFile | undefined,
  { docker, links }: { readonly docker: DockerSnapshot; readonly links: readonly HostLink[] },
): TranslatedNetworks {
  if (file === undefined) return { resources: [], steps: [], allow: [], forwards: [], inside: [], faults: [] };
  const { resources, steps, addresses, faults } = resolveNetworks(file, { docker, links });
  const policies = translatePolicies(file, { addresses, docker });
  return { resources, steps, ...policies, faults: [...file.faults, ...faults, ...policies.faults] };
}
