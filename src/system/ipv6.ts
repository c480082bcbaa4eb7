import { accessSync, constants, writeFileSync } from 'node:fs';
import type { Fault } from '../errors.ts';
import { UnderbridgeError } from '../errors.ts';
import type { IfName } from '../net/address.ts';
import { readDevice } from './device.ts';

interface Sysctl {
  /** Below net.ipv6.conf, with a slash. */
  readonly name: string;
  readonly value: '0' | '1';
}

/**
 * IPv6 is forwarded between any devices or none (ip6_forward, Linux net/ipv6/ip6_output.c): a single device's switch, of
 * 6.17 and later, is a sysctl too. RTM_SETLINK, which does it for IPv4, takes no such setting (EINVAL, Linux 6.18).
 */
const forwarding: Sysctl = { name: 'all/forwarding', value: '1' };

/** Docker switches IPv6 off where a network has none, and a tunnel's device is made by this default. */
const enabled = (device: IfName | 'default'): Sysctl => ({ name: `${device}/disable_ipv6`, value: '0' });

/**
 * Tells clients who has the gateway address now, once the kernel has found it free. Without it one that remembers another
 * hardware address holds to that for up to 53 s (RFC 4861, 7.3.2), and no socket that we may open can send such a word.
 */
const announcing: Sysctl = { name: 'all/ndisc_notify', value: '1' };

const pathOf = ({ name }: Sysctl) => `/proc/sys/net/ipv6/conf/${name}`;
const isSet = (sysctl: Sysctl) => readDevice(pathOf(sysctl)) === sysctl.value;

/** What keeps clients' IPv6 from the tunnel and cannot be switched from inside: Docker mounts /proc/sys read-only. */
export function findIpv6Obstacles(): readonly Fault[] {
  return [forwarding, announcing, enabled('default')]
    .filter((sysctl) => !isSet(sysctl) && !isWritable(sysctl))
    .map(({ name, value }) => {
      const sysctl = `net.ipv6.conf.${name.replace('/', '.')}`;
      return {
        name: 'IPV6',
        value: 'tunnel',
        problem: `${sysctl} is not ${value}, and /proc/sys is read-only in this container`,
        hint: `set it (Compose: \`sysctls: { ${sysctl}: ${value} }\`)`,
      };
    });
}

/** Whether the kernel takes addresses and routes from router advertisements (ipv6_accept_ra, Linux include/net/ipv6.h). */
export function heedsAdvertisements(device: IfName): boolean {
  const read = (name: string) => readDevice(`/proc/sys/net/ipv6/conf/${device}/${name}`);
  if (read('disable_ipv6') !== '0') return false;
  const accepts = read('accept_ra');
  return accepts === '2' || (accepts === '1' && read('forwarding') === '0');
}

/** Lets a device have IPv6 addresses. @throws UnderbridgeError UB_KERNEL */
export function enableIpv6(device: IfName): void {
  set(enabled(device));
}

/** Lets the kernel forward IPv6, and announce addresses of ours. @throws UnderbridgeError UB_KERNEL */
export function forwardIpv6(): void {
  set(forwarding);
  set(announcing);
}

/** Whether the kernel forwards IPv6. */
export function forwardsIpv6(): boolean {
  return isSet(forwarding);
}

function set(sysctl: Sysctl): void {
  if (isSet(sysctl)) return;
  try {
    writeFileSync(pathOf(sysctl), sysctl.value);
  } catch (cause) {
    throw new UnderbridgeError({
      code: 'UB_KERNEL',
      message: `the kernel does not let net.ipv6.conf.${sysctl.name.replace('/', '.')} be ${sysctl.value}`,
      hint: 'set it in Compose (`sysctls:`), or IPV6=off',
      cause,
    });
  }
}

function isWritable(sysctl: Sysctl): boolean {
  try {
    accessSync(pathOf(sysctl), constants.W_OK);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error) return false;
    throw error;
  }
}
