import { existsSync } from 'node:fs';
import { chmod, copyFile, cp, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { $ } from 'zx';
import { ensureCached } from './cache.ts';
import { makeTree } from './debian.ts';
import type { Engine } from './engine.ts';
import { step } from './step.ts';

const debianImage = 'debian:trixie-slim';
const nodeImage = 'node:26-trixie-slim';
export type BaseImage = typeof debianImage | typeof nodeImage;
const nodePackage = join(import.meta.dirname, '../../node_modules/node');
const certificates = '/etc/ssl/certs/ca-certificates.crt';
/** An npm that runs on Node 26; the official image brings one too. */
const npmVersion = '11';
const registryPatienceMs = 5000;

/** Gives the engine the images that the Dockerfile starts from: the registry's, or stand-ins where none answers. */
export async function ensureBaseImages(
  engine: Engine,
  images: readonly BaseImage[] = [debianImage, nodeImage],
): Promise<void> {
  const missing: BaseImage[] = [];
  for (const image of images) if (!(await hasImage(engine, image))) missing.push(image);
  if (missing.length === 0) return;
  const registry = await registryAnswers();
  for (const image of missing) {
    if (registry && (await pull(engine, image))) continue;
    step(`load a stand-in for ${image}`);
    await (image === debianImage ? loadDebian(engine) : loadNode(engine));
  }
}

async function hasImage(engine: Engine, image: string): Promise<boolean> {
  return (await engine.docker('images', '--quiet', image)) !== '';
}

async function registryAnswers(): Promise<boolean> {
  try {
    // 401 is the answer to expect: it names where to get a token.
    await fetch('https://registry-1.docker.io/v2/', { signal: AbortSignal.timeout(registryPatienceMs) });
    return true;
  } catch {
    return false;
  }
}

async function pull(engine: Engine, image: string): Promise<boolean> {
  step(`pull ${image}`);
  try {
    await engine.docker('pull', '--quiet', image);
    return true;
  } catch (error) {
    step(`cannot pull: ${(error as Error).message}`);
    return false;
  }
}

async function loadDebian(engine: Engine): Promise<void> {
  await engine.docker('import', '--change', 'CMD ["bash"]', await ensureDebianTar(), debianImage);
}

/** The file of the stand-in for debian:trixie-slim. Needs a network the first time, as it comes from the mirror. */
export async function ensureDebianTar(): Promise<string> {
  return ensureCached('debian-trixie-slim.tar', 'Debian trixie, slim', makeDebian);
}

async function makeDebian(path: string): Promise<void> {
  const tar = `${path}.tar`;
  // The excludes stay in the image as dpkg configuration, as in the official slim image.
  const excludes = ['doc', 'man', 'info', 'locale', 'groff', 'lintian', 'linda'].map(
    (name) => `path-exclude=/usr/share/${name}/*`,
  );
  const keeps = ['path-include=/usr/share/doc/*/copyright', 'path-include=/usr/share/locale/locale.alias'];
  await makeTree({
    path: tar,
    suite: 'trixie',
    variant: 'minbase',
    packages: [],
    options: [
      ...[...excludes, ...keeps].map((line) => `--dpkgopt=${line}`),
      '--aptopt=Acquire::Languages "none"',
      // Where a proxy signs for the mirror or the npm registry, this machine knows its authority: in the bundle, and in
      // the folder from which the package ca-certificates makes the bundle anew.
      ...[certificates, '/usr/local/share/ca-certificates']
        .filter((path) => existsSync(path))
        .map((path) => `--customize-hook=mkdir -p "$1"${dirname(path)} && cp -r ${path} "$1"${dirname(path)}/`),
      // Names of the machine that made it.
      '--customize-hook=rm -f "$1"/etc/hostname "$1"/etc/resolv.conf',
    ],
  });
  await $({ quiet: true })`mv ${tar} ${path}`;
}

async function loadNode(engine: Engine): Promise<void> {
  const { version } = JSON.parse(await readFile(join(nodePackage, 'package.json'), 'utf8')) as { version: string };
  const context = await ensureCached(`node-${version}`, `Node ${version} with npm ${npmVersion}`, makeNode);
  await engine.docker('build', '--quiet', '--network=host', '--tag', nodeImage, context);
}

/** A build context: Node's binary as the repo has it, and npm from its registry. */
async function makeNode(path: string): Promise<void> {
  const local = join(path, 'local');
  await mkdir(join(local, 'bin'), { recursive: true });
  await mkdir(join(local, 'lib/node_modules'), { recursive: true });
  await copyFile(join(nodePackage, 'bin/node'), join(local, 'bin/node'));
  await chmod(join(local, 'bin/node'), 0o755);
  const { stdout } = await $({ quiet: true, cwd: path })`npm pack --silent npm@${npmVersion}`;
  const archive = join(path, stdout.trim());
  await $({ quiet: true, cwd: path })`tar --extract --file ${archive} --no-same-owner`;
  await cp(join(path, 'package'), join(local, 'lib/node_modules/npm'), { recursive: true });
  await rm(join(path, 'package'), { recursive: true });
  await rm(archive);
  for (const program of ['npm', 'npx']) {
    await symlink(`../lib/node_modules/npm/bin/${program}-cli.js`, join(local, 'bin', program));
  }
  await writeFile(
    join(path, 'Dockerfile'),
    `FROM ${debianImage}
RUN apt-get update && apt-get install --yes --no-install-recommends libatomic1 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
COPY local /usr/local/
ENV NODE_EXTRA_CA_CERTS=${certificates}
CMD ["node"]
`,
  );
}
