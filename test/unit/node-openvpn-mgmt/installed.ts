import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const repository = fileURLToPath(new URL('../../..', import.meta.url));
const packageFolder = 'src/node-openvpn-mgmt';

/** An otherwise empty project that has the packed package installed. */
export interface InstalledPackage {
  readonly folder: string;
  /** The files in the tarball. */
  readonly files: readonly string[];
  dispose(): Promise<void>;
}

/** Packs the package as it would be published and installs it without network into a folder outside of the repository. */
export async function installPackage(): Promise<InstalledPackage> {
  const folder = await mkdtemp(join(tmpdir(), 'ub-mgmt-package-'));
  const npm = async (cwd: string, ...args: readonly string[]) =>
    (await run('npm', [...args, '--offline', `--cache=${join(folder, 'cache')}`, '--loglevel=error'], { cwd })).stdout;

  // A copy, because packing compiles into the folder, and other tests read it at the same time.
  const copy = join(folder, 'repository');
  for (const name of [packageFolder, 'tsconfig.json']) {
    await cp(join(repository, name), join(copy, name), { recursive: true, filter: (path) => !path.endsWith('/dist') });
  }
  await symlink(join(repository, 'node_modules'), join(copy, 'node_modules'));
  const [tarball] = JSON.parse(await npm(join(copy, packageFolder), 'pack', '--json', '--pack-destination', folder));

  const project = join(folder, 'project');
  await cp(join(import.meta.dirname, 'consumer'), project, { recursive: true });
  await npm(project, 'install', '--no-audit', '--no-fund', join(folder, tarball.filename));
  await writeExamples(project);
  return {
    folder: project,
    files: tarball.files.map(({ path }: { readonly path: string }) => path).sort(),
    dispose: () => rm(folder, { recursive: true }),
  };
}

/** Checks the types of every program in a folder, as strictly as TypeScript can. */
export async function checkTypes(folder: string): Promise<string> {
  const types = ['--types', 'node', '--typeRoots', join(repository, 'node_modules/@types')];
  const strictness = [
    '--strict',
    '--exactOptionalPropertyTypes',
    '--noUncheckedIndexedAccess',
    '--verbatimModuleSyntax',
  ];
  const target = ['--module', 'nodenext', '--target', 'es2024', '--noEmit'];
  const files = ['ask', 'connect', 'consumer', 'parse', 'two-factors'].map((name) => `${name}.ts`);
  const tsc = join(repository, 'node_modules/.bin/tsc');
  const checked = run(tsc, ['--ignoreConfig', ...types, ...strictness, ...target, ...files], { cwd: folder });
  return (await checked.catch((error: { readonly stdout: string }) => error)).stdout;
}

/** What the README says that an example prints. */
export async function expectedOutput(example: string): Promise<string> {
  const readme = await readFile(join(repository, packageFolder, 'README.md'), 'utf8');
  const after = readme.slice(readme.indexOf(`// ${example}`));
  return /```text\n(.*?)```/s.exec(after)?.[1] ?? '';
}

/** Writes the programs of the README, each of which names its file in its first line. */
async function writeExamples(folder: string): Promise<void> {
  const readme = await readFile(join(folder, 'node_modules/node-openvpn-mgmt/README.md'), 'utf8');
  for (const [, text = '', name = ''] of readme.matchAll(/```ts\n(\/\/ (\S+\.ts)\n.*?)```/gs)) {
    await writeFile(join(folder, name), text);
  }
}

/** Runs a program to its end. */
export const run = promisify(execFile);
