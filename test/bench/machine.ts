import { cpus, loadavg, release, totalmem } from 'node:os';
import type { World } from './world.ts';

/** Load of this machine before the run, per core. */
export function observeLoad(): number {
  return (loadavg()[0] ?? 0) / cpus().length;
}

/** What the figures were taken on; one line. `load` is what {@link observeLoad} said before the run. */
export async function describeMachine({ engine, images }: World, load: number): Promise<string> {
  const inImage = ['run', '--rm', '--network', 'none', '--entrypoint'];
  const [openvpn, node] = await Promise.all([
    engine.docker(...inImage, 'openvpn', images.router, '--version').then(firstLine),
    engine.docker(...inImage, 'node', images.router, '--version'),
  ]);
  const model = cpus()[0]?.model.trim() ?? 'unknown processor';
  return [
    `${new Date().toISOString().slice(0, 10)}: ${cpus().length} cores of ${model}`,
    `${Math.round(totalmem() / 2 ** 30)} GiB`,
    `Linux ${release()}`,
    `Docker ${engine.version}`,
    /OpenVPN \S+/.exec(openvpn)?.[0] ?? openvpn,
    `Node ${node}`,
    `load before the run ${load.toFixed(2)} a core`,
  ].join(', ');
}

function firstLine(text: string): string {
  return text.split('\n')[0] ?? '';
}
