import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ensureCached } from './cache.ts';
import { makeTree } from './debian.ts';

/**
 * A folder with Debian testing's `openvpn` (2.7) in it, for the front of a PATH. Its tree is only unpacked: the program
 * runs outside of it, by its own loader and libraries. Needs a network the first time.
 */
export async function ensureNewOpenvpn(): Promise<string> {
  const tree = await ensureCached('openvpn-2.7', "Debian testing's OpenVPN", async (path) => {
    await makeTree({ path, suite: 'testing', variant: 'extract', packages: ['openvpn'] });
    await chmod(path, 0o755);
    await mkdir(join(path, 'outside'));
    await writeFile(join(path, 'outside/openvpn'), program, { mode: 0o755 });
  });
  return join(tree, 'outside');
}

const program = `#!/bin/sh
tree=\${0%/*}/..
exec "$tree"/usr/lib*/ld-linux*.so.* --library-path "$(echo "$tree"/usr/lib/*-linux-gnu)" "$tree/usr/sbin/openvpn" "$@"
`;
