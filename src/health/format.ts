/** `1.5 MB`, by powers of 1000. */
export function formatBytes(bytes: number): string {
  return scaled(bytes, ['B', 'kB', 'MB', 'GB', 'TB', 'PB']);
}

/** Bits a second of bytes a second. */
export function formatRate(bytesPerSecond: number): string {
  return scaled(bytesPerSecond * 8, ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s', 'Tbit/s', 'Pbit/s']);
}

function scaled(value: number, units: readonly string[]): string {
  let scale = 0;
  let rest = value;
  while (rest >= 999.5 && scale < units.length - 1) {
    rest /= 1000;
    scale += 1;
  }
  return `${scale > 0 && rest < 9.95 ? rest.toFixed(1) : Math.round(rest)} ${units[scale]}`;
}

/** `1 234 567`, with thin spaces that do not break. */
export function formatCount(count: number): string {
  return `${count}`.replace(/\B(?=(\d{3})+$)/g, '\u202f');
}

/** The time of day, in the zone of whoever looks. */
export function formatTime(iso: string): string {
  const time = new Date(iso);
  return [time.getHours(), time.getMinutes(), time.getSeconds()].map((part) => `${part}`.padStart(2, '0')).join(':');
}

/** How long ago, in its two largest units: `3 h 12 min`. */
export function formatSince(since: string, at: string): string {
  return formatSeconds(Math.max(0, Math.round((Date.parse(at) - Date.parse(since)) / 1000)));
}

export function formatSeconds(seconds: number): string {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h ${Math.floor((seconds % 3_600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3_600)} h`;
}

const reasons: Readonly<Record<string, string>> = {
  'refuse-tcp': 'there was no tunnel',
  'forward-refuse': 'there was no tunnel, or no protocol that can be translated',
  'forward-invalid': 'not a valid packet of a known connection',
  'outbound-foreign-dns': 'DNS to another resolver',
  'outbound-foreign-dot': 'encrypted DNS to another resolver',
  'in-lan-reset': 'a connection to the router itself',
  'in-lan-refuse': 'a packet to the router itself',
  'early-ipv6': 'IPv6',
  'early-lan-frames': 'broadcast or multicast',
  'early-lan-spoof': "a source that is not of the clients' network",
  'early-outside-spoof': "from outside with a client's address",
  'early-uplink-weak-host': "from the uplink to another address than the router's there",
  'early-tunnel-weak-host': "from the tunnel to another address than the router's there",
  'early-standby-weak-host': "from the second tunnel to another address than the router's there",
  'last-uplink': "on its way out of the uplink with another address than the router's",
  'last-tunnel': "on its way into the tunnel with a client's own address",
  'last-forwarded': 'forwarded, and about to leave on the uplink',
  'excess-tcp': 'a connection more than CONNECTION_LIMIT',
  'excess-rest': 'a flow without TCP more than CONNECTION_LIMIT',
  'out-docker-resolver': "asked of Docker's own resolver",
  'out-dns-elsewhere': "of the router's own resolver, about to leave on the uplink",
};

/** What a rule refused, in words; its name where there are none. The rule for IPv6 says the same as that for IPv4. */
export function describeReason(rule: string): string {
  const words = reasons[rule];
  if (words !== undefined) return words;
  const [, base] = /^(.+)-ipv6(?:-tcp)?$/.exec(rule) ?? [];
  const same = base === undefined ? undefined : reasons[base];
  return same === undefined ? rule : `${same} (IPv6)`;
}
