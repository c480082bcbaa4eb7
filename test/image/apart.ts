import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { cacheRoot, ensureCached } from '../lab/cache.ts';
import { type Engine, ensureEngine, prepareEngines, startNewEngine } from '../lab/engine.ts';
import { buildImage } from '../lab/image.ts';
import { withAnyLock, withLock } from '../lab/lock.ts';

/** The image that these tests run; its own tag, so that a build of somebody else cannot take its place. */
export const image = 'underbridge:test';
export const demoImage = 'underbridge-demo:dev';
const debianImage = 'debian:trixie-slim';

const apart = 'UNDERBRIDGE_TEST_APART';
const savedImages = 'UNDERBRIDGE_TEST_IMAGES';
/** Each has the data of its engines, so one run at a time can use it; more than two would starve on two cores. */
const places = ['apart-image-1', 'apart-image-2'] as const;
const demoFolder = join(import.meta.dirname, '../../compose/demo');

/** The engines that the image has to run on. The first is Debian's own: 20.10 on bookworm, 26.1 on trixie. */
export const engines = { '20.10': ensureEngine, '28.5': startNewEngine } as const;
export type EngineName = keyof typeof engines;

/**
 * Runs the rest of a test file in test/lab/apart.sh: engines of its own, so that no engine, demo or network of this
 * machine matters or suffers, and everything ends with the file. Images are built on the machine's engine before,
 * because there is no way out of the place apart.
 */
export async function runApart(file: string): Promise<void> {
  if (process.env[apart] !== undefined) return;
  const script = join(import.meta.dirname, '../lab/apart.sh');
  // One build at a time: two would take each other's images away.
  const images = await withLock('underbridge-lab-images', async () => {
    await prepareEngines();
    return saveImages();
  });
  await withAnyLock(places, async (place) => {
    const env = { ...process.env, [apart]: '1', [savedImages]: images, UNDERBRIDGE_APART: place };
    // NODE_TEST_CONTEXT goes along: the runner hears the tests inside as if they ran here. Should this process be killed,
    // the kernel kills what it started.
    const argv = ['--pdeathsig', 'KILL', '--', script, process.execPath, file, ...process.argv.slice(2)];
    const { status } = spawnSync('setpriv', argv, { env, stdio: 'inherit' });
    process.exit(status ?? 1);
  });
}

/** Starts an engine with the images and with nothing of an earlier run: a run that was killed leaves its containers. */
export async function openEngine(name: EngineName): Promise<Engine> {
  const engine = await engines[name]();
  await removeAll(engine);
  const file = process.env[savedImages] ?? '';
  const wanted = (file.match(/[0-9a-f]{12}/g) ?? []).toSorted();
  const tags = [image, demoImage, debianImage];
  const found = await engine.docker('images', '--format', '{{.ID}} {{.Repository}}:{{.Tag}}');
  const held = found
    .split('\n')
    .flatMap((line) => (tags.some((tag) => line.endsWith(` ${tag}`)) ? [line.slice(0, 12)] : []));
  if (held.toSorted().join() !== wanted.join()) {
    await engine.docker('load', '--quiet', '--input', file);
    // What had these tags before.
    await engine.docker('image', 'prune', '--force');
  }
  return engine;
}

/** Removes every container, network and volume. Only for an engine apart. */
export async function removeAll(engine: Engine): Promise<void> {
  const containers = await engine.docker('ps', '--all', '--quiet');
  if (containers !== '') await engine.docker('rm', '--force', '--volumes', ...containers.split('\n'));
  await engine.docker('network', 'prune', '--force');
  const volumes = await engine.docker('volume', 'ls', '--quiet');
  if (volumes !== '') await engine.docker('volume', 'rm', '--force', ...volumes.split('\n'));
}

/** Builds the images on the machine's engine and returns a file that holds them, named by what it holds. */
async function saveImages(): Promise<string> {
  const engine = await ensureEngine();
  await buildImage(engine, image);
  await engine.docker('build', '--network=host', '--tag', demoImage, demoFolder);
  const ids = (await engine.docker('image', 'inspect', '--format', '{{.Id}}', image, demoImage, debianImage))
    .split('\n')
    .map((id) => id.replace('sha256:', '').slice(0, 12));
  const folder = join(cacheRoot, 'test-images');
  const name = `${ids.join('-')}.tar`;
  if (existsSync(folder)) {
    for (const old of readdirSync(folder)) if (/^[-0-9a-f]+\.tar$/.test(old) && old !== name) rmSync(join(folder, old));
  }
  return ensureCached(`test-images/${name}`, 'a file of the images under test', async (path) => {
    execFileSync('docker', ['save', '--output', path, image, demoImage, debianImage], {
      env: { ...process.env, ...engine.env },
    });
  });
}
