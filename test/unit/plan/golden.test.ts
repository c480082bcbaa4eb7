import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { goldenPlans, renderGoldenRoutes, renderGoldenRules } from './scenarios.ts';

const folder = new URL('../golden/', import.meta.url);

/** `UPDATE_GOLDEN=1` writes the files anew, to be reviewed by eye: does each rule do what its reason says? */
const isUpdating = process.env.UPDATE_GOLDEN === '1';

const files = Object.entries(goldenPlans).flatMap(([name, plan]) => [
  { file: `${name}.nft`, text: renderGoldenRules(plan) },
  { file: `${name}.routes`, text: renderGoldenRoutes(plan) },
]);

describe('the reviewed text', () => {
  for (const { file, text } of files) {
    it(`of ${file} is what is planned today`, () => {
      if (isUpdating) writeFileSync(new URL(file, folder), text);
      assert.equal(text, readFileSync(new URL(file, folder), 'utf8'));
    });
  }

  it('is there for every plan and for no other', () => {
    assert.deepEqual(readdirSync(folder).sort(), files.map(({ file }) => file).sort());
  });
});
