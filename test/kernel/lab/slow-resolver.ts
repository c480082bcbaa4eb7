// Runs in a namespace: `slow-resolver.ts ADDRESS MILLISECONDS` refuses every DNS question, after so long.
import { createSocket } from 'node:dgram';

const [address = '', delayMs = ''] = process.argv.slice(2);
const socket = createSocket('udp4', (question, from) => {
  // RFC 1035: an answer, refused; the rest stays as it was asked.
  question.writeUInt16BE(0x8005, 2);
  setTimeout(() => socket.send(question, from.port, from.address), Number(delayMs));
});
socket.bind(53, address, () => process.stdout.write('listening\n'));
