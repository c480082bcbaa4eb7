// Machines as Docker tells of them, healthy and not, and what doctor has to say of each.
import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { DockerWorld, SeenContainer, SeenNetwork } from '../../../src/doctor/docker-world.ts';
import type { DoctorCode, Severity } from '../../../src/doctor/finding.ts';
import { examineRouters } from '../../../src/doctor/router-checks.ts';

export const isolated: SeenNetwork = {
  name: 'underbridge',
  driver: 'bridge',
  isInternal: false,
  hasIpv6: false,
  options: {
    'com.docker.network.bridge.inhibit_ipv4': 'true',
    'com.docker.network.bridge.enable_ip_masquerade': 'false',
  },
  ranges: [{ subnet: '172.22.0.0/24', gateway: '172.22.0.254', defaultGateway: '172.22.0.1' }],
};
export const internet: SeenNetwork = {
  name: 'internet',
  driver: 'bridge',
  isInternal: false,
  hasIpv6: false,
  options: {},
  ranges: [{ subnet: '172.18.0.0/16', gateway: '172.18.0.1' }],
};
export const host: SeenNetwork = { ...internet, name: 'host', driver: 'host', ranges: [] };
export const router: SeenContainer = {
  name: 'router',
  isRouter: true,
  ipAddr: '172.22.0.1/24',
  networks: ['internet', 'underbridge'],
  dns: [],
  capabilities: { added: ['NET_ADMIN'], dropped: [], isPrivileged: false },
  devices: ['/dev/net/tun'],
  sysctls: { 'net.ipv4.ip_forward': '0' },
  restart: 'unless-stopped',
};
export const client: SeenContainer = {
  name: 'client',
  isRouter: false,
  networks: ['underbridge'],
  dns: ['172.22.0.1'],
  capabilities: { added: [], dropped: ['NET_RAW'], isPrivileged: false },
  devices: [],
  sysctls: {},
  restart: 'no',
};
/** Not a client: whatever it does is no business of ours. */
export const stranger: SeenContainer = {
  ...client,
  name: 'stranger',
  networks: ['internet'],
  dns: [],
  capabilities: { ...client.capabilities, isPrivileged: true },
};
export const healthy: DockerWorld = {
  version: '28.5.2',
  networks: [host, internet, isolated],
  containers: [router, client, stranger],
};

export const withNetwork = (change: Partial<SeenNetwork>): Partial<DockerWorld> => ({
  networks: [host, internet, { ...isolated, ...change }],
});
export const withOptions = (options: Readonly<Record<string, string>>) =>
  withNetwork({
    options: Object.fromEntries(
      Object.entries({ ...isolated.options, ...prefixed(options) }).filter(([, value]) => value !== ''),
    ),
  });
const prefixed = (options: Readonly<Record<string, string>>) =>
  Object.fromEntries(Object.entries(options).map(([name, value]) => [`com.docker.network.bridge.${name}`, value]));
export const withRouter = (change: Partial<SeenContainer>): Partial<DockerWorld> => ({
  containers: [{ ...router, ...change }, client, stranger],
});
export const withClient = (change: Partial<SeenContainer>): Partial<DockerWorld> => ({
  containers: [router, client, { ...client, name: 'app', ...change }],
});

export const examine = (world: Partial<DockerWorld>) => examineRouters(['router'], { ...healthy, ...world });

export interface Well {
  readonly given: string;
  readonly world: Partial<DockerWorld>;
}

/** The healthy world but for one thing; it has exactly one finding. */
export interface Sick extends Well {
  readonly finds: readonly [Severity, DoctorCode];
  readonly says?: RegExp;
  readonly advises?: RegExp;
}

export function testWorlds({ well, sick }: { readonly well: readonly Well[]; readonly sick: readonly Sick[] }): void {
  for (const { given, world } of well) {
    it(`finds nothing with ${given}`, () => {
      assert.deepEqual(examine(world).findings, []);
    });
  }

  for (const { given, world, finds, says, advises } of sick) {
    it(`finds ${finds[1]} with ${given}, and nothing else`, () => {
      const { findings } = examine(world);
      assert.deepEqual(
        findings.map(({ severity, code }) => [severity, code]),
        [finds],
      );
      if (says !== undefined) assert.match(findings[0]?.what ?? '', says);
      if (advises !== undefined) assert.match(findings[0]?.remedy ?? '', advises);
    });
  }
}
