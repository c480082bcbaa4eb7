import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:net';
import { afterEach, describe, it } from 'node:test';
import { callHook } from '../../../src/system/hook.ts';

let server: Server | undefined;
afterEach(() => server?.close());

async function outcomeOf(answer: string): Promise<string | undefined> {
  const { promise: listening, resolve } = Promise.withResolvers<void>();
  server = createServer((socket) => socket.on('error', () => undefined).once('data', () => socket.end(answer)));
  server.listen(0, '127.0.0.1', resolve);
  await listening;
  const bound = server.address();
  assert.ok(bound !== null && typeof bound === 'object');
  return callHook({ address: '127.0.0.1', port: bound.port, host: 'app', path: '/?port=4666' });
}

describe('a hook', { timeout: 5_000 }, () => {
  it('has taken the port when it says so', async () => {
    assert.equal(await outcomeOf('HTTP/1.1 204 No Content\r\n\r\n'), undefined);
  });

  const refusals: readonly (readonly [string, string, RegExp])[] = [
    ['leads to a login', 'HTTP/1.1 302 Found\r\nlocation: /login\r\n\r\n', /answered 302/],
    ['refuses', 'HTTP/1.1 403 Forbidden\r\n\r\n', /answered 403/],
    ['wants another protocol', 'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n', /HTTP/],
    ['hangs up', '', /hang up/],
    ['speaks no HTTP', 'hello\r\n', /Parse Error/],
  ];
  for (const [what, answer, reason] of refusals) {
    it(`has not when it ${what}`, async () => assert.match((await outcomeOf(answer)) ?? 'taken', reason));
  }
});
