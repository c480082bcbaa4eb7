// Runs in a namespace: makes TCP connections, one after the other, to ports spread over a range, and prints the median
// time of one in milliseconds. connect.ts ADDRESS FIRST COUNT CONNECTIONS
import { connect } from 'node:net';

const [address = '', ...numbers] = process.argv.slice(2);
const [first = 0, count = 1, connections = 1] = numbers.map(Number);

function open(port: number): Promise<number> {
  const startedMs = performance.now();
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address, port });
    socket.on('error', reject);
    socket.on('connect', () => {
      const tookMs = performance.now() - startedMs;
      socket.on('close', () => resolve(tookMs));
      // A reset: closed ports would run out.
      socket.resetAndDestroy();
    });
  });
}

async function main(): Promise<void> {
  for (let tries = 0; tries < 50; tries += 1) {
    const isReady = await open(first).then(
      () => true,
      () => new Promise<false>((resolve) => setTimeout(() => resolve(false), 100)),
    );
    if (isReady) break;
  }
  const times: number[] = [];
  for (let index = 0; index < connections; index += 1) times.push(await open(first + ((index * 7_919) % count)));
  times.sort((one, other) => one - other);
  console.log(times[Math.floor(times.length / 2)]);
}

void main();
