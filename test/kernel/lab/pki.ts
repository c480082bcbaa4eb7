import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';

/** A certificate authority and a server certificate made for one test run; nothing of it is kept. */
export interface Pki {
  readonly folder: string;
  readonly ca: string;
}

/** Makes elliptic-curve keys, which take milliseconds. */
export async function makePki(): Promise<Pki> {
  const folder = await mkdtemp(join(tmpdir(), 'underbridge-pki-'));
  const openssl = (...args: readonly string[]) => execa('openssl', args, { cwd: folder });
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
  await openssl('req', '-x509', ...curve, '-keyout', 'ca.key', '-out', 'ca.crt', '-subj', '/CN=test-ca');
  await openssl('req', ...curve.slice(0, -2), '-keyout', 'server.key', '-out', 'server.csr', '-subj', '/CN=server');
  await writeFile(join(folder, 'server.ext'), 'keyUsage=digitalSignature\nextendedKeyUsage=serverAuth\n');
  const signed = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'server.ext'];
  await openssl('x509', '-req', '-in', 'server.csr', ...signed, '-out', 'server.crt');
  return { folder, ca: await readFile(join(folder, 'ca.crt'), 'utf8') };
}
