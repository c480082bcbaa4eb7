import { type Environment, parseRouterConfig } from '../config/env.ts';
import type { FirewallChoice } from '../config/router-config.ts';
import { clientsNetworkOf } from '../config/sidecar.ts';
import { type ContainerWorld, checkContainer } from '../doctor/container-checks.ts';
import type { Report } from '../doctor/report.ts';
import { examineRouters } from '../doctor/router-checks.ts';
import { UnderbridgeError } from '../errors.ts';
import { observeDocker } from '../system/docker.ts';
import { observeForwarding } from '../system/forwarding.ts';
import { changeNetwork } from '../system/iproute.ts';
import { findIpv6Obstacles } from '../system/ipv6.ts';
import { findMissing } from '../system/prerequisites.ts';
import { remoteFaults } from './reach-faults.ts';
import { type CheckedRules, checkRules } from './router-rules.ts';
import { observeDefaults, observeKnownInterfaces, readNamedFiles, unmetWants } from './router-setup.ts';

/**
 * Looks for what leaks or breaks. A container that is named, or any where IP_ADDR is not set, is looked at through
 * Docker's socket; the router's own container from inside. Changes nothing and sends no packet.
 * @throws UnderbridgeError UB_DOCKER when there is nothing to look at.
 */
export async function runDoctor({
  env,
  container,
}: {
  readonly env: Environment;
  readonly container?: string | undefined;
}): Promise<Report> {
  if (container === undefined && ((env.IP_ADDR ?? '') !== '' || clientsNetworkOf(env).kind === 'ok')) {
    return { scope: { kind: 'container' }, findings: checkContainer(await observeContainer(env)) };
  }
  const { links } = await changeNetwork([]);
  const { world, routers } = await observeDocker({ wanted: container, links });
  if (routers.length === 0) {
    throw new UnderbridgeError({
      code: 'UB_DOCKER',
      message: 'Docker has no container that runs the router',
      hint: 'start it, or name the container that should be one',
    });
  }
  return examineRouters(routers, world);
}

async function observeContainer(env: Environment): Promise<ContainerWorld> {
  const parsed = parseRouterConfig(env);
  const config = parsed.kind === 'ok' ? parsed.value.config : undefined;
  const network = await changeNetwork([]);
  const { known, profiles, complete, controlToken } = readNamedFiles(parsed);
  const interfaces = observeKnownInterfaces(known, network);
  const missing = findMissing();
  const isCapability = ({ name }: { readonly name: string }) => name === 'capabilities';
  // Without it the kernel refuses to answer, which says nothing about what it could do.
  const kernel = missing.some(({ value }) => value === 'NET_ADMIN')
    ? undefined
    : await observeKernel(config?.firewall ?? 'auto');
  const uplink = interfaces.kind === 'ok' ? interfaces.value.uplink : undefined;
  // What is not known is not held against a profile.
  const families = {
    ipv4: uplink === undefined || uplink.cidr !== undefined,
    ipv6: uplink === undefined || uplink.ipv6 !== undefined,
  };
  return {
    faults: {
      settings: [
        ...(parsed.kind === 'faults' ? parsed.faults : []),
        ...unmetWants(known, { profiles, network }),
        ...(controlToken.kind === 'faults' ? controlToken.faults : []),
        ...(known.ipv6 === undefined ? [] : findIpv6Obstacles()),
      ],
      profile:
        profiles.kind === 'faults'
          ? profiles.faults
          : profiles.value.flatMap((profile) => remoteFaults(profile, known, families)),
      credentials: complete.kind === 'faults' ? complete.faults : [],
      networks: interfaces.kind === 'faults' ? interfaces.faults : [],
      capabilities: missing.filter(isCapability),
      tun: missing.filter((fault) => !isCapability(fault)),
      kernel: kernel?.faults ?? [],
    },
    misspellings: parsed.kind === 'ok' ? parsed.value.warnings : [],
    ...(config === undefined ? {} : { settings: config }),
    profiles: profiles.kind === 'ok' ? profiles.value : [],
    ...(uplink === undefined
      ? {}
      : {
          uplink: {
            name: uplink.name,
            mtuBytes: network.links.find(({ ifname }) => ifname === uplink.name)?.mtu ?? 0,
          },
        }),
    defaults: observeDefaults(network),
    isForwarding: config?.isSidecar !== true && observeForwarding('all'),
    ...(kernel === undefined || kernel.faults.length > 0
      ? {}
      : { canRejectBeforeRouting: kernel.canRejectBeforeRouting }),
  };
}

/** Settings that use all that a router may ask of the firewall: what the kernel can do does not depend on the user's. */
const anySettings: Environment = {
  IP_ADDR: '172.22.0.1/24',
  DNS: '198.51.100.53, 198.51.100.54',
  PORT_FWD: '172.22.0.128:4666, 8080:172.22.0.128:80/tcp, 172.22.0.128:5000-5010/udp',
  HEALTH_ADDR: '0.0.0.0:9797',
  MSS: '1300',
};

async function observeKernel(firewall: FirewallChoice): Promise<CheckedRules> {
  const parsed = parseRouterConfig(anySettings);
  if (parsed.kind === 'ok') return checkRules({ ...parsed.value.config, firewall });
  throw new UnderbridgeError({
    code: 'UB_INTERNAL',
    message: 'the settings that the kernel is tried with are faulty',
    hint: 'this is a bug in Underbridge, please report it',
  });
}
