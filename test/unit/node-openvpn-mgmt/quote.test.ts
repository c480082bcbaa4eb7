import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ManagementError, renderCommand } from '../../../src/node-openvpn-mgmt/src/index.ts';
import { connectFake } from './fake-openvpn.ts';

for (const [name, character] of [
  ['carriage return', '\r'],
  ['DEL', '\x7f'],
] as const) {
  test(`refuses a ${name} in a password and sends nothing`, async () => {
    const { client, written, say } = connectFake();
    await assert.rejects(client.password('Auth', `a${character}signal SIGTERM`), { code: 'MGMT_PARAMETER' });
    await say();
    assert.equal(written(), '');
  });
}

test('refuses text that UTF-8 cannot carry', () => {
  assert.throws(() => renderCommand('password', ['Auth', 'a\ud800']), { code: 'MGMT_PARAMETER' });
});

test('refuses a line of more than 1,000 bytes', () => {
  const parameter = 'x'.repeat(245);
  assert.equal(renderCommand('x', [parameter, parameter, parameter, parameter]).length, 994);
  assert.throws(() => renderCommand('x', ['"'.repeat(256), '"'.repeat(256)]), { code: 'MGMT_PARAMETER' });
});

test('goes on after a refused command as if it had not been', async () => {
  const { client, written, say } = connectFake();
  await assert.rejects(client.username('Auth', 'a\nb'), { code: 'MGMT_PARAMETER' });
  const pid = client.pid();
  await say('SUCCESS: pid=5');
  assert.equal(await pid, 5);
  assert.equal(written(), 'pid\n');
});

test('renders one line that the lexer of OpenVPN reads back as it was, or refuses', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'binary', maxLength: 80 }), { maxLength: 4 }), (parameters) => {
      let line: string;
      try {
        line = renderCommand('needstr', parameters);
      } catch (error) {
        assert.ok(error instanceof ManagementError && error.code === 'MGMT_PARAMETER');
        return;
      }
      assert.equal(line.indexOf('\n'), line.length - 1);
      assert.deepEqual(lex(line.slice(0, -1)), ['needstr', ...parameters]);
    }),
  );
});

/** What OpenVPN makes of a line whose parameters are all quoted: inside quotes a backslash takes the next character as it is. */
function lex(line: string): readonly string[] {
  const [name = '', ...rest] = line.split(/ (.*)/s);
  const quoted = (rest[0] ?? '').matchAll(/"((?:[^"\\]|\\.)*)"(?: |$)/gs);
  return [name, ...Array.from(quoted, ([, body = '']) => body.replace(/\\(.)/gs, '$1'))];
}
