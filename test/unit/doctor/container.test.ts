import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type ContainerWorld, checkContainer } from '../../../src/doctor/container-checks.ts';
import type { DoctorCode, Severity } from '../../../src/doctor/finding.ts';
import type { IfName, Ipv4, Port } from '../../../src/net/address.ts';
import type { ProfileRemote } from '../../../src/openvpn/profile.ts';

const option = (name: string) => ({ name, parameters: [], line: 2 });
const remote: ProfileRemote = {
  host: '203.0.113.10',
  port: 1194 as Port,
  transport: 'udp',
  line: 1,
  options: [],
};
const settings = { gateway: { address: '172.22.0.1' as Ipv4, prefixBits: 24 } };
const profile = { name: 'client.ovpn', options: [option('remote-cert-tls')], remotes: [remote] } as const;
const uplink = { name: 'eth1' as IfName, mtuBytes: 1500 };
const none: ContainerWorld['faults'] = {
  settings: [],
  profile: [],
  credentials: [],
  networks: [],
  capabilities: [],
  tun: [],
  kernel: [],
};
const healthy: ContainerWorld = {
  faults: none,
  misspellings: [],
  settings,
  profiles: [profile],
  uplink,
  defaults: [{ device: 'eth1', gateway: '198.51.100.1' }],
  isForwarding: false,
  canRejectBeforeRouting: true,
};
const fault = { name: 'THING', value: 'v', problem: 'is wrong', hint: 'mend it' };

interface Sick {
  readonly given: string;
  readonly world: Partial<ContainerWorld>;
  readonly finds: readonly [Severity, DoctorCode];
  readonly says?: RegExp;
}

/** Each is the healthy world but for one thing, and has exactly one finding. */
const sick: readonly Sick[] = [
  {
    given: 'a faulty setting',
    world: { faults: { ...none, settings: [fault] } },
    finds: ['break', 'UB_DOCTOR_SETTING'],
    says: /^THING="v": is wrong/,
  },
  {
    given: 'a variable that looks like a setting',
    world: { misspellings: [fault] },
    finds: ['warning', 'UB_DOCTOR_SETTING'],
  },
  {
    given: 'a profile that is refused',
    world: { faults: { ...none, profile: [fault] } },
    finds: ['break', 'UB_DOCTOR_PROFILE'],
  },
  {
    given: 'a profile that believes any certificate of its authority',
    world: { profiles: [{ ...profile, options: [] }] },
    finds: ['warning', 'UB_DOCTOR_SERVER_CHECK'],
    says: /client\.ovpn/,
  },
  {
    given: 'a second profile that believes any certificate of its authority',
    world: { profiles: [profile, { ...profile, name: 'spare.ovpn', options: [] }] },
    finds: ['warning', 'UB_DOCTOR_SERVER_CHECK'],
    says: /spare\.ovpn/,
  },
  {
    given: 'an uplink of 1400 bytes, and mssfix in one of two profiles',
    world: {
      uplink: { ...uplink, mtuBytes: 1400 },
      profiles: [{ ...profile, options: [...profile.options, option('mssfix')] }, profile],
    },
    finds: ['warning', 'UB_DOCTOR_MTU'],
  },
  {
    given: 'no credentials',
    world: { faults: { ...none, credentials: [fault] } },
    finds: ['break', 'UB_DOCTOR_CREDENTIALS'],
  },
  {
    given: 'networks that cannot be told apart',
    world: { faults: { ...none, networks: [fault] } },
    finds: ['break', 'UB_DOCTOR_ROUTER_NETWORKS'],
  },
  {
    given: 'a missing capability, without which the kernel cannot be asked',
    world: { faults: { ...none, capabilities: [fault] } },
    finds: ['break', 'UB_DOCTOR_CAPABILITIES'],
  },
  {
    given: 'no tunnel device',
    world: { faults: { ...none, tun: [fault] } },
    finds: ['break', 'UB_DOCTOR_TUN'],
  },
  {
    given: 'a kernel that does not take the firewall',
    world: { faults: { ...none, kernel: [fault] } },
    finds: ['break', 'UB_DOCTOR_KERNEL'],
  },
  {
    given: 'a kernel before 5.9',
    world: { canRejectBeforeRouting: false },
    finds: ['warning', 'UB_DOCTOR_KERNEL_OLD'],
  },
  {
    given: 'a default route through the router itself',
    world: { defaults: [{ device: 'eth0', gateway: '172.22.0.1' }] },
    finds: ['warning', 'UB_DOCTOR_DEFAULT_ROUTE'],
    says: /leads to 172\.22\.0\.1, which is the router itself/,
  },
  {
    given: 'no default route at all',
    world: { defaults: [] },
    finds: ['warning', 'UB_DOCTOR_DEFAULT_ROUTE'],
    says: /no default route .* eth1/,
  },
  { given: 'forwarding from the start', world: { isForwarding: true }, finds: ['warning', 'UB_DOCTOR_IP_FORWARD'] },
  {
    given: 'an uplink of 1491 bytes',
    world: { uplink: { ...uplink, mtuBytes: 1491 } },
    finds: ['warning', 'UB_DOCTOR_MTU'],
    says: /eth1 carries 1491 bytes/,
  },
  {
    given: 'an uplink of 1400 bytes, and mssfix for one of two servers',
    world: {
      uplink: { ...uplink, mtuBytes: 1400 },
      profiles: [{ ...profile, remotes: [{ ...remote, options: [option('mssfix')] }, remote] }],
    },
    finds: ['warning', 'UB_DOCTOR_MTU'],
  },
];

const well: readonly { readonly given: string; readonly world: Partial<ContainerWorld> }[] = [
  { given: 'all as the README says', world: {} },
  {
    given: 'no default route, and UPLINK_GATEWAY',
    world: { defaults: [], settings: { ...settings, uplinkGateway: '198.51.100.1' as Ipv4 } },
  },
  { given: 'an uplink of 1492 bytes', world: { uplink: { ...uplink, mtuBytes: 1492 } } },
  {
    given: 'a narrow uplink, and MSS',
    world: { uplink: { ...uplink, mtuBytes: 1400 }, settings: { ...settings, mssBytes: 1220 } },
  },
  {
    given: 'a narrow uplink, and mssfix in the profile',
    world: {
      uplink: { ...uplink, mtuBytes: 1400 },
      profiles: [{ ...profile, options: [...profile.options, option('mssfix')] }],
    },
  },
  {
    given: 'a narrow uplink, and TCP, which finds its own size',
    world: {
      uplink: { ...uplink, mtuBytes: 1400 },
      profiles: [{ ...profile, remotes: [{ ...remote, transport: 'tcp' }] }],
    },
  },
  ...['ns-cert-type', 'verify-x509-name', 'peer-fingerprint'].map((name) => ({
    given: `a server that is checked by ${name}`,
    world: { profiles: [{ ...profile, options: [option(name)] }] },
  })),
];

describe("doctor in the router's container", () => {
  for (const { given, world } of well) {
    it(`finds nothing with ${given}`, () => {
      assert.deepEqual(checkContainer({ ...healthy, ...world }), []);
    });
  }

  for (const { given, world, finds, says } of sick) {
    it(`finds ${finds[1]} with ${given}, and nothing else`, () => {
      const findings = checkContainer({ ...healthy, ...world });
      assert.deepEqual(
        findings.map(({ severity, code }) => [severity, code]),
        [finds],
      );
      if (says !== undefined) assert.match(findings[0]?.what ?? '', says);
    });
  }

  it('suggests an MSS that fits, and that the setting takes', () => {
    const suggested = [1491, 1280, 600].map((mtuBytes) => {
      const [finding] = checkContainer({ ...healthy, uplink: { ...uplink, mtuBytes } });
      return /^MSS=(\d+) /.exec(finding?.remedy ?? '')?.[1];
    });
    assert.deepEqual(suggested, ['1311', '1100', '536']);
  });
});
