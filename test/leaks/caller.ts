// Runs in a namespace: `caller.ts OWN_ADDRESS OWN_PORT ADDRESS PORT` sends datagrams from one place, and says so when one is answered.
import { createSocket } from 'node:dgram';

const [ownAddress = '', ownPort = '', address = '', port = ''] = process.argv.slice(2);
const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
socket.on('error', () => undefined);
socket.once('message', () => process.stdout.write('answered\n'));
socket.bind(Number(ownPort), ownAddress);
setInterval(() => socket.send('x', Number(port), address), 50);
