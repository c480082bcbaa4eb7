import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Runs `work` while this process alone holds the lock `name` in this network namespace.
 *
 * The lock is a bound abstract socket (unix(7)): binding is atomic, and the kernel lets go when the holder dies.
 */
export async function withLock<T>(name: string, work: () => Promise<T>): Promise<T> {
  const holder = await bind(`\0${name}`);
  try {
    return await work();
  } finally {
    holder.close();
  }
}

async function bind(address: string): Promise<Server> {
  for (;;) {
    const server = createServer();
    try {
      server.listen(address);
      await once(server, 'listening');
      return server;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
      await sleep(100);
    }
  }
}
