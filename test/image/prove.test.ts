// The command `npm run prove` as a user runs it, its fast part, on both engines. Needs root; starts engines apart.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';
import { rows } from '../leaks/rows.ts';

const program = join(import.meta.dirname, '../prove/prove.ts');

test('every row of the fast leak matrix holds, on Docker 20.10 and 28.5', async () => {
  // Inside, nothing is a test of this runner.
  const env = { NODE_TEST_CONTEXT: undefined };
  const ran = await execa(process.execPath, [program, '--fast'], { env, reject: false });
  assert.equal(ran.exitCode, 0, `${ran.stdout}\n${ran.stderr}`);
  const fast = rows.filter(({ times }) => times.fast !== undefined);
  assert.equal(ran.stdout.match(/^\| .* \| 2 \| .* \| holds \|$/gm)?.length, fast.length, ran.stdout);
});

test('says how it is used when it is not understood', async () => {
  for (const words of [['--engine=1.0'], ['--without=both'], ['--backend=pf'], ['--row=no such event']]) {
    const { exitCode, stdout } = await execa(process.execPath, [program, ...words], { reject: false });
    assert.equal(exitCode, 2);
    assert.match(stdout, /^Usage: npm run prove/);
  }
});
