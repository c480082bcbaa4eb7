import { existsSync, globSync, readFileSync } from 'node:fs';
import { $ } from 'zx';
import { ensurePackages } from './packages.ts';

export type Suite = 'trixie' | 'testing';

interface TreeOptions {
  /** A folder, or a tar file where the name ends in `.tar`. */
  readonly path: string;
  readonly suite: Suite;
  /** mmdebstrap(1): `minbase` is a system that runs, `extract` only unpacks the packages and what they depend on. */
  readonly variant: 'minbase' | 'extract';
  readonly packages: readonly string[];
  readonly options?: readonly string[];
}

/** Makes a Debian tree from the mirror that this machine itself uses. */
export async function makeTree({ path, suite, variant, packages, options = [] }: TreeOptions): Promise<void> {
  await ensurePackages(['mmdebstrap', 'debian-archive-keyring']);
  const include = packages.length === 0 ? [] : [`--include=${packages.join(',')}`];
  const format = path.endsWith('.tar') ? 'tar' : 'directory';
  await $({
    quiet: true,
    // A mirror may lag behind the date until which its Release file counts as fresh.
  })`mmdebstrap --quiet --mode=root --format=${format} --variant=${variant} ${include} ${options} --aptopt=${'Acquire::Check-Valid-Until "false"'} ${suite} ${path} ${sources(suite)}`;
}

function sources(suite: Suite): string[] {
  const archive = `deb ${mirrorOf('debian')} ${suite} main`;
  if (suite === 'testing') return [archive];
  return [
    archive,
    `deb ${mirrorOf('debian')} ${suite}-updates main`,
    `deb ${mirrorOf('debian-security')} ${suite}-security main`,
  ];
}

/** The address under which this machine's apt finds `name`; Debian's own where it uses none (Ubuntu). */
function mirrorOf(name: 'debian' | 'debian-security'): string {
  const files = ['/etc/apt/sources.list', ...globSync('/etc/apt/sources.list.d/*.{list,sources}')].filter((file) =>
    existsSync(file),
  );
  const text = files.map((file) => readFileSync(file, 'utf8').replace(/^\s*#.*$/gm, '')).join('\n');
  const found = text
    .match(/https?:\/\/\S+/g)
    ?.find((address) => new URL(address).pathname.replaceAll('/', '') === name);
  return found ?? `http://deb.debian.org/${name}`;
}
