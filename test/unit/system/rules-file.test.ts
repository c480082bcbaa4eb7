import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { replaceFile } from '../../../src/system/rules-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'underbridge-rules-'));
after(() => rmSync(folder, { recursive: true }));

describe('a file of rules', () => {
  it('is never written through a link, neither at its place nor at that of its draft', () => {
    const [own, path] = [join(folder, 'own'), join(folder, '11-web')];
    writeFileSync(own, 'of somebody else');
    for (const name of [path, join(folder, `.11-web.${process.pid}`)]) symlinkSync(own, name);
    replaceFile(path, '*nat\nCOMMIT\n');
    assert.equal(readFileSync(own, 'utf8'), 'of somebody else');
    assert.equal(readFileSync(path, 'utf8'), '*nat\nCOMMIT\n');
    assert.deepEqual(readdirSync(folder).toSorted(), ['11-web', 'own']);
  });
});
