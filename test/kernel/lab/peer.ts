// Runs in a namespace: answers TCP with the caller's address and echoes UDP, on every address given.
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

const [port = '', ...addresses] = process.argv.slice(2);
for (const address of addresses) {
  createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.end(`${socket.remoteAddress}\n`);
  }).listen(Number(port), address);
  const udp = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  udp.on('message', (message, from) => udp.send(`${from.address} ${message}`, from.port, from.address));
  udp.bind(Number(port), address);
}
