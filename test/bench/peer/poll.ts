// poll.ts ADDRESS PORT SECONDS: opens a connection every few milliseconds until one brings an answer, for at most SECONDS.
// Prints "polling" once it has begun, then one line: when the first answer came (Unix time, ms) and what it was.
//
// A new connection each time: the kernel would repeat a lost SYN only after a second.
import { connect, type Socket } from 'node:net';

const [address = '', port = '', seconds = ''] = process.argv.slice(2);
const everyMs = 3;
const attemptMs = 500;

const open = new Set<Socket>();

function attempt(): void {
  const socket = connect({ host: address, port: Number(port), timeout: attemptMs });
  open.add(socket);
  // A refusal is no answer: it comes from the gateway while it has no tunnel.
  socket.on('error', () => socket.destroy());
  socket.on('timeout', () => socket.destroy());
  socket.on('close', () => open.delete(socket));
  socket.on('data', (data) => finish(0, `${performance.timeOrigin + performance.now()} ${data}`));
}

function finish(code: number, line: string): void {
  process.stdout.write(`${line}\n`, () => process.exit(code));
  clearInterval(timer);
  for (const socket of open) socket.destroy();
}

const timer = setInterval(attempt, everyMs);
setTimeout(() => finish(1, `no answer within ${seconds} s`), Number(seconds) * 1000);
process.stdout.write('polling\n');
