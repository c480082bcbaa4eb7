import { $ } from 'zx';
import { renderNumber } from './figures.ts';
import type { Row } from './report.ts';
import type { World } from './world.ts';

const mebibyte = 2 ** 20;

/** What the image takes on the engine's disk, and about what a registry transfers for it. */
export async function measureSize({ engine, images }: World): Promise<readonly Row[]> {
  const unpacked = Number(await engine.docker('image', 'inspect', '--format', '{{.Size}}', images.router));
  const pack = async (level: string) => {
    const env = { ...process.env, ...engine.env };
    const { stdout } = await $({ quiet: true, env })`docker save ${images.router} | gzip ${level} | wc --bytes`;
    return Number(stdout);
  };
  const [fast, usual] = await Promise.all([pack('-1'), pack('-6')]);
  return [
    { what: 'image, unpacked', router: `${renderNumber(unpacked / mebibyte)} MiB` },
    {
      what: 'image, compressed with gzip -6 (gzip -1)',
      router: `${renderNumber(usual / mebibyte)} MiB (${renderNumber(fast / mebibyte)})`,
    },
  ];
}
