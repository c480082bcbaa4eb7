import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Runs `work` while this process alone holds the lock `name` in this network namespace.
 *
 * The lock is a bound abstract socket (unix(7)): binding is atomic, and the kernel lets go when the holder dies.
 */
export async function withLock<T>(name: string, work: () => Promise<T>): Promise<T> {
  return withAnyLock([name], work);
}

/** Runs `work` with the first of these locks that is free, and tells it which. */
export async function withAnyLock<T>(names: readonly string[], work: (name: string) => Promise<T>): Promise<T> {
  for (;;) {
    for (const name of names) {
      const holder = await bind(`\0${name}`);
      if (holder === undefined) continue;
      try {
        return await work(name);
      } finally {
        holder.close();
      }
    }
    await sleep(100);
  }
}

/** Returns undefined where somebody else holds the address. */
async function bind(address: string): Promise<Server | undefined> {
  const server = createServer();
  try {
    server.listen(address);
    await once(server, 'listening');
    return server;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    return undefined;
  }
}
