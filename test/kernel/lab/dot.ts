import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import type { LabProcess, Namespace } from './namespace.ts';

/** Certificates of resolvers, made at run time: an authority, one for `dot.test` and one of it that has expired. */
export interface DotPki {
  readonly authority: string;
  readonly good: string;
  readonly expired: string;
}

/** Makes them in a folder; each name stands for `.crt` and `.key`. */
export async function makeDotPki(folder: string): Promise<DotPki> {
  const path = (name: string) => join(folder, name);
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const authority = path('dot-ca');
  await execa('openssl', [
    ...['req', '-x509', ...key, '-keyout', `${authority}.key`, '-out', `${authority}.crt`],
    ...['-days', '2', '-subj', '/CN=authority of the test'],
  ]);
  const settings = path('dot-ca.conf');
  await writeFile(path('dot-index'), '');
  await writeFile(path('dot-serial'), '01\n');
  await writeFile(
    settings,
    [
      ...['[ca]', 'default_ca=one', '[one]', `database=${path('dot-index')}`, `serial=${path('dot-serial')}`],
      ...[`new_certs_dir=${folder}`, 'default_md=sha256', 'policy=any', 'unique_subject=no', 'x509_extensions=names'],
      ...['[any]', 'commonName=supplied', '[names]', 'subjectAltName=DNS:dot.test', ''],
    ].join('\n'),
  );
  const sign = async (name: string, endDate: string) => {
    const file = path(name);
    await execa('openssl', ['req', ...key, '-keyout', `${file}.key`, '-out', `${file}.csr`, '-subj', '/CN=dot.test']);
    await execa('openssl', [
      ...['ca', '-batch', '-notext', '-config', settings, '-cert', `${authority}.crt`, '-keyfile', `${authority}.key`],
      ...['-in', `${file}.csr`, '-out', `${file}.crt`, '-startdate', '20200101000000Z', '-enddate', endDate],
    ]);
    return file;
  };
  const good = await sign('dot-good', '20991231000000Z');
  return { authority, good, expired: await sign('dot-expired', '20200201000000Z') };
}

/** What a resolver with TLS is told. */
export interface DotResolver {
  readonly address: string;
  readonly port: number;
  readonly certificate: string;
  readonly answer: string;
  readonly folder: string;
}

/** A real resolver with TLS; it answers *.test with `answer`, and knows what the router's canary asks for. */
export async function startDotResolver(ns: Namespace, resolver: DotResolver): Promise<LabProcess> {
  const running = ns.start({}, 'unbound', '-d', '-c', await writeDotSettings(resolver));
  await running.says('start of service');
  return running;
}

/** Writes its unbound.conf(5) into the folder, and returns the path. */
export async function writeDotSettings({ address, port, certificate, answer, folder }: DotResolver): Promise<string> {
  const file = join(folder, `dot-${port}.conf`);
  await writeFile(
    file,
    [
      'server:',
      ...['chroot: ""', 'username: ""', 'pidfile: ""', 'use-syslog: no', 'verbosity: 1'].map((line) => `  ${line}`),
      `  directory: "${folder}"`,
      `  interface: ${address}@${port}`,
      `  tls-port: ${port}`,
      `  tls-service-pem: "${certificate}.crt"`,
      `  tls-service-key: "${certificate}.key"`,
      '  access-control: 0.0.0.0/0 allow',
      '  local-zone: "test." redirect',
      `  local-data: "test. 60 A ${answer}"`,
      '  local-zone: "a.root-servers.net." redirect',
      '  local-data: "a.root-servers.net. 60 A 198.41.0.4"',
      'remote-control:',
      '  control-enable: no',
      '',
    ].join('\n'),
  );
  return file;
}
