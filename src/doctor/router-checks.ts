import { parseGateway } from '../config/gateway.ts';
import { parseIpv6Gateway } from '../config/ipv6.ts';
import { contains, type Ipv4Cidr, parseIpv4Cidr, parseIpv6Cidr, renderCidr, renderSubnet } from '../net/address.ts';
import { checkClient } from './client-checks.ts';
import { type DockerWorld, holdsCapability, type SeenContainer } from './docker-world.ts';
import { settingFindings } from './fault-findings.ts';
import type { Finding } from './finding.ts';
import { checkNetwork, type IsolatedNetwork, rangeOf } from './network-checks.ts';
import type { Report } from './report.ts';
import { quoteWord } from './shell-word.ts';

/** Everything that Docker can tell of the routers with these names, their networks and their clients. */
export function examineRouters(names: readonly string[], world: DockerWorld): Report {
  const routers = world.containers.filter(({ name }) => names.includes(name));
  const clients = routers.flatMap((router) => findClients(findIsolated(router, world), world));
  return {
    scope: { kind: 'docker', routers: names, clients: new Set(clients).size },
    findings: [...checkVersion(world), ...routers.flatMap((router) => checkRouter(router, world))],
  };
}

function checkRouter(router: SeenContainer, world: DockerWorld): readonly Finding[] {
  if (router.isSidecar) return checkContainer(router);
  const own = [...checkContainer(router), ...checkIpv6Settings(router)];
  const parsed = parseGateway(router.ipAddr?.trim() ?? '');
  if (parsed.kind === 'faults') return [...settingFindings(parsed.faults), ...own];
  const isolated = findIsolated(router, world);
  if (isolated === undefined) return [lostRouter(router, parsed.value, world), ...own];
  return [
    ...checkNetwork(isolated, world),
    ...findClients(isolated, world).flatMap((client) => checkClient(client, { isolated, world })),
    ...checkUplink(router, isolated, world),
    ...checkPrefix(isolated),
    ...own,
  ];
}

function findClients(isolated: IsolatedNetwork | undefined, { containers }: DockerWorld): readonly SeenContainer[] {
  if (isolated === undefined) return [];
  return containers.filter(({ isRouter, networks }) => !isRouter && networks.includes(isolated.network.name));
}

/** What is known of networks and resolvers begins with 20.10; nobody has looked at older ones. */
function checkVersion({ version }: DockerWorld): readonly Finding[] {
  const [major = 0, minor = 0] = version.split('.').map((part) => Number.parseInt(part, 10));
  if (major > 20 || (major === 20 && minor >= 10)) return [];
  return [
    {
      code: 'UB_DOCTOR_DOCKER_VERSION',
      severity: 'warning',
      what: `the engine is ${version}`,
      why: 'nobody has tried whether its networks and its resolver leak; what is known begins with Docker 20.10',
      remedy: 'docker version, and the documentation of your system on how to install Docker 20.10 or later',
    },
  ];
}

function checkContainer(router: SeenContainer): readonly Finding[] {
  const { name, capabilities, devices, sysctls, restart } = router;
  const missing = (['NET_ADMIN', 'SETUID', 'SETGID'] as const).filter((each) => !holdsCapability(router, each));
  const findings: Finding[] = [];
  if (missing.length > 0) {
    findings.push({
      code: 'UB_DOCTOR_CAPABILITIES',
      severity: 'break',
      what: `the router ${name} has no ${missing.join(', ')}`,
      why: 'it cannot write its rules or start OpenVPN, and does not start',
      remedy: `--cap-add ${missing.join(' --cap-add ')} (Compose: \`cap_add: [NET_ADMIN, SETUID, SETGID]\`)`,
    });
  }
  if (!capabilities.isPrivileged && !devices.includes('/dev/net/tun')) {
    findings.push({
      code: 'UB_DOCTOR_TUN',
      severity: 'break',
      what: `the router ${name} has no /dev/net/tun`,
      why: 'there can be no tunnel, and it does not start',
      remedy: '--device /dev/net/tun (Compose: `devices: [/dev/net/tun]`)',
    });
  }
  if (!router.isSidecar && sysctls['net.ipv4.ip_forward'] !== '0') findings.push(forwardsAtBoot(`the router ${name}`));
  if (restart === 'no') {
    findings.push({
      code: 'UB_DOCTOR_RESTART',
      severity: 'warning',
      what: `nothing starts the router ${name} again`,
      why: 'when it is killed, its clients stay cut off',
      remedy: `docker update --restart unless-stopped ${name} (Compose: \`restart: unless-stopped\`)`,
    });
  }
  return findings;
}

/** @param who names the router */
export function forwardsAtBoot(who: string): Finding {
  return {
    code: 'UB_DOCTOR_IP_FORWARD',
    severity: 'warning',
    what: `${who} starts with net.ipv4.ip_forward=1`,
    why: 'until the locks are in, the kernel forwards for a client that knows its hardware address',
    remedy: '--sysctl net.ipv4.ip_forward=0 (Compose: `sysctls: {net.ipv4.ip_forward: 0}`)',
  };
}

/** Docker mounts /proc/sys read-only; what it was told to set before that stands in the container's own settings. */
const ipv6Sysctls = ['net.ipv6.conf.all.forwarding', 'net.ipv6.conf.all.ndisc_notify'] as const;

function checkIpv6Settings({ ip6Addr, sysctls, capabilities }: SeenContainer): readonly Finding[] {
  if (ip6Addr === undefined) return [];
  const parsed = parseIpv6Gateway(ip6Addr.trim());
  const lacking = capabilities.isPrivileged ? [] : ipv6Sysctls.filter((name) => sysctls[name] !== '1');
  return settingFindings([
    ...(parsed.kind === 'faults' ? parsed.faults : []),
    ...lacking.map((name) => ({
      name: 'IPV6',
      value: 'tunnel',
      problem: `the container has not ${name}=1, and cannot set it itself`,
      hint: `--sysctl ${name}=1 (Compose: \`sysctls: {${name}: 1}\`)`,
    })),
  ]);
}

function findIsolated({ networks, ipAddr, ip6Addr }: SeenContainer, world: DockerWorld): IsolatedNetwork | undefined {
  const gateway = parseGateway(ipAddr?.trim() ?? '');
  if (gateway.kind === 'faults') return undefined;
  const ipv6 = parseIpv6Gateway(ip6Addr?.trim() ?? '');
  const carried = ipv6.kind === 'ok' ? { gateway6: ipv6.value } : {};
  return world.networks
    .filter(({ name }) => networks.includes(name))
    .flatMap((network) => network.ranges.map((range) => ({ network, range, subnet: parseIpv4Cidr(range.subnet) })))
    .flatMap(({ subnet, ...seen }) =>
      subnet === undefined ? [] : [{ ...seen, subnet, gateway: gateway.value, ...carried }],
    )
    .find(({ subnet }) => contains(subnet, gateway.value.address));
}

function lostRouter({ name, networks }: SeenContainer, gateway: Ipv4Cidr, world: DockerWorld): Finding {
  const home = world.networks.find(({ ranges }) =>
    ranges.some(({ subnet }) => parseIpv4Cidr(subnet) !== undefined && renderSubnet(gateway) === subnet),
  );
  return {
    code: 'UB_DOCTOR_ROUTER_NETWORKS',
    severity: 'break',
    what: `the router ${name} is in no network with ${renderCidr(gateway)} (it is in ${networks.join(', ') || 'none'})`,
    why: 'it cannot take the gateway address, so it does not start',
    remedy:
      home === undefined
        ? 'make the isolated network as the README says, and attach the router to it and to a network that leads out'
        : `docker network connect ${quoteWord(home.name)} ${name}`,
  };
}

function checkUplink(
  { name, networks }: SeenContainer,
  { network }: IsolatedNetwork,
  world: DockerWorld,
): readonly Finding[] {
  const uplinks = world.networks.filter((other) => networks.includes(other.name) && other.name !== network.name);
  if (uplinks.length === 0) {
    return [
      {
        code: 'UB_DOCTOR_ROUTER_NETWORKS',
        severity: 'break',
        what: `the router ${name} has no network besides the isolated one`,
        why: 'it has no way to the VPN server, and does not start',
        remedy: `docker network create internet; docker network connect internet ${name}`,
      },
    ];
  }
  if (uplinks.some(({ isInternal }) => !isInternal)) return [];
  return uplinks.map((uplink) => ({
    code: 'UB_DOCTOR_UPLINK_INTERNAL',
    severity: 'break',
    what: `the router's uplink ${uplink.name} was made with --internal`,
    why: 'it does not lead to the VPN server',
    remedy: `docker network create internet; docker network connect internet ${name}; docker network disconnect ${quoteWord(uplink.name)} ${name}`,
  }));
}

function checkPrefix({ network, subnet, gateway, gateway6 }: IsolatedNetwork): readonly Finding[] {
  const range6 = gateway6 === undefined ? undefined : rangeOf(network, gateway6);
  const families = [
    { name: 'IP_ADDR', own: gateway, whole: subnet },
    { name: 'IP6_ADDR', own: gateway6, whole: parseIpv6Cidr(range6?.subnet ?? '') },
  ];
  return families.flatMap(({ name, own, whole }) =>
    own === undefined || whole === undefined || own.prefixBits === whole.prefixBits
      ? []
      : settingFindings([
          {
            name,
            value: renderCidr(own),
            problem: `the isolated network ${network.name} is ${renderSubnet(whole)}, a subnet of another size`,
            hint: `set it to ${own.address}/${whole.prefixBits}`,
          },
        ]),
  );
}
