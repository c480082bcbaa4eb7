// Runs in a namespace.
// `datagrams.ts ask COUNT ADDRESS PORT` asks from so many ports at a time, and prints how many were answered when a
// second has gone by without another answer.
// `datagrams.ts talk OWN_PORT ADDRESS PORT` says "hello" all the while, and prints what it hears.
// `datagrams.ts call OWN_ADDRESS OWN_PORT PORT` answers nobody; whoever speaks to it makes it say "for the owner" to
// another port of his, and it prints who said what.
import { createSocket } from 'node:dgram';

const [mode = '', ...rest] = process.argv.slice(2);
const everyMs = 50;

if (mode === 'ask') {
  const [count = '', address = '', port = ''] = rest;
  let answered = 0;
  const end = setTimeout(() => {
    process.stdout.write(`${answered}\n`);
    process.exit(0);
  }, 1_000);
  for (let index = 0; index < Number(count); index += 1) {
    const socket = createSocket('udp4');
    socket.on('error', () => undefined);
    socket.once('message', () => {
      answered += 1;
      end.refresh();
    });
    socket.send('x', Number(port), address);
  }
} else if (mode === 'talk') {
  const [ownPort = '', address = '', port = ''] = rest;
  const socket = createSocket('udp4');
  socket.on('error', () => undefined);
  socket.on('message', (message) => process.stdout.write(`${message}\n`));
  socket.bind(Number(ownPort), () => setInterval(() => socket.send('hello', Number(port), address), everyMs));
} else {
  const [ownAddress = '', ownPort = '', port = ''] = rest;
  const socket = createSocket('udp4');
  socket.on('error', () => undefined);
  socket.on('message', (message, from) => {
    process.stdout.write(`${from.port} ${message}\n`);
    if (`${message}` === 'hello') socket.send('for the owner', Number(port), from.address);
  });
  socket.bind(Number(ownPort), ownAddress);
}
