import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { keepLease } from '../../../src/roles/router-lease.ts';
import { ipv4, port } from '../tunnel/endpoints.ts';

/** The port is the protocol's; the address is this process's, so that two runs do not meet. */
const gateway = ipv4(`127.77.${(process.pid >> 8) & 255}.${process.pid & 255}`);
const tunnel = ipv4('127.0.0.1');

describe('a kept lease', () => {
  it('does not ask over and over a gateway whose clock runs backwards', async (t) => {
    let questions = 0;
    const socket = createSocket('udp4');
    t.after(() => socket.close());
    socket.on('message', (question, from) => {
      questions += 1;
      const answer = Buffer.alloc(16);
      answer[1] = 128 + (question[1] ?? 0);
      answer.writeUInt32BE(1_000_000 - questions * 1_000, 4);
      question.copy(answer, 8, 4, 6);
      answer.writeUInt16BE(40_000, 10);
      answer.writeUInt32BE(60, 12);
      socket.send(answer, from.port, from.address);
    });
    const { promise: bound, resolve } = Promise.withResolvers<void>();
    socket.bind(5351, gateway, resolve);
    await bound;
    const keeper = keepLease({
      protocol: 'natpmp',
      transports: ['tcp', 'udp'],
      inside: port(49_152),
      wish: 0,
      tun: { address: tunnel },
      gateway,
      onAnswer: () => undefined,
    });
    while (questions < 2) await sleep(10);
    await sleep(500);
    await keeper.end('leave');
    assert.ok(questions <= 5, `${questions} questions, and half a second after the second`);
  });
});
