// `late-resolver.ts ADDRESS DELAY_MS` refuses every DNS question, so many milliseconds after it came.
import { createSocket } from 'node:dgram';

const [address = '', delayMs = ''] = process.argv.slice(2);
const socket = createSocket('udp4');
socket.on('message', (question, { port, address: asker }) => {
  const answer = Buffer.from(question);
  // RFC 1035, 4.1.1: QR, and RCODE 5.
  answer.writeUInt16BE(0x8185, 2);
  setTimeout(() => socket.send(answer, port, asker), Number(delayMs));
});
socket.bind(53, address, () => process.stdout.write('listening\n'));
