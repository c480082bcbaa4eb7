import { type Fault, ok, type Parsed } from '../errors.ts';
import { contains, type Ipv4Cidr, overlaps, parseIpv4, parseIpv4Cidr, renderSubnet } from '../net/address.ts';
import type { Complaint } from './address-fault.ts';
import { parsePortRange, renderPortRange } from './port-range.ts';
import type { LanAllowance, PortRange } from './router-config.ts';
import { isOwnNetwork, ownNetwork } from './sidecar.ts';

type SettingName = 'LAN_ALLOW' | 'LAN_ALLOW_IN';

const forms = {
  LAN_ALLOW: 'write SUBNET:tcp/PORT or SUBNET:udp/PORT, for example 192.168.1.0/24:tcp/8096',
  LAN_ALLOW_IN: 'write SUBNET:tcp/PORT:ADDRESS, for example 192.168.1.0/24:tcp/8096:172.22.0.128',
} as const;

/** Each takes three routing rules, and there is room for 90, whose preferences are 10 to 99. */
const mostEntries = 15;

/** Networks of homes and offices (RFC 1918), and of carriers and overlays (RFC 6598). */
const privateSubnets = ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10'].map(
  (text) => parseIpv4Cidr(text) as Ipv4Cidr,
);

/** DNS, and DNS over TLS or QUIC: who answers clients is up to DNS alone. */
const dnsPorts = [53, 853] as const;

/**
 * Parses LAN_ALLOW, entries `SUBNET:TRANSPORT/PORTS`, or LAN_ALLOW_IN, entries `SUBNET:TRANSPORT/PORTS:ADDRESS`, with
 * commas, semicolons or white space between them. A SUBNET may be one address. With MODE=sidecar there is no ADDRESS.
 * Each fault names its entry, counted from 1.
 *
 * @param isolated the isolated network; undefined when IP_ADDR is faulty itself, and then subnets are not compared
 */
export function parseLanAllow(
  name: SettingName,
  text: string,
  isolated: Ipv4Cidr | undefined,
): Parsed<readonly LanAllowance[]> {
  const entries = text.split(/[,;\s]+/).filter((entry) => entry !== '');
  const allowances: LanAllowance[] = [];
  const faults: Fault[] = [];
  for (const [index, value] of entries.entries()) {
    const read = readEntry(name, value, isolated);
    const before = 'problem' in read || name === 'LAN_ALLOW' ? -1 : allowances.findIndex((other) => meets(other, read));
    if ('problem' in read) faults.push({ name: `${name} entry ${index + 1}`, value, ...read });
    else if (before < 0) allowances.push(read);
    else
      faults.push({
        name: `${name} entry ${index + 1}`,
        value,
        problem: `has ports of another container's entry, ${renderAllowance(allowances[before] ?? read)}`,
        hint: 'give each port to one container',
      });
  }
  if (entries.length > mostEntries) {
    faults.push({
      name,
      problem: `has more than ${mostEntries} entries`,
      hint: 'use ranges of ports, or wider subnets',
    });
  }
  return faults.length > 0 ? { kind: 'faults', faults } : ok(allowances);
}

/** One of them for people: who reaches whom. */
export function renderAllowance({ subnet, transport, ports, target }: LanAllowance): string {
  const what = `${transport}/${renderPortRange(ports)}`;
  return target === undefined
    ? `clients to ${renderSubnet(subnet)} ${what}`
    : `${renderSubnet(subnet)} to ${target === ownNetwork.address ? 'this network namespace' : target} ${what}`;
}

function meets(one: LanAllowance, other: LanAllowance): boolean {
  return (
    one.target !== other.target &&
    one.transport === other.transport &&
    one.ports.first <= other.ports.last &&
    other.ports.first <= one.ports.last
  );
}

function readEntry(name: SettingName, text: string, isolated: Ipv4Cidr | undefined): LanAllowance | Complaint {
  const form = forms[isOwnNetwork(isolated) ? 'LAN_ALLOW' : name];
  const parts = /^([\d.]+(?:\/\d+)?):(tcp|udp)\/([\d-]+)(?::([\d.]+))?$/i.exec(text);
  if (parts === null) return { problem: 'does not name a subnet, a protocol and ports', hint: form };
  const [, subnetText = '', transportText = '', portText = '', targetText] = parts;
  const subnet = parseIpv4Cidr(subnetText.includes('/') ? subnetText : `${subnetText}/32`);
  if (subnet === undefined) return { problem: 'has no IPv4 subnet', hint: form };
  const complaint = complainAboutSubnet(subnet, isolated);
  if (complaint !== undefined) return complaint;
  const ports = parsePortRange(portText, 'inside');
  if (ports.kind === 'complaint') return { problem: 'has no port or range of ports from 1 to 65535', hint: form };
  const allowance = { subnet, transport: transportText.toLowerCase() as LanAllowance['transport'], ports: ports.range };
  if (name === 'LAN_ALLOW') {
    if (targetText !== undefined) return { problem: 'has an address after the ports', hint: form };
    return complainAboutDns(ports.range) ?? allowance;
  }
  if (isOwnNetwork(isolated)) {
    if (targetText === undefined) return { ...allowance, target: ownNetwork.address };
    const problem = 'has an address after the ports, and with MODE=sidecar they are of this network namespace';
    return { problem, hint: 'leave the address out' };
  }
  const target = parseIpv4(targetText ?? '');
  if (target === undefined) return { problem: 'does not name the address of a container', hint: form };
  if (isolated !== undefined && (!contains(isolated, target) || target === isolated.address)) {
    const problem = `has a target that is no container's in the isolated network ${renderSubnet(isolated)}`;
    return { problem, hint: 'give the address of a container in the isolated network' };
  }
  return { ...allowance, target };
}

function complainAboutSubnet(subnet: Ipv4Cidr, isolated: Ipv4Cidr | undefined): Complaint | undefined {
  const whole = renderSubnet(subnet);
  if (whole !== `${subnet.address}/${subnet.prefixBits}`) {
    return { problem: 'has an address inside its subnet', hint: `write ${whole}, or the address without the slash` };
  }
  if (!privateSubnets.some((each) => each.prefixBits <= subnet.prefixBits && contains(each, subnet.address))) {
    return {
      problem: 'is no local network',
      hint: 'give one of 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 and 100.64.0.0/10; all else goes through the tunnel',
    };
  }
  if (isolated === undefined || !overlaps(isolated, subnet)) return undefined;
  return {
    problem: `shares addresses with the isolated network ${renderSubnet(isolated)}`,
    hint: 'name another subnet',
  };
}

function complainAboutDns({ first, last }: PortRange): Complaint | undefined {
  const port = dnsPorts.find((each) => first <= each && each <= last);
  if (port === undefined) return undefined;
  return {
    problem: `lets clients ask DNS past the tunnel, by port ${port}`,
    hint: 'leave that port out; DNS names resolvers',
  };
}
