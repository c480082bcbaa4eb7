import { type DockerWorld, holdsCapability, type SeenContainer } from './docker-world.ts';
import type { Finding } from './finding.ts';
import type { IsolatedNetwork } from './network-checks.ts';
import { quoteWord } from './shell-word.ts';

/** What lets a client, or what asks for it, past the router. */
export function checkClient(
  client: SeenContainer,
  { isolated, world }: { readonly isolated: IsolatedNetwork; readonly world: DockerWorld },
): readonly Finding[] {
  return [
    ...checkDns(client, isolated, world),
    ...checkSecondNetwork(client, isolated, world),
    ...checkForging(client),
  ];
}

/** Servers of `--dns` are asked from the container's own network, by every version of Docker. */
function checkDns(
  { name, dns }: SeenContainer,
  { gateway: { address } }: IsolatedNetwork,
  { version }: DockerWorld,
): readonly Finding[] {
  if (dns.length > 0) return [];
  const which = Number.parseInt(version, 10) >= 28 ? 'all its questions' : 'some of its questions';
  return [
    {
      code: 'UB_DOCTOR_CLIENT_DNS',
      severity: 'leak',
      what: `the client ${name} has no dns of its own`,
      why: `Docker ${version} asks the machine's resolvers ${which}, from the machine, outside of the VPN`,
      remedy: `docker rm -f ${name}, and run it again with --dns ${address} (Compose: \`dns: [${address}]\`)`,
    },
  ];
}

/** An internal network leads nowhere but to its members. */
function checkSecondNetwork(
  { name, networks }: SeenContainer,
  { network }: IsolatedNetwork,
  world: DockerWorld,
): readonly Finding[] {
  const isWayOut = (other: string) =>
    other !== network.name && !world.networks.some((seen) => seen.name === other && seen.isInternal);
  return networks.filter(isWayOut).map((other) => ({
    code: 'UB_DOCTOR_CLIENT_SECOND_NETWORK',
    severity: 'leak',
    what: `the client ${name} is also in the network ${other}`,
    why: 'that is another way out, and Docker may make it the default one',
    remedy: `docker network disconnect ${quoteWord(other)} ${name} (Compose: \`networks: [${network.name}]\` and no other)`,
  }));
}

function checkForging(client: SeenContainer): readonly Finding[] {
  const held = (['NET_RAW', 'NET_ADMIN'] as const).filter((capability) => holdsCapability(client, capability));
  if (held.length === 0) return [];
  const { name, capabilities } = client;
  return [
    {
      code: 'UB_DOCTOR_CLIENT_FORGES',
      severity: 'warning',
      what: `the client ${name} has ${capabilities.isPrivileged ? 'all capabilities' : held.join(' and ')}`,
      why: 'a program in it can pose as the gateway for other clients, and let the machine forward its frames past the router',
      remedy: `docker rm -f ${name}, and run it again with --cap-drop NET_RAW, without NET_ADMIN or --privileged (Compose: \`cap_drop: [NET_RAW]\`)`,
    },
  ];
}
