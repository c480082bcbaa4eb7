import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import type { LabProcess, Namespace } from './namespace.ts';
import type { World } from './world.ts';

/** What a provider's gateway calls its own address; miniupnpd takes none that is reserved, and nothing is sent there. */
export const publicAddress = '11.22.33.44';

const table = `
  table inet upnp
  delete table inet upnp
  table inet upnp {
    chain forward { type filter hook forward priority 0; policy accept; jump forward_upnp; }
    chain forward_upnp { }
    chain prerouting { type nat hook prerouting priority -100; policy accept; jump prerouting_upnp; }
    chain prerouting_upnp { }
    chain postrouting { type nat hook postrouting priority 100; policy accept; jump postrouting_upnp; }
    chain postrouting_upnp { }
  }`;

/** A real miniupnpd beside the VPN server, for NAT-PMP and PCP on the tunnel. It forgets all when it is ended. */
export async function startMiniupnpd({ server, folder }: Pick<World, 'server' | 'folder'>): Promise<LabProcess> {
  await runNft(server, table);
  await server.run('sysctl', '-qw', 'net.ipv4.ip_forward=1');
  const config = join(folder, 'miniupnpd.conf');
  const names = ['table_name=upnp', 'nat_table_name=upnp', 'forward_chain=forward_upnp'];
  const chains = ['nat_chain=prerouting_upnp', 'nat_postrouting_chain=postrouting_upnp'];
  const settings = [
    ...['ext_ifname=eth0', `ext_ip=${publicAddress}`, 'listening_ip=tun0', 'enable_natpmp=yes', 'enable_upnp=no'],
    ...['system_uptime=no', 'secure_mode=yes', 'min_lifetime=20', 'max_lifetime=3600'],
    ...[...names, ...chains].map((line) => `upnp_${line}`),
    ...['allow 1024-65535 10.8.0.0/24 1024-65535', 'deny 0-65535 0.0.0.0/0 0-65535'],
  ];
  await writeFile(config, `${settings.join('\n')}\n`);
  const running = server.start({}, 'miniupnpd', '-d', '-f', config, '-P', join(folder, 'miniupnpd.pid'));
  await running.says('Listening for NAT-PMP/PCP traffic');
  return running;
}

async function runNft(ns: Namespace, input: string): Promise<void> {
  const [file, args] = ns.argv('nft', '-f', '-');
  await execa(file, args, { input });
}
