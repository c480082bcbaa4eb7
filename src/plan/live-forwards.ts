import type { DynamicForward, NamedForward, PortForward, RouterConfig, Transport } from '../config/router-config.ts';
import { type Ip, isIpv4, type Port } from '../net/address.ts';
import type { ContainerName } from '../net/container-name.ts';
import type { Lease } from '../port-mapping/lease.ts';
import type { LiveForwards } from './context.ts';

/** Where containers are now, one address of each family at most; a name that is absent is not in it. */
export type Places = ReadonlyMap<ContainerName, readonly Ip[]>;

type ForwardConfig = Pick<RouterConfig, 'forwards' | 'namedForwards' | 'dynamicForward' | 'forwardHook'>;

/** All forwards as they are now: by address, by name to where the container is, and of the port that the provider gave. */
export function planForwards(config: ForwardConfig, places: Places, lease: Lease | undefined): LiveForwards {
  const { forwards, namedForwards, dynamicForward, forwardHook } = config;
  const named = namedForwards.flatMap(({ host, ...ports }) =>
    (places.get(host) ?? []).map((target): PortForward => ({ ...ports, target })),
  );
  const dynamic =
    dynamicForward === undefined || lease === undefined
      ? []
      : dynamicForwards(config, { dynamicForward, places, lease });
  const address = forwardHook && addressOf(forwardHook.place, places);
  return {
    forwards: [...forwards, ...named, ...dynamic],
    ...(lease?.publicAddress === undefined ? {} : { publicAddress: lease.publicAddress }),
    ...(forwardHook === undefined || address === undefined ? {} : { hookAt: { address, port: forwardHook.port } }),
  };
}

/** The IPv4 address of a container, if it is there. */
export function addressOf(place: DynamicForward['place'], places: Places) {
  return place.kind === 'address' ? place.address : places.get(place.name)?.find(isIpv4);
}

/**
 * A gateway sends to the port that it was told (RFC 6886, 6887), and some providers to the number that they gave: both
 * lead to the container. What PORT_FWD forwards stays its own.
 */
function dynamicForwards(
  config: ForwardConfig,
  {
    dynamicForward: { place, inside },
    places,
    lease,
  }: { readonly dynamicForward: DynamicForward; readonly places: Places; readonly lease: Lease },
): readonly PortForward[] {
  const target = addressOf(place, places);
  if (target === undefined) return [];
  return lease.transports.flatMap((transport) => {
    const given = lease.mappings[transport]?.outside;
    if (given === undefined) return [];
    const port = inside === 'same' ? given : inside;
    return [...new Set([given, lease.inside])]
      .filter((outside) => !isTaken(config, { transport, port: outside }))
      .map((outside) => ({ transports: [transport], outside: only(outside), target, inside: only(port) }));
  });
}

/** Dynamic ports (RFC 6335): nobody's. */
const firstOwnPort = 49_152;

/** The port at the tunnel's own address that the provider is asked to send to: always the same one, so that it is known. */
export function ownPortOf(config: ForwardConfig): Port {
  for (let port = firstOwnPort as Port; ; port = (port + 1) as Port) {
    if (!(['tcp', 'udp'] as const).some((transport) => isTaken(config, { transport, port }))) return port;
  }
}

function isTaken(
  { forwards, namedForwards }: ForwardConfig,
  { transport, port }: { readonly transport: Transport; readonly port: number },
): boolean {
  return [...forwards, ...namedForwards].some(
    ({ transports, outside }: PortForward | NamedForward) =>
      transports.includes(transport) && outside.first <= port && port <= outside.last,
  );
}

function only(port: Port): PortForward['outside'] {
  return { first: port, last: port };
}
