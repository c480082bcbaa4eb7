import { execa } from 'execa';
import { ipv6Addresses } from './ipv6.ts';
import { addresses, type World } from './world.ts';

/**
 * Counts what the router sends on the uplink to anybody but the VPN server, by address alone: later fragments of OpenVPN's
 * packets have no ports, and its first ones by IPv6 may have the link's own address for a source.
 */
export async function countStrays({ isp }: World): Promise<() => Promise<number>> {
  const rules = `table inet strays {
    counter strays { }
    chain arriving {
      type filter hook prerouting priority raw;
      iifname != "to-router" accept
      ip daddr ${addresses.server} accept
      ip6 daddr ${ipv6Addresses.server} accept
      # The provider hears its own advertisements, too.
      icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report } accept
      counter name strays
    }
  }`;
  await execa(...isp.argv('nft', '-f', '-'), { input: rules });
  return async () => {
    const listing = await isp.run('nft', 'list', 'counter', 'inet', 'strays', 'strays');
    return Number(/packets (\d+)/.exec(listing)?.[1] ?? Number.NaN);
  };
}
