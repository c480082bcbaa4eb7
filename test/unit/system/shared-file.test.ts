import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { writeSharedFile } from '../../../src/system/shared-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'underbridge-shared-'));
after(() => rmSync(folder, { recursive: true }));

describe('a file that others read', () => {
  it('is replaced as a whole', () => {
    const path = join(folder, 'port');
    for (const text of ['4666\n', '4667\n']) {
      assert.equal(writeSharedFile(path, text), undefined);
      assert.equal(readFileSync(path, 'utf8'), text);
    }
  });

  it('is never written through a link that somebody has put into the folder', () => {
    const [own, path] = [join(folder, 'own'), join(folder, 'linked')];
    writeFileSync(own, 'the router’s own');
    for (const name of [path, `${path}.new`]) symlinkSync(own, name);
    assert.equal(writeSharedFile(path, '4666\n'), undefined);
    assert.equal(readFileSync(own, 'utf8'), 'the router’s own');
    assert.equal(readFileSync(path, 'utf8'), '4666\n');
  });
});
