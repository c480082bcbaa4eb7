import { createSocket } from 'node:dgram';
import type { Ipv4 } from '../net/address.ts';

/**
 * Asks one host by UDP until it answers, and gives the first answer that `read` makes something of; undefined when there
 * was none in time, or no way there. What others send is not heard.
 */
export function askByDatagram<T>({
  local,
  remote,
  message,
  waitsMs,
  read,
}: {
  /** The address to send from, which says which tunnel it goes by. */
  readonly local: Ipv4;
  readonly remote: { readonly address: Ipv4; readonly port: number };
  readonly message: Uint8Array;
  /** One try for each, and the time for its answer. */
  readonly waitsMs: readonly number[];
  readonly read: (answer: Uint8Array) => T | undefined;
}): Promise<T | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    let timer: NodeJS.Timeout | undefined;
    const finish = (answer?: T) => {
      clearTimeout(timer);
      socket.removeAllListeners();
      // An error that comes late is nobody's.
      socket.on('error', () => undefined);
      socket.close();
      resolve(answer);
    };
    const send = (tried: number) => {
      const waitMs = waitsMs[tried];
      if (waitMs === undefined) return finish();
      socket.send(message, () => undefined);
      timer = setTimeout(() => send(tried + 1), waitMs);
    };
    socket.on('error', () => finish());
    socket.on('message', (answer) => {
      const understood = read(answer);
      if (understood !== undefined) finish(understood);
    });
    socket.on('connect', () => send(0));
    socket.bind({ address: local, port: 0 }, () => socket.connect(remote.port, remote.address));
  });
}
