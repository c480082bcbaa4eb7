// Runs in a client's namespace. `ask.ts tcp ADDRESS PORT` prints what the server says, or the error's code;
// `ask.ts flow ADDRESS PORT SECONDS EVERY_MS` sends datagrams from one port and prints the time of each answer.
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';

const [mode = '', address = '', port = '', seconds = '', everyMs = ''] = process.argv.slice(2);

if (mode === 'tcp') {
  const startMs = performance.now();
  const socket = connect({ host: address, port: Number(port), timeout: 2_000 });
  socket.on('data', (data) => process.stdout.write(data));
  socket.on('timeout', () => socket.destroy(Object.assign(new Error(), { code: 'ETIMEDOUT' })));
  socket.on('error', (error: NodeJS.ErrnoException) => {
    process.stdout.write(`${error.code} ${Math.round(performance.now() - startMs)}\n`);
    process.exitCode = 1;
  });
} else {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  socket.on('error', () => undefined);
  socket.on('message', () => process.stdout.write(`${Date.now()}\n`));
  const timer = setInterval(() => socket.send('x', Number(port), address), Number(everyMs));
  setTimeout(() => {
    clearInterval(timer);
    socket.close();
  }, Number(seconds) * 1_000);
}
