import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { commands } from './commands.ts';
import { checkTypes, expectedOutput, type InstalledPackage, installPackage, run } from './installed.ts';

let installed: InstalledPackage;

before(async () => {
  installed = await installPackage();
});

after(() => installed.dispose());

test('packs what is needed and nothing else', async () => {
  const sources = installed.files.filter((path) => path.startsWith('dist/'));
  assert.ok(sources.includes('dist/index.js') && sources.includes('dist/index.d.ts'));
  for (const path of sources) assert.match(path, /\.(d\.ts|js)$/);
  assert.deepEqual(
    installed.files.filter((path) => !path.startsWith('dist/')),
    ['CHANGELOG.md', 'LICENSE', 'README.md', 'package.json'],
  );
});

test('needs no other package', async () => {
  const text = await readFile(join(installed.folder, 'node_modules/node-openvpn-mgmt/package.json'), 'utf8');
  const manifest: object = JSON.parse(text);
  assert.deepEqual(
    Object.keys(manifest).filter((key) => /dependencies/i.test(key)),
    [],
  );
  assert.ok('version' in manifest && manifest.version === '1.0.0');
  const changes = await readFile(join(installed.folder, 'node_modules/node-openvpn-mgmt/CHANGELOG.md'), 'utf8');
  assert.match(changes, /^## \[1\.0\.0\] - /m);
});

test('gives its types to a program of a stranger and to the examples of the README', async () => {
  assert.equal(await checkTypes(installed.folder), '');
});

test('works in a program of a stranger', async () => {
  const { stdout } = await run(process.execPath, ['consumer.ts'], { cwd: installed.folder });
  assert.deepEqual(JSON.parse(stdout), {
    reason: 'ended',
    code: 'MGMT_CLOSED',
    known: true,
    line: 'password "Auth" "p\\"w"\n',
    lines: ['username "Auth" "alice"\n'],
    totp: '287082',
    messages: [{ kind: 'hold', waitS: 0 }],
    reply: null,
    inherits: true,
  });
});

test('prints what the README says that its parser example prints', async () => {
  const { stdout } = await run(process.execPath, ['parse.ts'], { cwd: installed.folder });
  assert.equal(stdout, await expectedOutput('parse.ts'));
});

test('names every command in the README', async () => {
  const readme = await readFile(join(installed.folder, 'node_modules/node-openvpn-mgmt/README.md'), 'utf8');
  for (const name of Object.keys(commands)) assert.match(readme, new RegExp(`\`${name}[\`(]`), name);
});
