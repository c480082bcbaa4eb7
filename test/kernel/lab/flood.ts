// Runs in a client's namespace: `flood.ts ADDRESS PORT SECONDS` sends 2,000 datagrams and 50 SYNs a second to an address
// beyond the router, for so long or until SIGTERM, and prints how many it sent.
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';

const [address = '', port = '', seconds = ''] = process.argv.slice(2);
const perMs = 2;
/** A machine that lets others run first is caught up with, still few at a time. */
const mostAtOnce = 20;
const startMs = Date.now();
let endMs = startMs + Number(seconds) * 1_000;
const socket = createSocket('udp4');
socket.on('error', () => undefined);
let tried = 0;
let sent = 0;
const timer = setInterval(() => {
  const due = (Math.min(Date.now(), endMs) - startMs) * perMs;
  // Few at a time: a door that is open for two milliseconds must not fall between two bursts.
  for (let burst = 0; burst < mostAtOnce && tried < due; burst += 1) {
    socket.send('x', Number(port), address, (error) => {
      if (error === null) sent += 1;
    });
    tried += 1;
    if (tried % 40 === 0) knock();
  }
  if (Date.now() > endMs && tried >= due) finish();
}, 1);
process.on('SIGTERM', () => {
  endMs = Math.min(Date.now(), endMs);
});
process.stdout.write('flooding\n');

function knock(): void {
  const attempt = connect({ host: address, port: Number(port) });
  attempt.on('error', () => undefined);
  attempt.on('connect', () => attempt.destroy());
  setTimeout(() => attempt.destroy(), 500);
}

function finish(): void {
  clearInterval(timer);
  // What was handed over last is on its way.
  setTimeout(() => process.stdout.write(`${sent}\n`, () => process.exit(0)), 100);
}
