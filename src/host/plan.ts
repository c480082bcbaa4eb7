import type { HostConfig } from './host-config.ts';
import type { HostPlan } from './host-plan.ts';
import type { HostSnapshot } from './snapshot.ts';

/** Computes the whole wanted state; pure, so the same input gives the same plan. */
export type PlanHost = (input: { readonly config: HostConfig; readonly snapshot: HostSnapshot }) => HostPlan;
