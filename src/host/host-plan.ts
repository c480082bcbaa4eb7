import type { Fault } from '../errors.ts';
import type { Address, FirstProcess, Resource } from './resource.ts';
import type { HostRules } from './rules.ts';

/** The whole wanted state. What of it is to be done is computed by comparing it with the kernel. */
export interface HostPlan {
  readonly resources: readonly Resource[];
  readonly rules: readonly HostRules[];
  readonly docker: readonly DockerStep[];
  readonly machine: readonly MachineStep[];
  readonly namespaces: readonly NamespaceStep[];
  /** What was asked for and cannot be: left out of the rules, while the rest holds. */
  readonly faults: readonly Fault[];
  /** What lets something out, or does nothing, for the log, the status and the metrics. */
  readonly findings: readonly HostFinding[];
}

/** Something for Docker to do. */
export type DockerStep =
  | { readonly kind: 'create-network'; readonly name: string; readonly subnet: string; readonly gateway: string }
  /** `move`: it is there, with another address. */
  | {
      readonly kind: 'connect' | 'move';
      readonly network: string;
      readonly container: string;
      readonly containerId: string;
      readonly address: Address;
    };

/** For people: what a step does. */
export function describeDockerStep(step: DockerStep): string {
  if (step.kind === 'create-network') return `docker network create --subnet ${step.subnet} ${step.name}`;
  return `docker network ${step.kind} --ip ${step.address.text} ${step.network} ${step.container}`;
}

/** Something to do in the machine's own namespace, besides its rules. */
export interface MachineStep {
  readonly kind: 'enable-forwarding';
}

/** Something to do in a container's network namespace. */
export type NamespaceStep = FirstProcess & { readonly container: string } & (
    | { readonly kind: 'add-default-route'; readonly router: Address }
    | { readonly kind: 'cut-off' | 'let-go' }
    /** `restore`: input of `iptables-restore --noflush`. */
    | { readonly kind: 'set-rules'; readonly restore: string }
  );

export interface HostFinding {
  readonly code:
    | 'client-without-dns'
    | 'client-with-second-way'
    | 'client-without-route'
    | 'client-not-cut-off'
    | 'router-absent'
    | 'container-not-inspected'
    | 'forward-not-inside'
    | 'ipv6nat-by-docker'
    | 'ipv6-forwarding-off';
  /** A container, a network or a setting of the machine. */
  readonly subject: string;
  readonly problem: string;
  readonly hint: string;
}
