import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ManagementError } from '../../../src/node-openvpn-mgmt/src/index.ts';
import { commands } from './commands.ts';
import { connectFake } from './fake-openvpn.ts';

test('does not give a late reply to the next command', async () => {
  const { client, events, say } = connectFake({ commandTimeoutMs: 50 });
  await assert.rejects(client.pid(), { code: 'MGMT_TIMEOUT', message: 'OpenVPN did not answer pid within 50 ms' });
  const verb = client.verb();
  await say('SUCCESS: pid=5', 'SUCCESS: verb=3');
  assert.equal(await verb, 3);
  assert.deepEqual(events, []);
});

test('settles every command whatever comes and wherever the connection ends', async () => {
  const line = fc.constantFrom(
    'SUCCESS: pid=5',
    'ERROR: no',
    'END',
    '1,WAIT,,,,,,',
    '>STATE:1,WAIT,,,,,,',
    'SUCCESS: Management client version set to 6',
    'x',
    'ENTER PASSWORD:',
    ">PASSWORD:Verification Failed: 'Auth' ['CRV1:R:a:b:c']",
    ">PASSWORD:Need 'Auth' username/password SC:1,x",
    '>UPDOWN:UP',
  );
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.array(line, { maxLength: 8 }).map((lines) => Buffer.from(lines.map((text) => `${text}\r\n`).join(''))),
  );
  const names = fc.array(fc.constantFrom(...Object.values(commands)), { minLength: 1, maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(names, fc.array(bytes, { maxLength: 5 }), fc.boolean(), async (runs, chunks, hangsUp) => {
      const { client, sayBytes, hangUp } = connectFake({ commandTimeoutMs: 10 });
      const answers = Promise.allSettled(runs.map((run) => run(client)));
      for (const chunk of chunks) await sayBytes(chunk);
      if (hangsUp) await hangUp();
      for (const answer of await answers) {
        assert.ok(answer.status === 'fulfilled' || answer.reason instanceof ManagementError);
      }
      client.close();
      await client.closed;
    }),
    { numRuns: 200 },
  );
});
