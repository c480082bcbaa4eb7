// Large transfers. `bulk.ts serve PORT ADDRESS` answers "get\n" with 2 MiB and anything else with how many bytes came.
// `bulk.ts get|put ADDRESS PORT SECONDS` prints how many bytes arrived, or `stalled` when it took longer.
import { connect, createServer } from 'node:net';

const size = 2 * 1024 * 1024;
const [mode = '', one = '', other = '', seconds = ''] = process.argv.slice(2);

if (mode === 'serve') {
  createServer({ allowHalfOpen: true }, (socket) => {
    let bytes = 0;
    socket.on('error', () => socket.destroy());
    socket.on('data', (data) => {
      if (bytes === 0 && `${data}` === 'get\n') socket.end(Buffer.alloc(size));
      bytes += data.length;
    });
    socket.on('end', () => socket.end(`${bytes}\n`));
  }).listen(Number(one), other);
} else {
  const timer = setTimeout(() => {
    process.stdout.write('stalled\n');
    process.exit(1);
  }, Number(seconds) * 1_000);
  let bytes = 0;
  let text = '';
  const socket = connect({ host: one, port: Number(other), allowHalfOpen: true });
  socket.on('data', (data) => {
    bytes += data.length;
    if (mode === 'put') text += data;
  });
  socket.on('end', () => {
    clearTimeout(timer);
    socket.destroy();
    process.stdout.write(mode === 'put' ? text : `${bytes}\n`);
  });
  if (mode === 'get') socket.write('get\n');
  else socket.end(Buffer.alloc(size));
}
