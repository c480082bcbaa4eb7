// Runs in a client's namespace: `flood.ts ADDRESS PORT SECONDS` sends about 2,000 datagrams and 50 SYNs a second to an
// address beyond the router, for so long or until SIGTERM, and prints how many it sent.
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';

const [address = '', port = '', seconds = ''] = process.argv.slice(2);
const endMs = Date.now() + Number(seconds) * 1_000;
const socket = createSocket('udp4');
socket.on('error', () => undefined);
let sent = 0;
let round = 0;
const timer = setInterval(() => {
  // Few at a time: a door that is open for two milliseconds must not fall between two bursts.
  for (let burst = 0; burst < 2; burst += 1) {
    socket.send('x', Number(port), address, (error) => {
      if (error === null) sent += 1;
    });
  }
  round += 1;
  if (round % 20 === 0) {
    const attempt = connect({ host: address, port: Number(port) });
    attempt.on('error', () => undefined);
    attempt.on('connect', () => attempt.destroy());
    setTimeout(() => attempt.destroy(), 500);
  }
  if (Date.now() > endMs) finish();
}, 1);
process.on('SIGTERM', finish);
process.stdout.write('flooding\n');

function finish(): void {
  clearInterval(timer);
  // What was handed over last is on its way.
  setTimeout(() => process.stdout.write(`${sent}\n`, () => process.exit(0)), 100);
}
