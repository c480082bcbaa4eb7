// Runs in a namespace: takes every TCP connection on a port and waits for its end.
import { createServer } from 'node:net';

createServer((socket) => socket.on('error', () => socket.destroy()).resume()).listen(Number(process.argv[2]));
