import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { renderSettingsTable } from '../../../src/config/settings-table.ts';

const file = new URL('../../../README.md', import.meta.url);
const marked = /(?<=^<!-- settings -->$).*?(?=^<!-- \/settings -->$)/gms;

/** `UPDATE_GOLDEN=1` writes the table into the README, to be reviewed by eye. */
const isUpdating = process.env.UPDATE_GOLDEN === '1';

describe('the README', () => {
  it('holds the table of settings as the schema renders it', () => {
    // A table needs an empty line before it and after it to be one.
    const wanted = `\n\n${renderSettingsTable()}\n`;
    if (isUpdating)
      writeFileSync(
        file,
        readFileSync(file, 'utf8').replace(marked, () => wanted),
      );
    assert.deepEqual(readFileSync(file, 'utf8').match(marked), [wanted]);
  });
});
