// `ptr-resolver.ts ADDRESS NAME` is Docker's resolver for names by address: everybody is called NAME.
import { createSocket } from 'node:dgram';

const [address = '', name = ''] = process.argv.slice(2);
const labels = name.split('.').map((label) => Buffer.from([Buffer.byteLength(label), ...Buffer.from(label)]));
const encoded = Buffer.concat([...labels, Buffer.from([0])]);
const socket = createSocket('udp4');
socket.on('message', (question, { port, address: asker }) => {
  // RFC 1035, 4.1: the header says that there is one answer, whose name is the question's, type PTR, class IN.
  const answer = Buffer.from(question.subarray(0, question.indexOf(0, 12) + 5));
  answer.writeUInt16BE(0x8180, 2);
  answer.write('000100000000', 6, 'hex');
  const record = Buffer.from('c00c000c00010000003c0000', 'hex');
  record.writeUInt16BE(encoded.length, 10);
  socket.send(Buffer.concat([answer, record, encoded]), port, asker);
});
socket.bind(53, address, () => process.stdout.write('listening\n'));
