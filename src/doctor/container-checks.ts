import type { RouterConfig } from '../config/router-config.ts';
import type { Fault } from '../errors.ts';
import type { IfName } from '../net/address.ts';
import type { Profile } from '../openvpn/profile.ts';
import type { SeenDefault } from '../plan/interfaces.ts';
import { faultFindings, settingFindings } from './fault-findings.ts';
import type { Finding } from './finding.ts';
import { forwardsAtBoot } from './router-checks.ts';

type SeenProfile = Pick<Profile, 'name' | 'options' | 'remotes'>;

/** What can be seen from inside the router's container. What a fault keeps from being known is absent. */
export interface ContainerWorld {
  readonly faults: {
    readonly settings: readonly Fault[];
    readonly profile: readonly Fault[];
    readonly credentials: readonly Fault[];
    readonly networks: readonly Fault[];
    readonly capabilities: readonly Fault[];
    readonly tun: readonly Fault[];
    readonly kernel: readonly Fault[];
  };
  /** Variables that look like settings and are none. */
  readonly misspellings: readonly Fault[];
  readonly settings?: Pick<RouterConfig, 'gateway' | 'uplinkGateway' | 'mtuBytes' | 'mssBytes'>;
  /** Of CONFIG, in its order; none when one of them is at fault. */
  readonly profiles: readonly SeenProfile[];
  readonly uplink?: { readonly name: IfName; readonly mtuBytes: number };
  /** Default routes of the main table. */
  readonly defaults: readonly SeenDefault[];
  readonly isForwarding: boolean;
  /** Absent: without NET_ADMIN the kernel cannot be asked. */
  readonly canRejectBeforeRouting?: boolean;
}

/** Everything that the router's own container can tell. */
export function checkContainer(world: ContainerWorld): readonly Finding[] {
  return [
    ...checkFaults(world),
    ...checkServerCheck(world),
    ...checkDefaultRoute(world),
    ...checkMtu(world),
    ...(world.isForwarding ? [forwardsAtBoot('this container')] : []),
    ...checkKernelAge(world),
  ];
}

function checkFaults({ faults, misspellings }: ContainerWorld): readonly Finding[] {
  const breaks = (code: Finding['code'], why: string) => ({ code, severity: 'break', why }) as const;
  return [
    ...settingFindings(faults.settings),
    ...faultFindings(misspellings, {
      code: 'UB_DOCTOR_SETTING',
      severity: 'warning',
      why: 'it changes nothing as it is',
    }),
    ...faultFindings(
      faults.profile,
      breaks('UB_DOCTOR_PROFILE', 'the router does not start with a profile that it cannot use, or dare not'),
    ),
    ...faultFindings(faults.credentials, breaks('UB_DOCTOR_CREDENTIALS', 'the VPN server lets nobody in without')),
    ...faultFindings(
      faults.networks,
      breaks('UB_DOCTOR_ROUTER_NETWORKS', 'the router needs two networks that it can tell apart, and does not start'),
    ),
    ...faultFindings(
      faults.capabilities,
      breaks('UB_DOCTOR_CAPABILITIES', 'the router cannot write its rules or start OpenVPN, and does not start'),
    ),
    ...faultFindings(faults.tun, breaks('UB_DOCTOR_TUN', 'there can be no tunnel, and the router does not start')),
    ...faultFindings(faults.kernel, breaks('UB_DOCTOR_KERNEL', 'without its firewall the router does not start')),
  ];
}

/** Options that make the client look whether the certificate is one of a server, or which one it is. */
const serverChecks: readonly string[] = ['remote-cert-tls', 'ns-cert-type', 'verify-x509-name', 'peer-fingerprint'];

function checkServerCheck({ profiles }: ContainerWorld): readonly Finding[] {
  const isChecked = ({ options }: SeenProfile) => options.some(({ name }) => serverChecks.includes(name));
  return profiles
    .filter((profile) => !isChecked(profile))
    .map(({ name }) => ({
      code: 'UB_DOCTOR_SERVER_CHECK',
      severity: 'warning',
      what: `the profile ${name} takes any certificate of its authority for the server's`,
      why: 'another customer of the provider can pose as the VPN server',
      remedy: `add the line \`remote-cert-tls server\` to ${name}`,
    }));
}

function checkDefaultRoute({ settings, uplink, defaults }: ContainerWorld): readonly Finding[] {
  if (settings === undefined || uplink === undefined || settings.uplinkGateway !== undefined) return [];
  if (defaults.some(({ device }) => device === uplink.name)) return [];
  const { address } = settings.gateway;
  const isOwn = defaults.some(({ gateway }) => gateway === address);
  return [
    {
      code: 'UB_DOCTOR_DEFAULT_ROUTE',
      severity: 'warning',
      what: isOwn
        ? `the default route of this container leads to ${address}, which is the router itself`
        : `no default route of this container leads to the uplink ${uplink.name}`,
      why: "the router has to guess the uplink's gateway: the first or the last address of its subnet",
      remedy:
        "set UPLINK_GATEWAY to the Gateway that `docker network inspect` shows for the uplink, or give the uplink's network a name that comes first in the alphabet",
    },
  ];
}

/** Over UDP, OpenVPN lets TCP segments grow until a packet of its own has so many bytes (openvpn(8) 2.6, `--mssfix`). */
const fittedBytes = 1_492;
/** IP and TCP headers inside, and the most that OpenVPN puts around: IP, UDP, a tag of SHA-512, an IV and padding. */
const wrappingBytes = 40 + 140;
const leastMssBytes = 536;

function checkMtu({ settings, uplink, profiles }: ContainerWorld): readonly Finding[] {
  if (settings === undefined || uplink === undefined) return [];
  if (uplink.mtuBytes >= fittedBytes || (settings.mtuBytes ?? settings.mssBytes) !== undefined) return [];
  const isTold = ({ options }: Pick<Profile, 'options'>) => options.some(({ name }) => name === 'mssfix');
  const fits = (profile: SeenProfile) =>
    isTold(profile) || profile.remotes.every((remote) => remote.transport !== 'udp' || isTold(remote));
  if (profiles.every(fits)) return [];
  return [
    {
      code: 'UB_DOCTOR_MTU',
      severity: 'warning',
      what: `the uplink ${uplink.name} carries ${uplink.mtuBytes} bytes in a packet, and the VPN's get as large as ${fittedBytes}`,
      why: 'large packets go out in fragments, which are slow and get lost where a network drops fragments',
      remedy: `MSS=${Math.max(leastMssBytes, uplink.mtuBytes - wrappingBytes)} in the router's environment`,
    },
  ];
}

function checkKernelAge({ canRejectBeforeRouting }: ContainerWorld): readonly Finding[] {
  if (canRejectBeforeRouting !== false) return [];
  return [
    {
      code: 'UB_DOCTOR_KERNEL_OLD',
      severity: 'warning',
      what: 'the kernel cannot refuse TCP before it routes (Linux before 5.9)',
      why: 'while there is no tunnel, clients learn of it by an ICMP error instead of a reset',
      remedy: 'uname -r, and a later kernel for the machine if that matters to you',
    },
  ];
}
