import { chmodSync, readFileSync, statSync } from 'node:fs';
import { type Fault, UnderbridgeError } from '../errors.ts';
import type { Ruleset } from '../ruleset/model.ts';
import { checkRuleset } from './nft.ts';

const tunDevice = '/dev/net/tun';
const capabilities = { NET_ADMIN: 12, SETGID: 6, SETUID: 7 } as const;

/** Everything about the container that would keep the router from working, all at once. */
export async function findMissing(ruleset: Ruleset): Promise<readonly Fault[]> {
  const missing = missingCapabilities();
  return [
    ...missing.map(capabilityFault),
    ...missingTun(),
    ...missingForwarding(),
    ...(missing.includes('NET_ADMIN') ? [] : await missingRules(ruleset)),
  ];
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

function missingForwarding(): readonly Fault[] {
  if (readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8').trim() === '1') return [];
  return [
    {
      name: 'net.ipv4.ip_forward',
      value: '0',
      problem: 'the kernel does not forward packets in this container',
      hint: 'switch it on (Compose: `sysctls: {net.ipv4.ip_forward: 1}`)',
    },
  ];
}

/** The kernel checks the widest ruleset of the plan without loading it. */
async function missingRules(ruleset: Ruleset): Promise<readonly Fault[]> {
  try {
    await checkRuleset(ruleset);
    return [];
  } catch (error) {
    if (!(error instanceof UnderbridgeError)) throw error;
    return [
      {
        name: 'nftables',
        problem: `the kernel does not take the firewall's rules (${error.message})`,
        hint: 'Linux 4.18 or later with nf_tables, nft_fib, nft_ct and nft_nat is needed; load the modules on the host',
      },
    ];
  }
}
