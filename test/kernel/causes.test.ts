import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type CauseLab, makeCauseLab, provoke } from './lab/causes.ts';
import { failures } from './lab/failures.ts';
import { assertInTime } from './lab/in-time.ts';
import { makeWorld, type World } from './lab/world.ts';

// Every way in which a tunnel fails: its sentence, how soon it is noticed, that it heals, and that nothing leaks
// meanwhile. Root and network namespaces; real OpenVPN on both ends, which does exactly what the name of the test says.
let world: World;
let lab: CauseLab;

before(async () => {
  world = await makeWorld();
  lab = await makeCauseLab(world);
});
after(() => world.remove());

for (const failure of failures) {
  test(`${failure.name}: ${failure.code}`, async () => {
    await assertInTime(failure.noticedMs, async () => {
      const { cause, noticedMs, address, leaked, log } = await provoke(lab, failure);
      assert.equal(cause.code, failure.code, log);
      assert.match(cause.text, failure.says);
      assert.match(cause.hint, /^[a-z].*[^.]$/);
      if (failure.address !== undefined) assert.equal(address, failure.address);
      assert.equal(leaked, 0);
      return noticedMs;
    });
  });
}
