import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type ManagementClient, ManagementError } from 'node-openvpn-mgmt';
import { connectFake } from './fake-openvpn.ts';

/** Every method that waits for OpenVPN. The mapped type makes a new method fail to compile until it is here. */
const commands: {
  readonly [name in Exclude<keyof ManagementClient, 'closed' | 'close' | 'announceVersion'>]: (
    client: ManagementClient,
  ) => Promise<unknown>;
} = {
  pid: (client) => client.pid(),
  hold: (client) => client.hold(),
  setHold: (client) => client.setHold('on'),
  holdRelease: (client) => client.holdRelease(),
  signal: (client) => client.signal('SIGUSR1'),
  state: (client) => client.state(),
  stateOn: (client) => client.stateOn({ history: true }),
  stateOff: (client) => client.stateOff(),
  logOn: (client) => client.logOn(),
  logOff: (client) => client.logOff(),
  echoOn: (client) => client.echoOn(),
  bytecount: (client) => client.bytecount(5),
  username: (client) => client.username('Auth', 'u'),
  password: (client) => client.password('Auth', 'p'),
  crResponse: (client) => client.crResponse('r'),
  needOk: (client) => client.needOk('n', 'ok'),
  needStr: (client) => client.needStr('n', 'v'),
  forgetPasswords: (client) => client.forgetPasswords(),
  setAuthRetry: (client) => client.setAuthRetry('interact'),
  remoteAccept: (client) => client.remoteAccept(),
  remoteSkip: (client) => client.remoteSkip(2),
  remoteMod: (client) => client.remoteMod({ host: '192.0.2.1', port: 1194 }),
  verb: (client) => client.verb(),
  setVerb: (client) => client.setVerb(3),
  version: (client) => client.version(),
  status: (client) => client.status(3),
  exit: (client) => client.exit(),
};

for (const [name, run] of Object.entries(commands)) {
  test(`gives ${name} up after its timeout`, async () => {
    const { client } = connectFake({ commandTimeoutMs: 5 });
    await assert.rejects(run(client), { code: 'MGMT_TIMEOUT' });
  });
}

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
