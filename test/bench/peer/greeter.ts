// greeter.ts PORT: tells every caller the address it comes from.
import { createServer } from 'node:net';

createServer((socket) => {
  socket.on('error', () => undefined);
  socket.end(socket.remoteAddress ?? '');
}).listen(Number(process.argv[2]), '0.0.0.0');
