import { chmodSync, copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Miss } from '../dns/fault.ts';
import type { Ipv4, Port } from '../net/address.ts';
import { killAs, startAs } from './as-user.ts';
import { questionCode } from './dns-question.ts';
import type { Log } from './log.ts';

/** The router's own resolver, running. */
export interface ResolverProcess {
  /** Ends it and waits until it is gone; never longer than a second. */
  readonly end: () => Promise<void>;
}

/** The public authorities: those that Node brings, written when the image is built. */
const publicAuthorities = `${dirname(process.argv[1] ?? '')}/authorities.pem`;

/**
 * Starts unbound under a user of its own, without capabilities. Its settings hold no secret, and are in a folder that
 * only root can write to.
 */
export function startResolver({
  uid,
  folder,
  authoritiesFile,
  settings,
  log,
  onLine,
  onEnd,
}: {
  readonly uid: number;
  /** Made anew. */
  readonly folder: string;
  /** Copied, since it may be readable for root alone; absent: the public ones. */
  readonly authoritiesFile: string | undefined;
  readonly settings: (authorities: string) => string;
  readonly log: Log;
  readonly onLine: (line: string) => void;
  /** It ended by itself. */
  readonly onEnd: (reason: string) => void;
}): ResolverProcess {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  chmodSync(folder, 0o755);
  const authorities = authoritiesFile === undefined ? publicAuthorities : `${folder}/authorities.pem`;
  if (authoritiesFile !== undefined) {
    copyFileSync(authoritiesFile, authorities);
    chmodSync(authorities, 0o644);
  }
  const file = `${folder}/unbound.conf`;
  writeFileSync(file, settings(authorities), { mode: 0o644 });
  let isEnding = false;
  let hasEnded = false;
  let lastLine: string | undefined;
  // It ends with the router, however that ends: the next one needs the port.
  const child = startAs(uid, { flags: ['--pdeathsig=KILL'], command: ['unbound', '-d', '-c', file] });
  const exited = (async () => {
    for await (const line of child.iterable({ from: 'all' })) {
      lastLine = line.replace(/^\[\d+\] unbound\[[\d:]+\] /, '').trim();
      log.debug('resolver', { line });
      onLine(line);
    }
    const { exitCode } = await child;
    hasEnded = true;
    if (!isEnding) onEnd(lastLine ?? `exit code ${exitCode}`);
  })();
  return {
    end: async () => {
      isEnding = true;
      // It has nothing to put away.
      if (child.pid !== undefined && !hasEnded) await killAs(uid, child.pid, log);
      await Promise.race([exited, sleep(1_000)]);
      if (existsSync(folder)) rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Asks for the address of a name; undefined: there was an answer, if only that there is no such name. */
export async function askResolver({
  address,
  port,
  name,
  localAddress,
  waitMs,
}: {
  readonly address: Ipv4;
  readonly port: Port;
  readonly name: string;
  /** Where the question is sent from; absent: the kernel's choice. */
  readonly localAddress?: Ipv4;
  readonly waitMs: number;
}): Promise<Miss | undefined> {
  const code = await questionCode({
    server: `${address}:${port}`,
    ...(localAddress === undefined ? {} : { localAddress }),
    waitMs,
    ask: (resolver) => resolver.resolve4(name),
  });
  if (code === undefined || code === 'ENOTFOUND' || code === 'ENODATA') return undefined;
  return code === 'ETIMEOUT' || code === 'ECANCELLED' ? 'silent' : 'failed';
}
