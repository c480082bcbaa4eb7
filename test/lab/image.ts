import { resolve } from 'node:path';
import { $ } from 'zx';
import { ensureBaseImages } from './base-images.ts';
import type { Engine } from './engine.ts';
import { step } from './step.ts';

const repoRoot = resolve(import.meta.dirname, '../..');

export interface BuiltImage {
  readonly tag: string;
  readonly id: string;
  /** What it takes on the engine's disk, base included. */
  readonly unpackedBytes: number;
}

/** Builds the repo's Dockerfile; a second or less where nothing changed. */
export async function buildImage(engine: Engine, tag = 'underbridge:dev'): Promise<BuiltImage> {
  await ensureBaseImages(engine);
  step(`build ${tag}`);
  // The host's network: what reaches a package mirror from this machine need not reach it from a bridge.
  await engine.docker('build', '--network=host', '--tag', tag, repoRoot);
  const answer = await engine.docker('image', 'inspect', '--format', '{{.Id}} {{.Size}}', tag);
  const [id = '', size] = answer.split(' ');
  return { tag, id, unpackedBytes: Number(size) };
}

/** About what a registry transfers for the image. Takes seconds: the whole image is packed. */
export async function measurePackedBytes(engine: Engine, tag: string): Promise<number> {
  const environment = { ...process.env, ...engine.env };
  const { stdout } = await $({ quiet: true, env: environment })`docker save ${tag} | gzip -1 | wc --bytes`;
  return Number(stdout);
}
