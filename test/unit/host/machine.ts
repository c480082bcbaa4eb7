import { emptyConfig, type HostConfig } from '../../../src/host/host-config.ts';
import type { HostPlan } from '../../../src/host/host-plan.ts';
import { planHost } from '../../../src/host/plan.ts';
import type { Family } from '../../../src/host/resource.ts';
import type {
  ContainerDetails,
  DockerContainer,
  DockerNetwork,
  DockerSnapshot,
  HostKernel,
  PublishedPort,
} from '../../../src/host/snapshot.ts';
import { parseSave, type SavedTable } from '../../../src/ruleset/iptables-restore.ts';

type Saved = ReadonlyMap<string, SavedTable>;

/** What `iptables-save` says where Docker 20.10 runs, as far as it matters. */
export const dockerRules = `*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A DOCKER-USER -i eth0 -j DROP
-A DOCKER-USER -j RETURN
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
COMMIT
`;

export function network(name: string, subnet: string, more: Partial<DockerNetwork> = {}): DockerNetwork {
  return {
    id: name.padEnd(64, '0'),
    name,
    driver: 'bridge',
    isInternal: false,
    options: {},
    labels: {},
    bridge: `br-${name}`,
    ranges: [{ subnet, auxiliary: {} }],
    ...more,
  };
}

/** @param addresses IPv4 by network */
export function container(
  name: string,
  addresses: Readonly<Record<string, string>>,
  more: Partial<DockerContainer> = {},
): DockerContainer {
  return {
    id: name.padEnd(64, '0'),
    name,
    labels: {},
    networkMode: Object.keys(addresses)[0] ?? 'none',
    endpoints: Object.entries(addresses).map(([of, ipv4]) => ({ network: of, ipv4, ipv6: '', gatewayPriority: 0 })),
    ports: [],
    ...more,
  };
}

/** `8080:80/udp`, `10.0.0.1:8080:80`; tcp where nothing is said. */
export function port(text: string): PublishedPort {
  const [, hostIp = '0.0.0.0', hostPort, containerPort, protocol = 'tcp'] =
    /^(?:(.+):)?(\d+):(\d+)(?:\/(\w+))?$/.exec(text) ?? [];
  return {
    hostIp,
    hostPort: Number(hostPort),
    containerPort: Number(containerPort),
    protocol: protocol as PublishedPort['protocol'],
  };
}

export function details(more: Partial<ContainerDetails> = {}): ContainerDetails {
  return { pid: 1000, dns: ['172.22.0.1'], isRouter: false, ...more };
}

export const router = container(
  'router',
  { underbridge: '172.22.0.2' },
  { details: details({ pid: 999, isRouter: true, ipAddr: '172.22.0.1/24' }) },
);

/** The isolated network of the recipe, listed in the host file. */
export const underbridge = network('underbridge', '172.22.0.0/24', {
  bridge: 'underbr',
  ranges: [{ subnet: '172.22.0.0/24', auxiliary: { DefaultGatewayIPv4: '172.22.0.1' } }],
});

export const apps = network('apps', '10.90.0.0/24');
export const others = network('others', '10.91.0.0/24');

export interface Given {
  readonly config?: Partial<HostConfig>;
  readonly docker?: Partial<DockerSnapshot>;
  readonly kernel?: Partial<HostKernel>;
  /** Text of iptables-save. */
  readonly saved?: string;
}

/** Plans for a machine where every network's bridge has the subnet's first address, but for underbr. */
export function plan({ config = {}, docker = {}, kernel = {}, saved = dockerRules }: Given): HostPlan {
  const networks = docker.networks ?? [apps, others, underbridge];
  const links = [
    { name: 'tailscale0', addresses: ['100.64.0.1/32'] },
    { name: 'eth0', addresses: ['192.0.2.5/24'] },
    ...networks.map(({ bridge, ranges }) => ({
      name: bridge,
      addresses: bridge === 'underbr' ? [] : ranges.map(({ subnet }) => subnet.replace(/0\/24$/, '1/24')),
    })),
  ];
  return planHost({
    config: { ...emptyConfig, ...config },
    snapshot: {
      docker: { version: '28.5.2', containers: [], ...docker, networks },
      kernel: { saved: { ipv4: parseSave(saved) }, links, namespaces: new Map(), ...kernel },
    },
  });
}

/** The rules of one chain of ours, without the prefix; empty: there is no such chain. */
export function rulesOf(
  { rules }: HostPlan,
  [table, chain]: readonly [string, string],
  family: Family = 'ipv4',
): readonly string[] {
  const found = rules.find((one) => one.family === family)?.tables.find(({ name }) => name === table);
  return found?.chains.find(({ name }) => name === `UNDERBRIDGE-${chain}`)?.rules ?? [];
}

/** What the tables are after `iptables-restore --noflush` took the text. Throws what the program would not take. */
export function restored(saved: Saved, text: string): Saved {
  const tables = new Map(
    [...saved].map(([name, { policies, chains }]) => [
      name,
      { policies, chains: new Map([...chains].map(([chain, rules]) => [chain, [...rules]])) },
    ]),
  );
  let chains = new Map<string, string[]>();
  const rulesIn = (chain: string) => {
    const rules = chains.get(chain);
    if (rules === undefined) throw new Error(`no chain ${chain}`);
    return rules;
  };
  for (const line of text.split('\n')) {
    const [, verb = '', chain = '', rest = ''] = /^(\*|:|-\w )(\S+) ?(.*)$/.exec(line) ?? [];
    if (verb === '*') {
      chains = tables.get(chain)?.chains ?? builtIn(chain);
      tables.set(chain, { policies: new Map(), chains });
    } else if (verb === ':') chains.set(chain, []);
    else if (verb === '-A ') rulesIn(chain).push(rest);
    else if (verb === '-F ') rulesIn(chain).splice(0);
    else if (verb === '-X ') removeChain(chains, chain);
    else if (verb === '-D ') {
      const at = rulesIn(chain).indexOf(rest);
      if (at === -1) throw new Error(`no rule ${line}`);
      rulesIn(chain).splice(at, 1);
    } else if (verb === '-I ') {
      const [, index = '', rule = ''] = /^(\d+) (.*)$/.exec(rest) ?? [];
      if (Number(index) > rulesIn(chain).length + 1) throw new Error(`no place ${line}`);
      rulesIn(chain).splice(Number(index) - 1, 0, rule);
    } else if (line !== '' && line !== 'COMMIT') throw new Error(`not understood: ${line}`);
  }
  return tables;
}

function builtIn(table: string): Map<string, string[]> {
  const hooks = table === 'filter' ? ['INPUT', 'FORWARD', 'OUTPUT'] : ['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING'];
  return new Map([...hooks, ...(table === 'mangle' ? ['FORWARD'] : [])].map((hook) => [hook, []]));
}

function removeChain(chains: Map<string, string[]>, chain: string): void {
  const users = [...chains].filter(([, rules]) => rules.some((rule) => rule.endsWith(`-j ${chain}`)));
  if (users.length > 0 || chains.get(chain)?.length !== 0) throw new Error(`${chain} is in use`);
  chains.delete(chain);
}
