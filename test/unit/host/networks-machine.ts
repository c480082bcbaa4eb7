import assert from 'node:assert/strict';
import { renderFaults } from '../../../src/config/report.ts';
import { describeDockerStep, type HostPlan } from '../../../src/host/host-plan.ts';
import { type NetworksFile, parseNetworksFile } from '../../../src/host/networks-file.ts';
import type { DockerContainer } from '../../../src/host/snapshot.ts';
import { container, details, type Given, network, plan } from './machine.ts';

/** The example of network-go's own documentation, as it is. */
export const documented = {
  networks: {
    'smarthost-loadbalancer': {
      network_name: 'smarthost-loadbalancer',
      subnet: '172.18.103.0/24',
      gateway: '172.18.103.1',
    },
    'smarthost_backend-1': { network_name: 'smarthost_backend-1', subnet: '172.18.104.0/24', gateway: '172.18.104.1' },
  },
  ips: {
    '172.18.103.2': {
      ip: '172.18.103.2',
      container_name: 'smarthostloadbalancer',
      selector: 'smarthostloadbalancer',
      service_name: 'smarthost-proxy',
    },
    '172.18.104.2': {
      ip: '172.18.104.2',
      container_name: 'smarthostbackend-1',
      selector: 'smarthostbackend-1',
      service_name: 'smarthost-proxy',
    },
  },
  policies: [
    {
      service_name: 'smarthost-proxy',
      container_name: 'smarthost_loadbalancer',
      selector: 'smarthostloadbalancer',
      from: 'publicbackend',
      port: 80,
      proto: 'tcp',
    },
    {
      service_name: 'smarthost-proxy',
      container_name: 'smarthost_loadbalancer',
      selector: 'smarthostloadbalancer',
      name: 'wireguardproxy',
      iface: 'wg0',
      nat: 'dnat',
      to: 'smarthostloadbalancer',
      port: 80,
      proto: 'tcp',
    },
  ],
};

export function read(given: unknown): NetworksFile {
  const parsed = parseNetworksFile(JSON.stringify(given, undefined, 2), 'networks.json');
  return parsed.kind === 'ok' ? parsed.value : assert.fail(JSON.stringify(parsed.faults));
}

/** Containers with real-looking ids, since comments hold them. */
export function running(name: string, addresses: Readonly<Record<string, string>>, pid: number): DockerContainer {
  const id = Buffer.from(name).toString('hex').padEnd(64, '0').slice(0, 64);
  return { ...container(name, addresses), id, details: details({ pid }) };
}

export const front = network('front', '10.50.0.0/24');
export const back = network('back', '10.51.0.0/24');
/** A file for the networks above; `more` in place of its parts. */
export const small = {
  networks: {
    front: { subnet: '10.50.0.0/24', gateway: '10.50.0.1' },
    rear: { network_name: 'back', subnet: '10.51.0.0/24', gateway: '10.51.0.1' },
  },
  ips: {
    '10.50.0.10': { container_name: 'proxy', selector: 'edge' },
    '10.51.0.10': { container_name: 'proxy', selector: 'edge' },
    '10.51.0.21': { container_name: 'web-1', selector: 'web' },
    '10.51.0.22': { container_name: 'web-2', selector: 'web' },
  },
};
export const proxy = running('proxy', { front: '10.50.0.10', back: '10.51.0.10' }, 71);
export const web1 = running('web-1', { back: '10.51.0.21' }, 72);
export const web2 = running('web-2', { back: '10.51.0.22' }, 73);

/** Plans for a file on a machine where all of it is there already. */
export function planFile(file: object, more: Given = {}) {
  return plan({
    ...more,
    config: { networks: read(file), ...more.config },
    docker: { networks: [front, back], containers: [proxy, web1, web2], ...more.docker },
  });
}

/** With the policies. */
export function planPolicies(policies: readonly object[], more: Given = {}) {
  return planFile({ ...small, policies }, more);
}

/** Each fault's line, as people read it. */
export const faultsOf = ({ faults }: Pick<HostPlan, 'faults'>) =>
  renderFaults(faults, '')
    .split('\n')
    .slice(1)
    .map((line) => line.trim());
export const stepsOf = ({ docker }: HostPlan) => docker.map(describeDockerStep);
export const resourcesOf = ({ resources }: HostPlan) => resources.map(({ kind }) => kind);
