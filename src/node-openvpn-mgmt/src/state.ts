/** The names of OpenVPN's states (`man_state_name`, 2.6 and 2.7). */
export const stateNames = [
  'INITIAL',
  'CONNECTING',
  'WAIT',
  'AUTH',
  'GET_CONFIG',
  'ASSIGN_IP',
  'ADD_ROUTES',
  'CONNECTED',
  'RECONNECTING',
  'EXITING',
  'RESOLVE',
  'TCP_CONNECT',
  'AUTH_PENDING',
] as const;

/** One of OpenVPN's states. */
export type StateName = (typeof stateNames)[number];

/** A state that OpenVPN entered: `>STATE:` as it happens, or a line of `state`'s reply. Empty fields are absent. */
export interface StateEvent {
  readonly kind: 'state';
  /** Seconds since 1970. */
  readonly timeS: number;
  readonly name: StateName;
  /** `SUCCESS`, `ROUTE_ERROR`, `ERROR` when CONNECTED; the reason when RECONNECTING or EXITING; else mostly empty. */
  readonly detail: string;
  readonly tunIpv4?: string;
  readonly remoteAddress?: string;
  readonly remotePort?: number;
  readonly localAddress?: string;
  readonly localPort?: number;
  readonly tunIpv6?: string;
}

/** Parses `ts,NAME,detail,tun4,remote,rport,local,lport[,tun6]`; undefined when it is something else. */
export function parseState(text: string): StateEvent | undefined {
  const [time = '', name = '', ...rest] = text.split(',');
  const knownName = stateNames.find((known) => known === name);
  if (!/^\d{1,15}$/.test(time) || knownName === undefined || rest.length < 6) return undefined;

  // Only AUTH_PENDING's detail may hold commas, so the fields after it are counted from the end. The local port comes
  // last unless the tunnel has an IPv6 address, and only the latter holds a colon.
  const fieldsAfterDetail = rest.length > 6 && rest.at(-1)?.includes(':') ? 6 : 5;
  const [tunIpv4, remoteAddress, remotePort, localAddress, localPort, tunIpv6] = rest.slice(-fieldsAfterDetail);
  return {
    kind: 'state',
    timeS: Number(time),
    name: knownName,
    detail: rest.slice(0, -fieldsAfterDetail).join(','),
    ...(tunIpv4 ? { tunIpv4 } : {}),
    ...(remoteAddress ? { remoteAddress } : {}),
    ...portField('remotePort', remotePort),
    ...(localAddress ? { localAddress } : {}),
    ...portField('localPort', localPort),
    ...(tunIpv6 ? { tunIpv6 } : {}),
  };
}

function portField<Name extends string>(name: Name, text: string | undefined): { readonly [key in Name]?: number } {
  if (text === undefined || !/^\d{1,5}$/.test(text)) return {};
  return { [name]: Number(text) } as { readonly [key in Name]: number };
}
