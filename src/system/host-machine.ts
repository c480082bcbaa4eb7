import { readFileSync, writeFileSync } from 'node:fs';
import { type Fault, UnderbridgeError } from '../errors.ts';
import type { MachineStep } from '../host/host-plan.ts';
import type { DockerSnapshot, HostLink } from '../host/snapshot.ts';
import { run } from './exec.ts';

/** Interfaces of this network namespace, with their addresses. @throws UnderbridgeError UB_EXEC */
export async function observeLinks(): Promise<readonly HostLink[]> {
  const links: readonly {
    readonly ifname: string;
    readonly master?: string;
    readonly linkinfo?: { readonly info_kind?: string; readonly info_slave_data?: { readonly hairpin?: boolean } };
    readonly addr_info: readonly { readonly local?: string; readonly prefixlen: number }[];
  }[] = JSON.parse(await run({ file: 'ip', args: ['-j', '-d', 'addr', 'show'] }));
  return links.map(({ ifname, master, linkinfo, addr_info }) => ({
    name: ifname,
    addresses: addr_info.flatMap(({ local, prefixlen }) => (local === undefined ? [] : [`${local}/${prefixlen}`])),
    isBridge: linkinfo?.info_kind === 'bridge',
    ...(master !== undefined && linkinfo?.info_slave_data?.hairpin ? { reflectedBy: master } : {}),
  }));
}

/** Whether IPv6 is forwarded; undefined: the kernel has no IPv6. */
export function observeIpv6Forwarding(): boolean | undefined {
  try {
    return readFileSync('/proc/sys/net/ipv6/conf/all/forwarding', 'utf8').trim() !== '0';
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

// Bits of linux/capability.h.
const needed: Readonly<Record<string, bigint>> = { NET_ADMIN: 12n, NET_RAW: 13n };

/** What this process lacks to write rules of the machine, if anything. */
export function findMissingRights(): readonly Fault[] {
  const text = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  const held = BigInt(`0x${text}`);
  return Object.entries(needed)
    .filter(([, bit]) => (held & (1n << bit)) === 0n)
    .map(([name]) => ({
      name,
      problem: 'the capability is missing, without which nobody may write rules of the firewall',
      hint: `start the container with \`cap_add: [${name}]\``,
    }));
}

/** Docker's bridges are in the machine's namespace; where none of them is, this runs in one of its own. */
export function findForeignNamespace({ networks }: DockerSnapshot, links: readonly HostLink[]): readonly Fault[] {
  const bridges = networks.map(({ bridge }) => bridge).filter((name) => name !== '');
  if (bridges.length === 0 || bridges.some((bridge) => links.some(({ name }) => name === bridge))) return [];
  return [
    {
      name: 'network',
      problem: "none of Docker's bridges can be seen from here, so these are not the machine's rules",
      hint: 'start the container with `network_mode: host`, on the machine of this engine',
    },
  ];
}

const ipForward = '/proc/sys/net/ipv4/ip_forward';

/** Whether this machine passes on any packet of IPv4. Docker sees to it, unless it was told not to. */
export function isForwardingIpv4(): boolean {
  return readFileSync(ipForward, 'utf8').trim() !== '0';
}

/** @throws UnderbridgeError UB_KERNEL in a container without that file mounted */
export function applyMachineStep({ kind: _ }: MachineStep): void {
  try {
    writeFileSync(ipForward, '1');
  } catch (cause) {
    if (!(cause instanceof Error && 'code' in cause)) throw cause;
    throw new UnderbridgeError({
      code: 'UB_KERNEL',
      message: `${ipForward} cannot be written (${cause.code}), so nothing is forwarded`,
      hint: `mount it (\`-v ${ipForward}:${ipForward}\`), or set net.ipv4.ip_forward=1 on the machine`,
      cause,
    });
  }
}
