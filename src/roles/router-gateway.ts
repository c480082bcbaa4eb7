import { setTimeout as sleep } from 'node:timers/promises';
import { UnderbridgeError } from '../errors.ts';
import { renderCidr } from '../net/address.ts';
import { tunNamesOf } from '../plan/context.ts';
import { applyForwarding, type DeviceForwarding, findForwardingDrift } from '../system/forwarding.ts';
import { changeNetwork, type ObservedNetwork } from '../system/iproute.ts';
import { forwardIpv6, forwardsIpv6 } from '../system/ipv6.ts';
import type { Log } from '../system/log.ts';
import {
  claimAddress,
  isAloneWith,
  makeHardwareAddress,
  observeNeighbour,
  solicit,
  takeRival,
} from '../system/neighbour.ts';
import { hasDevice, holdersOf, type RouterSetup } from './router-setup.ts';

/** Time for an answer: on a bridge of one machine it comes within a millisecond. */
const askMs = 20;

/**
 * Takes a hardware address of its own and asks twice whether somebody has the gateway address already. Runs while OpenVPN dials, so it costs no start time.
 * @throws UnderbridgeError UB_ADDRESS_TAKEN
 */
export async function prepareClaim({ config: { gateway }, facts, isClaimed }: RouterSetup): Promise<void> {
  const device = facts.lan.name;
  const { address } = gateway;
  if (isClaimed) return;
  await solicit({ device, addresses: [address], hardwareAddress: makeHardwareAddress() });
  await sleep(askMs);
  await solicit({ device, addresses: [address] });
  await sleep(askMs);
  const owner = await observeNeighbour({ device, address });
  if (owner !== undefined) throw addressTaken(renderCidr(gateway), owner);
}

interface Claim extends Pick<RouterSetup, 'config' | 'facts'> {
  readonly log: Log;
}

/**
 * Lets the isolated network's interface forward, puts the gateway address on it and tells the clients; from here on
 * they are answered. The locks have to be in. A sidecar has none of it. @throws UnderbridgeError UB_KERNEL, UB_EXEC
 */
export async function claimGateway({ config, facts, log }: Claim): Promise<void> {
  if (config.isSidecar) return;
  applyForwarding(wantedForwarding({ config, facts }));
  if (config.ipv6 !== undefined) forwardIpv6();
  const device = facts.lan.name;
  await claimAddress({ device, cidr: config.gateway, ipv6: config.ipv6?.gateway });
  log.info('gateway address claimed', { address: renderCidr(config.gateway), interface: device });
}

/**
 * Waits until the kernel lets the gateway address of IPv6 be used, a second or two after the claim.
 * @throws UnderbridgeError UB_ADDRESS_TAKEN
 */
export async function confirmIpv6Gateway({ config: { ipv6 }, facts, log }: Claim): Promise<void> {
  if (ipv6 === undefined) return;
  const at = { device: facts.lan.name, cidr: ipv6.gateway };
  if (!(await isAloneWith(at))) throw ipv6AddressTaken(renderCidr(ipv6.gateway));
  log.info('IPv6 gateway address claimed', { address: renderCidr(ipv6.gateway), interface: at.device });
}

/** What clients need of a router that serves them and is otherwise than it should be, one text each. */
export function findGatewayDrift({
  config,
  facts,
  network,
}: Pick<Claim, 'config' | 'facts'> & { readonly network: ObservedNetwork }): readonly string[] {
  if (config.isSidecar) return [];
  const { ipv6 } = config;
  const { lost, astray } = findAddressDrift({ config, facts, network });
  return [
    ...lost.map((cidr) => `${renderCidr(cidr)} is not on ${facts.lan.name}`),
    ...astray.map(({ cidr, device }) => `${renderCidr(cidr)} is on ${device}`),
    ...(ipv6 !== undefined && !forwardsIpv6() ? ['IPv6 is not forwarded'] : []),
    ...findForwardingDrift(wantedForwarding({ config, facts })),
  ];
}

/** Gateway addresses that the isolated network's device lacks, and those that another one has. */
function findAddressDrift({
  config: { gateway, ipv6 },
  facts: { lan },
  network,
}: Pick<Claim, 'config' | 'facts'> & { readonly network: ObservedNetwork }) {
  const cidrs = [gateway, ...(ipv6 === undefined ? [] : [ipv6.gateway])];
  return {
    lost: hasDevice(network, lan.name)
      ? cidrs.filter((cidr) => !holdersOf(network, cidr.address).includes(lan.name))
      : [],
    astray: cidrs.flatMap((cidr) =>
      holdersOf(network, cidr.address).flatMap((device) => (device === lan.name ? [] : { cidr, device })),
    ),
  };
}

/** Puts right what {@link findGatewayDrift} finds. While Docker has taken the isolated network away, nobody is served. */
export async function restoreGateway({
  network,
  ...claim
}: Claim & { readonly network: ObservedNetwork }): Promise<void> {
  const { config, facts } = claim;
  if (config.isSidecar) return;
  const { lost, astray } = findAddressDrift({ config, facts, network });
  if (astray.length > 0)
    await changeNetwork(astray.map(({ cidr, device }) => `addr del ${renderCidr(cidr)} dev ${device}`));
  if (lost.length > 0) return claimGateway(claim);
  if (config.ipv6 !== undefined) forwardIpv6();
  applyForwarding(wantedForwarding({ config, facts }));
}

/** Warns when somebody else has used the gateway address since the last look. */
export async function warnOfRival({ config: { gateway, isSidecar }, facts, log }: Claim): Promise<void> {
  if (isSidecar) return;
  const hardwareAddress = await takeRival({ device: facts.lan.name, address: gateway.address });
  if (hardwareAddress === undefined) return;
  log.warn('somebody else uses the gateway address: clients may lose their way', {
    address: gateway.address,
    hardwareAddress,
    hint: 'find the container with this hardware address, and give it another address',
  });
}

function wantedForwarding({ config, facts }: Pick<Claim, 'config' | 'facts'>): readonly DeviceForwarding[] {
  const { lan, uplink } = facts;
  return [
    { name: lan.name, forwards: true, checksSources: true, announces: true },
    ...tunNamesOf(facts).map((name) => ({ name, forwards: true })),
    // What comes in there is a client's only by LAN_ALLOW, LAN_ALLOW_IN, and answers to them.
    { name: uplink.name, forwards: config.lanAllowances !== undefined },
  ];
}

function ipv6AddressTaken(address: string): UnderbridgeError {
  return new UnderbridgeError({
    code: 'UB_ADDRESS_TAKEN',
    message: `IP6_ADDR="${address}": somebody already answers for this address`,
    hint: "another router runs there, or the network's own gateway has this address: give the network another --gateway and reserve this one with --aux-address DefaultGatewayIPv6",
  });
}

function addressTaken(address: string, owner: string): UnderbridgeError {
  return new UnderbridgeError({
    code: 'UB_ADDRESS_TAKEN',
    message: `IP_ADDR="${address}": ${owner} already answers for this address`,
    hint: "another router runs there, or the network's own gateway has this address: give the network another --gateway and reserve this one with --aux-address DefaultGatewayIPv4",
  });
}
