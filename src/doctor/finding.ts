/** Every code that `doctor` can report. Stable: scripts and issues quote them. */
export const doctorCodes = [
  'UB_DOCTOR_DOCKER_VERSION',
  'UB_DOCTOR_NETWORK_DRIVER',
  'UB_DOCTOR_NETWORK_INTERNAL',
  'UB_DOCTOR_NETWORK_ICC',
  'UB_DOCTOR_NETWORK_IPV6',
  'UB_DOCTOR_NETWORK_HOST_ADDRESS',
  'UB_DOCTOR_NETWORK_MASQUERADE',
  'UB_DOCTOR_NETWORK_GATEWAY',
  'UB_DOCTOR_SUBNETS_OVERLAP',
  'UB_DOCTOR_ROUTER_NETWORKS',
  'UB_DOCTOR_UPLINK_INTERNAL',
  'UB_DOCTOR_CAPABILITIES',
  'UB_DOCTOR_TUN',
  'UB_DOCTOR_IP_FORWARD',
  'UB_DOCTOR_RESTART',
  'UB_DOCTOR_CLIENT_DNS',
  'UB_DOCTOR_CLIENT_SECOND_NETWORK',
  'UB_DOCTOR_CLIENT_FORGES',
  'UB_DOCTOR_SETTING',
  'UB_DOCTOR_PROFILE',
  'UB_DOCTOR_SERVER_CHECK',
  'UB_DOCTOR_CREDENTIALS',
  'UB_DOCTOR_DEFAULT_ROUTE',
  'UB_DOCTOR_MTU',
  'UB_DOCTOR_KERNEL',
  'UB_DOCTOR_KERNEL_OLD',
] as const;

export type DoctorCode = (typeof doctorCodes)[number];

/**
 * `leak`: packets or questions can get out past the tunnel. `break`: something does not work, or will not at the next
 * start. `warning`: neither by itself, but it makes one of them likelier.
 */
export type Severity = 'leak' | 'break' | 'warning';

/** One thing that is wrong, in three clauses without full stops. None ever holds a secret. */
export interface Finding {
  readonly code: DoctorCode;
  readonly severity: Severity;
  /** What was seen, with the name of what has it. */
  readonly what: string;
  /** Why it matters. */
  readonly why: string;
  /** What to type, or to write into the Compose file. */
  readonly remedy: string;
}

/** For scripts: 0 nothing found, 1 something leaks or breaks, 3 nothing but warnings. */
export function exitCodeFor(findings: readonly Finding[]): 0 | 1 | 3 {
  if (findings.length === 0) return 0;
  return findings.every(({ severity }) => severity === 'warning') ? 3 : 1;
}
