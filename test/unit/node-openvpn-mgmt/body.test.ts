import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectFake } from './fake-openvpn.ts';

test('sends a signature as lines of base64 between its command and END', async () => {
  const { client, written, say } = connectFake();
  const answer = client.sendSignature(Buffer.alloc(72, 'x'));
  await say('SUCCESS: pk-sig command succeeded');
  await answer;
  const [command, ...lines] = written().split('\n');
  assert.deepEqual([command, ...lines.slice(-2)], ['pk-sig', 'END', '']);
  assert.deepEqual(Buffer.from(lines.slice(0, -2).join(''), 'base64'), Buffer.alloc(72, 'x'));
  assert.ok(lines.every((line) => line.length <= 64));
});

test('sends a certificate whatever its line ends are', async () => {
  const { client, written, say } = connectFake();
  const answer = client.sendCertificate('-----BEGIN CERTIFICATE-----\r\nMIIB\n-----END CERTIFICATE-----\n');
  await say('SUCCESS: certificate command succeeded');
  await answer;
  assert.equal(written(), 'certificate\n-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\nEND\n');
});

test('sends a command that it does not know, with its parameters quoted', async () => {
  const { client, written, say } = connectFake();
  const killed = client.send({ name: 'kill', parameters: ['alice'], reply: 'single' });
  const net = client.send({ name: 'net', reply: 'block' });
  await say("SUCCESS: common name 'alice' found, 1 client(s) killed", 'a', 'b', 'END');
  assert.equal((await killed).text, "common name 'alice' found, 1 client(s) killed");
  assert.deepEqual((await net).lines, ['a', 'b']);
  assert.equal(written(), 'kill "alice"\nnet\n');
});

for (const [what, command] of [
  ['a name with a line feed', { name: 'pid\nsignal', reply: 'single' }],
  ['an empty name', { name: '', reply: 'single' }],
  ['a body with a line feed', { name: 'pk-sig', body: ['a\nEND\nsignal SIGTERM'], reply: 'single' }],
  ['a body that ends itself', { name: 'pk-sig', body: ['END', 'signal SIGTERM'], reply: 'single' }],
  ['a line of a body past the buffer of OpenVPN', { name: 'pk-sig', body: ['x'.repeat(1_001)], reply: 'single' }],
] as const) {
  test(`refuses ${what} and sends nothing`, async () => {
    const { client, written, say } = connectFake();
    await assert.rejects(client.send(command), { code: 'MGMT_PARAMETER' });
    await say();
    assert.equal(written(), '');
  });
}
