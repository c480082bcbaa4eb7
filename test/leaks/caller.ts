// Runs in a namespace: `caller.ts OWN_PORT ADDRESS PORT` sends datagrams from one port, and says so when one is answered.
import { createSocket } from 'node:dgram';

const [ownPort = '', address = '', port = ''] = process.argv.slice(2);
const socket = createSocket('udp4');
socket.on('error', () => undefined);
socket.once('message', () => process.stdout.write('answered\n'));
socket.bind(Number(ownPort));
setInterval(() => socket.send('x', Number(port), address), 50);
