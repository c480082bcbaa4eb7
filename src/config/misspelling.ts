import type { Fault } from '../errors.ts';

/** Names that other images use, or that people guess, for what a setting of ours does. */
const aliases: ReadonlyMap<string, string> = new Map(
  Object.entries({
    CONFIG: ['CONFIG_FILE', 'OPENVPN_CONFIG', 'OPENVPN_CUSTOM_CONFIG', 'VPN_CONFIG'],
    IP_ADDR: ['IP', 'IP_ADDRESS', 'GATEWAY', 'GATEWAY_IP', 'GATEWAY_ADDR', 'GATEWAY_ADDRESS'],
    DNS: ['DNS_SERVER', 'DNS_SERVERS', 'DNS_ADDR', 'DNS_ADDRESS', 'NAMESERVER', 'NAMESERVERS', 'RESOLVER', 'RESOLVERS'],
    PORT_FWD: ['PORT_FORWARD', 'PORT_FORWARDS', 'PORT_FORWARDING', 'FORWARD_PORTS', 'FIREWALL_VPN_INPUT_PORTS'],
    LAN_ALLOW: ['FIREWALL_OUTBOUND_SUBNETS', 'LOCAL_NETWORK', 'LAN_NETWORK', 'ALLOW_LAN'],
    TZ: ['TIMEZONE'],
    OPENVPN_CREDENTIALS_FILE: ['OPENVPN_CREDENTIALS', 'CREDENTIALS_FILE'],
    OPENVPN_USERNAME: ['OPENVPN_USER', 'VPN_USER', 'VPN_USERNAME'],
    OPENVPN_PASSWORD: ['OPENVPN_PASS', 'VPN_PASS', 'VPN_PASSWORD'],
    OPENVPN_USERNAME_FILE: ['OPENVPN_USER_FILE', 'VPN_USERNAME_FILE'],
    OPENVPN_PASSWORD_FILE: ['OPENVPN_PASS_FILE', 'VPN_PASSWORD_FILE'],
    UPLINK_GATEWAY: ['UPLINK', 'UPLINK_GW'],
    HEALTH_ADDR: ['HEALTH_ADDRESS', 'HEALTH_SERVER_ADDRESS', 'HEALTHCHECK_ADDR'],
    CONTROL_TOKEN_FILE: ['CONTROL_TOKEN', 'API_KEY', 'API_TOKEN', 'HTTP_CONTROL_SERVER_AUTH'],
    HEALTH_PROBE: ['HEALTH_TARGET', 'HEALTH_TARGET_ADDRESS', 'HEALTHCHECK_PROBE'],
    MTU: ['TUN_MTU', 'MTU_BYTES', 'VPN_MTU'],
    MSS: ['MSSFIX', 'TCP_MSS', 'MSS_BYTES'],
    LOG_LEVEL: ['LOGGING_LEVEL', 'VERBOSITY'],
  }).flatMap(([setting, names]) => names.map((name) => [fold(name), setting] as const)),
);

/**
 * Finds variables that were probably meant as settings: another image's name for one, or one with a typing error.
 * The values are left out, since a misspelled variable may hold a password.
 *
 * @param names every variable that is set
 * @param settingNames every setting there is
 */
export function findMisspellings(names: readonly string[], settingNames: readonly string[]): readonly Fault[] {
  const known = new Set(settingNames);
  return names
    .filter((name) => !known.has(name))
    .flatMap((name) => {
      const meant = guessSetting(fold(name), settingNames);
      return meant === undefined ? [] : [{ name, problem: 'is not a setting', hint: `rename it to ${meant}` }];
    });
}

function guessSetting(folded: string, settingNames: readonly string[]): string | undefined {
  const alias = aliases.get(folded);
  if (alias !== undefined) return alias;
  let nearest: { readonly setting: string; readonly edits: number } | undefined;
  for (const setting of settingNames) {
    const target = fold(setting);
    const edits = countEdits(folded, target);
    if (edits <= toleratedEdits(target) && (nearest === undefined || edits < nearest.edits))
      nearest = { setting, edits };
  }
  return nearest?.setting;
}

/** The shorter the name, the sooner a stranger looks like it: NS or DBS is no misspelling of DNS. */
function toleratedEdits(target: string): number {
  if (target.length <= 3) return 0;
  return target.length <= 7 ? 1 : 2;
}

/** Drops what people get wrong most: case and separators. */
function fold(name: string): string {
  return name.toUpperCase().replace(/[_.\s-]/g, '');
}

/**
 * Counts insertions, deletions, replacements and swaps of neighbours (optimal string alignment distance).
 * Lengths that differ by more than any tolerance are not compared: the answer is Infinity.
 */
function countEdits(one: string, other: string): number {
  if (Math.abs(one.length - other.length) > 2) return Number.POSITIVE_INFINITY;
  let twoAbove: readonly number[] = [];
  let above: readonly number[] = Array.from({ length: other.length + 1 }, (_, column) => column);
  for (let row = 1; row <= one.length; row += 1) {
    const current: number[] = [row];
    for (let column = 1; column <= other.length; column += 1) {
      const replaced = at(above, column - 1) + (one[row - 1] === other[column - 1] ? 0 : 1);
      const swapped = one[row - 1] === other[column - 2] && one[row - 2] === other[column - 1];
      current.push(
        Math.min(
          at(above, column) + 1,
          at(current, column - 1) + 1,
          replaced,
          swapped ? at(twoAbove, column - 2) + 1 : Number.POSITIVE_INFINITY,
        ),
      );
    }
    twoAbove = above;
    above = current;
  }
  return at(above, other.length);
}

function at(row: readonly number[], column: number): number {
  return row[column] ?? Number.POSITIVE_INFINITY;
}
