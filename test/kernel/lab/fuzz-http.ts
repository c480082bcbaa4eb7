// Runs in a namespace. `fuzz-http.ts ADDRESS PORT SECONDS` sends what no honest program would to an HTTP server, holds
// connections that say little or read nothing, and prints as JSON what came back.
import { connect, type Socket } from 'node:net';

const [address = '', port = '', seconds = ''] = process.argv.slice(2);
const endMs = performance.now() + Number(seconds) * 1_000;

const methods = [
  'GET',
  'POST',
  'HEAD',
  'PUT',
  'DELETE',
  'OPTIONS',
  'TRACE',
  'CONNECT',
  'PATCH',
  'get',
  'G\0T',
  'X'.repeat(5_000),
];
const paths = [
  ...['/', '/healthz', '/status', '/metrics', '/events', '/page.js', '/control/pause', '/control/', '//', '/..', '*'],
  ...[
    '/../../../../run/secrets/openvpn_credentials',
    '/page.js/../underbridge.cjs',
    '/%2e%2e/%2e%2e/config/client.ovpn',
  ],
  ...[
    '/__proto__',
    '/constructor',
    '/toString',
    '/healthz?x',
    '/status#',
    'http://127.0.0.1/status',
    '/\u00e9',
    '/%00',
    `/${'a'.repeat(20_000)}`,
  ],
];
const headers = [
  '',
  'Host: x\r\n',
  'Host: x\r\nAuthorization: Bearer wrong\r\n',
  `Host: x\r\nAuthorization: Bearer ${'w'.repeat(10_000)}\r\n`,
  'Host: x\r\nContent-Length: 99999999\r\n',
  'Host: x\r\nTransfer-Encoding: chunked\r\n',
  'Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n',
  'Host: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n',
  `Host: x\r\n${'A: b\r\n'.repeat(3_000)}`,
  `Host: x\r\nCookie: ${'c'.repeat(100_000)}\r\n`,
  'Host: x\nX: y\n',
  ': :\r\n',
];

const seen: Record<string, number> = {};
const bodies: string[] = [];
const count = (what: string) => {
  seen[what] = (seen[what] ?? 0) + 1;
};

function talk(text: string): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port: Number(port), timeout: 3_000 });
    let answer = '';
    socket.on('connect', () => socket.write(text));
    socket.on('data', (data) => {
      answer += data;
      // A stream has no end.
      if (answer.length > 200_000 || answer.includes('text/event-stream')) socket.destroy();
    });
    socket.on('timeout', () => socket.destroy());
    socket.on('error', (error: NodeJS.ErrnoException) => count(error.code ?? error.message));
    socket.on('close', () => {
      count(/^HTTP\/1\.[01] (\d+)/.exec(answer)?.[1] ?? 'nothing');
      bodies.push(answer);
      resolve();
    });
  });
}

/** Connections that send a byte now and then, or ask for much and read nothing. */
const held: Socket[] = [];
function hold(first: string, isReading: boolean): void {
  const socket = connect({ host: address, port: Number(port) });
  socket.on('error', () => undefined);
  socket.on('connect', () => {
    socket.write(first);
    if (!isReading) socket.pause();
  });
  held.push(socket);
}
for (let index = 0; index < 60; index += 1) hold('GET /healthz HTTP/1.1\r\nHost', true);
for (let index = 0; index < 60; index += 1) hold('GET /events HTTP/1.1\r\nHost: x\r\n\r\n', false);
for (let index = 0; index < 60; index += 1) hold('', true);
const drip = setInterval(() => {
  for (const socket of held) if (!socket.destroyed && socket.writable) socket.write(':');
}, 500);

async function fuzz(): Promise<void> {
  for (let index = 0; performance.now() < endMs; index += 1) {
    const pick = <T>(list: readonly T[], salt: number) =>
      list[(index * 7 + salt * 31 + Math.floor(index / 5)) % list.length];
    await talk(`${pick(methods, 1)} ${pick(paths, 2)} HTTP/1.1\r\n${pick(headers, 3)}\r\n`);
  }
}
await Promise.all([fuzz(), fuzz(), fuzz()]);
clearInterval(drip);
for (const socket of held) socket.destroy();
process.stdout.write(JSON.stringify({ seen, text: bodies.join('\n') }));
