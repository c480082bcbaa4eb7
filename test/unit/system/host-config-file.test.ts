import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { readHostFiles } from '../../../src/system/host-config-file.ts';

describe('a file of the host role', () => {
  const folder = mkdtempSync(join(tmpdir(), 'underbridge-host-file-'));
  after(() => rmSync(folder, { recursive: true }));
  const read = (name: string) => {
    const networksFile = { path: join(folder, 'absent.json'), isRequired: false };
    const { config } = readHostFiles({ file: join(folder, name), networksFile });
    return config.kind === 'ok' ? 'good' : config.faults.map(({ problem }) => problem).join();
  };

  it('is refused where it is none, or more than fits into memory as YAML', () => {
    mkdirSync(join(folder, 'folder.yaml'));
    execFileSync('mkfifo', [join(folder, 'fifo.yaml')]);
    symlinkSync('/dev/zero', join(folder, 'zero.yaml'));
    for (const name of ['folder.yaml', 'fifo.yaml', 'zero.yaml']) assert.equal(read(name), 'is no file');
    writeFileSync(join(folder, 'large.yaml'), `isolated: [a]\n${'# comment\n'.repeat(30_000)}`);
    assert.equal(read('large.yaml'), 'is too large (300014 bytes)');
    symlinkSync(join(folder, 'real.yaml'), join(folder, 'link.yaml'));
    writeFileSync(join(folder, 'real.yaml'), 'isolated: [a]\n');
    assert.equal(read('link.yaml'), 'good');
  });

  it('is a fault, not the end, however deep it is', () => {
    writeFileSync(join(folder, 'deep.yaml'), `isolated: ${'['.repeat(10_000)}`);
    assert.match(read('deep.yaml'), /is no YAML/);
  });
});
