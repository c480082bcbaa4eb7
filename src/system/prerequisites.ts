import { chmodSync, readFileSync, statSync } from 'node:fs';
import type { Fault } from '../errors.ts';

const tunDevice = '/dev/net/tun';
const capabilities = { NET_ADMIN: 12, SETGID: 6, SETUID: 7 } as const;

/** Everything about the container that would keep the router from working, all at once. */
export function findMissing(): readonly Fault[] {
  return [...missingCapabilities().map(capabilityFault), ...missingTun()];
}

function missingCapabilities(): readonly (keyof typeof capabilities)[] {
  const held = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'}`);
  return (['NET_ADMIN', 'SETUID', 'SETGID'] as const).filter(
    (name) => ((held >> BigInt(capabilities[name])) & 1n) === 0n,
  );
}

function capabilityFault(name: keyof typeof capabilities): Fault {
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
    if (!statSync(tunDevice).isCharacterDevice()) {
      return [{ name: tunDevice, problem: 'it is not a device', hint }];
    }
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error;
    return [{ name: tunDevice, problem: 'it is not there', hint }];
  }
  try {
    // Docker hands it on with the host's mode, which may be 0600; OpenVPN is not root. Only this container's /dev changes.
    chmodSync(tunDevice, 0o666);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error;
    if ((statSync(tunDevice).mode & 0o006) !== 0o006) {
      return [
        {
          name: tunDevice,
          problem: 'OpenVPN, which does not run as root, may not open it',
          hint: '`chmod 666 /dev/net/tun` on the host',
        },
      ];
    }
  }
  return [];
}
