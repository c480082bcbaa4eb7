import { setTimeout as sleep } from 'node:timers/promises';
import { type IfName, type Ipv4, type Ipv4Cidr, type Ipv6Cidr, renderCidr } from '../net/address.ts';
import { readDevice } from './device.ts';
import { run } from './exec.ts';

interface ObservedNeighbour {
  readonly dst: string;
  readonly dev: string;
  readonly lladdr?: string;
  readonly state: readonly string[];
}

/**
 * Makes the kernel send an ARP request for each address, and reads who has answered so far. NTF_USE (`use`) starts
 * the kernel's own resolution, so no raw socket and no CAP_NET_RAW is needed.
 */
export async function solicit({
  device,
  addresses,
  hardwareAddress,
}: {
  readonly device: IfName;
  readonly addresses: readonly Ipv4[];
  /** Given to the device first; whoever answers then knows this one. */
  readonly hardwareAddress?: string;
}): Promise<void> {
  const renew = hardwareAddress === undefined ? [] : [`link set dev ${device} address ${hardwareAddress}`];
  const questions = addresses.flatMap((address) => [
    // Not `del`: iproute2 ends the whole batch when there is nothing to delete, also with -force.
    `neigh flush to ${address} dev ${device}`,
    `neigh replace ${address} dev ${device} use`,
  ]);
  await run({
    file: 'ip',
    args: ['-force', '-batch', '-'],
    input: `${[...renew, ...questions].join('\n')}\n`,
    accept: [1, 2],
  });
}

/** The hardware address that answers for `address`, as far as the kernel knows by now. */
export async function observeNeighbour({
  device,
  address,
}: {
  readonly device: IfName;
  readonly address: Ipv4;
}): Promise<string | undefined> {
  const output = await run({ file: 'ip', args: ['-j', 'neigh', 'show', 'to', address, 'dev', device], accept: [1, 2] });
  const neighbours: readonly ObservedNeighbour[] = output.trim() === '' ? [] : JSON.parse(output);
  return neighbours.find(({ dst }) => dst === address)?.lladdr;
}

/**
 * A random hardware address, so that what clients remember of the gateway is worth nothing when the container starts
 * again. Docker up to 27 derives the address from the IP address, and with it the kernel forwards a client's packets
 * from the moment the device is there, which is before any process of the container runs; even
 * `net.ipv4.ip_forward=0` is set only after that (31 of 6,840 packets at a restart on Docker 20.10).
 */
export function makeHardwareAddress(): string {
  // 02: locally administered, unicast (IEEE 802). A fresh one is what counts; it is no secret.
  const byte = () => Math.trunc(Math.random() * 256);
  return ['02', ...Array.from({ length: 5 }, () => byte().toString(16).padStart(2, '0'))].join(':');
}

/**
 * Puts the gateway address on the interface, and tells clients that remember another hardware address: the kernel sends a
 * gratuitous ARP for each address when the hardware address is set, also to what it was, if the device announces
 * (arp_notify). `noprefixroute`: Docker's own address already made the subnet's route.
 */
export async function claimAddress({
  device,
  cidr,
  ipv6,
}: {
  readonly device: IfName;
  readonly cidr: Ipv4Cidr;
  /** The gateway address of clients' IPv6, which the kernel makes usable after it has asked for another owner. */
  readonly ipv6: Ipv6Cidr | undefined;
}): Promise<void> {
  const own = ownHardwareAddress(device);
  const lines = [
    ...[cidr, ...(ipv6 === undefined ? [] : [ipv6])].map(
      (each) => `addr replace ${renderCidr(each)} dev ${device} noprefixroute`,
    ),
    ...(own === undefined ? [] : [`link set dev ${device} address ${own}`]),
    ...noteOf(device, cidr.address),
  ];
  await run({ file: 'ip', args: ['-batch', '-'], input: `${lines.join('\n')}\n` });
}

const detectionPollMs = 100;
/** Up to a second of random delay, and a second for an answer (RFC 4862, 5.4); with a busy machine's reserve. */
const detectionMs = 5_000;

/** Waits for the kernel's duplicate address detection; false when somebody else has the address. */
export async function isAloneWith({ device, cidr }: { device: IfName; cidr: Ipv6Cidr }): Promise<boolean> {
  for (let waitedMs = 0; waitedMs < detectionMs; waitedMs += detectionPollMs) {
    const output = await run({ file: 'ip', args: ['-6', '-j', 'addr', 'show', 'dev', device], accept: [1, 2] });
    const [link]: readonly ObservedAddresses[] = output.trim() === '' ? [] : JSON.parse(output);
    const own = link?.addr_info?.find(({ local }) => local === cidr.address);
    if (own?.dadfailed === true) return false;
    if (own !== undefined && own.tentative !== true) return true;
    await sleep(detectionPollMs);
  }
  return true;
}

interface ObservedAddresses {
  readonly addr_info?: readonly { readonly local?: string; readonly tentative?: true; readonly dadfailed?: true }[];
}

/**
 * The hardware address of somebody else who has used an address of ours since the last call. No raw socket is needed:
 * the kernel's neighbour table holds a note that the address is ours, and ARP of whoever sends by that address
 * overwrites it (arp_process, Linux net/ipv4/arp.c). What we send to an address of our own never asks that table.
 */
export async function takeRival({
  device,
  address,
}: {
  readonly device: IfName;
  readonly address: Ipv4;
}): Promise<string | undefined> {
  const noted = await observeNeighbour({ device, address });
  if (noted === ownHardwareAddress(device)) return undefined;
  // Also when there is no note: the kernel throws old ones away when there are many.
  await run({
    file: 'ip',
    args: ['-batch', '-'],
    input: noteOf(device, address)
      .map((line) => `${line}\n`)
      .join(''),
    accept: [1, 2],
  });
  return noted;
}

/** Stale, because the kernel overwrites no permanent one. */
function noteOf(device: IfName, address: Ipv4): readonly string[] {
  const own = ownHardwareAddress(device);
  return own === undefined ? [] : [`neigh replace ${address} lladdr ${own} nud stale dev ${device}`];
}

function ownHardwareAddress(device: IfName): string | undefined {
  return readDevice(`/sys/class/net/${device}/address`);
}
