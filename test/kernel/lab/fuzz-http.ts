// Runs in a namespace. `fuzz-http.ts ADDRESS PORT SECONDS [FROM …]` sends what no honest program would to an HTTP server;
// from the addresses FROM it holds connections that say little or read nothing, 100 of them listeners to events, and
// opens them again when they are cut. Prints `holding` when it begins with that, and as JSON what came back.
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const [address = '', port = '', seconds = '', ...sources] = process.argv.slice(2);
const endMs = performance.now() + Number(seconds) * 1_000;
/** Before that nobody is in the way of the odd requests. */
const holdAfterMs = 1_500;

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

/** Connections that say little, or read nothing. */
const holders = {
  listener: 'GET /events HTTP/1.1\r\nHost: x\r\n\r\n',
  slow: 'GET /healthz HTTP/1.1\r\nHost',
  silent: '',
} as const;

/** A connection that sends a byte now and then, or asks for much and reads no more than the head of it. */
function hold(index: number, holder: keyof typeof holders): void {
  const localAddress = sources[index % sources.length] ?? '';
  const socket = connect({ host: address, port: Number(port), localAddress });
  socket.on('error', () => undefined);
  socket.on('connect', () => socket.write(holders[holder]));
  socket.once('data', (data) => {
    count(`${holder}: ${/^HTTP\/1\.[01] (\d+)/.exec(`${data}`)?.[1]}`);
    socket.pause();
  });
  // After a whole question it would be a fault, and end the answer.
  const drip = setInterval(() => holder !== 'listener' && socket.writable && socket.write(':'), 500);
  socket.on('close', () => {
    clearInterval(drip);
    if (performance.now() < endMs) setTimeout(() => hold(index, holder), 200);
  });
  // Opened again a moment before the end it would be late, and Node's warning come amid what is printed.
  setTimeout(() => socket.destroy(), Math.max(0, endMs - performance.now()));
}

async function holdAll(): Promise<void> {
  await sleep(holdAfterMs);
  for (let index = 0; index < 100; index += 1) hold(index, 'listener');
  process.stdout.write('holding\n');
  for (let index = 0; index < 60; index += 1) hold(index, 'slow');
  for (let index = 0; index < 60; index += 1) hold(index, 'silent');
}

async function fuzz(): Promise<void> {
  for (let index = 0; performance.now() < endMs; index += 1) {
    const pick = <T>(list: readonly T[], salt: number) =>
      list[(index * 7 + salt * 31 + Math.floor(index / 5)) % list.length];
    await talk(`${pick(methods, 1)} ${pick(paths, 2)} HTTP/1.1\r\n${pick(headers, 3)}\r\n`);
  }
}
/** Every header at the control, which has to be asked in one way only. */
async function knock(): Promise<void> {
  for (const path of ['/control/pause', '/control/explode', '/control/__proto__'])
    await Promise.all(headers.slice(0, 6).map((header) => talk(`POST ${path} HTTP/1.1\r\n${header}\r\n`)));
}

const ends = [fuzz(), fuzz(), fuzz(), knock(), ...(sources.length > 0 ? [holdAll()] : [])];
await Promise.all(ends);
process.stdout.write(`\n${JSON.stringify({ seen, text: bodies.join('\n') })}\n`);
