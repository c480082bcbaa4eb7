import { chmodSync, readFileSync, statSync } from 'node:fs';
import { type Fault, UnderbridgeError } from '../errors.ts';

const tunDevice = '/dev/net/tun';
const capabilities = { NET_ADMIN: 12, NET_RAW: 13, SETGID: 6, SETUID: 7 } as const;

/** Everything about the container that would keep the router from working, all at once. */
export function findMissing(): readonly Fault[] {
  return [...needed.filter((name) => !holds(name)).map(capabilityFault), ...missingTun()];
}

/** True when this process has a capability. */
export function holds(name: keyof typeof capabilities): boolean {
  const held = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'}`);
  return ((held >> BigInt(capabilities[name])) & 1n) === 1n;
}

const needed = ['NET_ADMIN', 'SETUID', 'SETGID'] as const;

function capabilityFault(name: (typeof needed)[number]): Fault {
  const purpose = name === 'NET_ADMIN' ? 'rules, routes and addresses' : 'starting OpenVPN under a user of its own';
  return {
    name: 'capabilities',
    value: name,
    problem: `the container has no ${name}, which it needs for ${purpose}`,
    hint: `add it (Compose: \`cap_add: [NET_ADMIN, SETUID, SETGID]\`)`,
  };
}

function missingTun(): readonly Fault[] {
  const hint = 'pass the device in (Compose: `devices: [/dev/net/tun]`); on the host, `modprobe tun` makes it';
  try {
    return statSync(tunDevice).isCharacterDevice() ? [] : [{ name: tunDevice, problem: 'it is not a device', hint }];
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error;
    return [{ name: tunDevice, problem: 'it is not there', hint }];
  }
}

/**
 * Lets OpenVPN's user open the tunnel device. Docker hands it on with the host's mode, which may be 0600; only this
 * container's /dev changes.
 * @throws UnderbridgeError UB_KERNEL when the mode has to be changed and cannot be.
 */
export function openTunDevice(): void {
  if ((statSync(tunDevice).mode & 0o006) === 0o006) return;
  try {
    chmodSync(tunDevice, 0o666);
  } catch (cause) {
    throw new UnderbridgeError({
      code: 'UB_KERNEL',
      message: `OpenVPN, which does not run as root, may not open ${tunDevice}`,
      hint: `\`chmod 666 ${tunDevice}\` on the host`,
      cause,
    });
  }
}
