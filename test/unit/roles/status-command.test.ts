import assert from 'node:assert/strict';
import { test } from 'node:test';
import { execa } from 'execa';

// The program itself; nothing listens at these.
const statusWith = (address: string) =>
  execa('node', ['--no-warnings', 'src/main.ts', 'status'], { env: { HEALTH_ADDR: address }, reject: false });

test('reads HEALTH_ADDR as the router does', async () => {
  const { stderr, exitCode } = await statusWith(' 127.0.0.1:9 ');
  assert.equal(stderr, "underbridge: no router answers at 127.0.0.1:9; run this in the router's container");
  assert.equal(exitCode, 1);
});

for (const [address, problem] of [
  ['1.2.3.4:99999', 'has a port that is not a number from 1 to 65535'],
  ['9797', 'is not an IPv4 address'],
  ['[::1]:9797', 'is an IPv6 address, and only IPv4 is supported'],
] as const) {
  test(`says of HEALTH_ADDR=${address} that it ${problem}`, async () => {
    const { stderr, exitCode } = await statusWith(address);
    const [heading, line] = stderr.split('\n');
    assert.equal(heading, 'there is no status: 1 problem');
    assert.ok(line?.startsWith(`  HEALTH_ADDR="${address}": ${problem}. `), stderr);
    assert.equal(exitCode, 1);
  });
}
