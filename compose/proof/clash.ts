import { isIPv4 } from 'node:net';
import { type Commands, docker, project } from './stack.ts';

const demoSubnets = ['198.51.100.0/24', '203.0.113.0/24', '172.22.0.0/24'];
const demoBridges = ['ubdemo-uplink', 'ubdemo-isolated', 'ubdemo-internet'];

interface NetworkInspect {
  readonly Name: string;
  readonly Labels: Readonly<Record<string, string>> | null;
  readonly Options: Readonly<Record<string, string>> | null;
  readonly IPAM: { readonly Config: readonly { readonly Subnet?: string }[] | null };
}

/**
 * The networks on this machine that the demo cannot live with, each as a sentence that says what to do. The demo's
 * addresses are fixed (they are in its profile and in its proof), so a clash cannot be evaded.
 */
export async function findClashes(commands: Commands): Promise<string[]> {
  const ids = await docker(commands, ['network', 'ls', '--quiet', '--filter', 'driver=bridge']);
  if (ids === '') return [];
  const networks = JSON.parse(await docker(commands, ['network', 'inspect', ...ids.split('\n')])) as NetworkInspect[];
  const names = [
    process.env.UNDERBRIDGE_UPLINK ?? `${project}-1-uplink`,
    process.env.UNDERBRIDGE_ISOLATED ?? `${project}-2-isolated`,
    process.env.UNDERBRIDGE_INTERNET ?? `${project}-3-internet`,
  ];
  return networks
    .filter((network) => network.Labels?.['com.docker.compose.project'] !== project)
    .flatMap((network) => {
      const remedy = `Take it down for the demo: docker network rm ${network.Name}`;
      const subnets = (network.IPAM.Config ?? []).flatMap(({ Subnet }) => Subnet ?? []);
      const taken = demoSubnets.filter((own) => subnets.some((theirs) => overlaps(own, theirs)));
      const bridge = network.Options?.['com.docker.network.bridge.name'] ?? '';
      return [
        ...taken.map((own) => `the Docker network ${network.Name} uses ${own}, which the demo needs. ${remedy}`),
        ...(names.includes(network.Name) ? [`a Docker network is called ${network.Name} already. ${remedy}`] : []),
        ...(demoBridges.includes(bridge)
          ? [`the Docker network ${network.Name} has the bridge ${bridge}. ${remedy}`]
          : []),
      ];
    });
}

function overlaps(one: string, other: string): boolean {
  const [a, b] = [parse(one), parse(other)];
  if (a === undefined || b === undefined) return false;
  const shift = 2 ** (32 - Math.min(a.bits, b.bits));
  return Math.floor(a.base / shift) === Math.floor(b.base / shift);
}

function parse(subnet: string): { base: number; bits: number } | undefined {
  const [address = '', bits = ''] = subnet.split('/');
  if (!isIPv4(address)) return undefined;
  return { base: address.split('.').reduce((sum, byte) => sum * 256 + Number(byte), 0), bits: Number(bits) };
}
