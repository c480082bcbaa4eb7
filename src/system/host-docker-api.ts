import { readFileSync } from 'node:fs';
import { Agent } from 'node:https';
import { isIP } from 'node:net';
import { UnderbridgeError } from '../errors.ts';
import type { HostSettings } from '../host/host-settings.ts';
import {
  type DockerAddress,
  type DockerApi,
  defaultDocker,
  mostSockets,
  readText,
  unusableDocker,
} from './docker-api.ts';

/** Reads DOCKER_HOST; empty is the usual socket. @throws UnderbridgeError UB_CONFIG */
export function parseDockerHost(text: string): DockerAddress {
  if (text === '') return defaultDocker;
  const socket = /^unix:\/\/(\/.+)$/.exec(text)?.[1];
  if (socket !== undefined) return { kind: 'socket', path: socket };
  const [, host, port] = /^tcp:\/\/([^/:]+|\[[^\]]+\]):(\d+)\/?$/.exec(text) ?? [];
  if (host !== undefined) return { kind: 'tcp', host: host.replace(/^\[|\]$/g, ''), port: Number(port) };
  throw new UnderbridgeError({
    code: 'UB_CONFIG',
    message: `DOCKER_HOST=${JSON.stringify(text)} is no address of an engine`,
    hint: 'write unix:///path/of/docker.sock or tcp://127.0.0.1:2375, or leave it out',
  });
}

/** Where the settings say that the engine is, by TLS if they want it. @throws UnderbridgeError UB_CONFIG */
export function dockerAddress({
  dockerHost,
  dockerCertificates,
}: Pick<HostSettings, 'dockerHost' | 'dockerCertificates'>): DockerAddress {
  const address = parseDockerHost(dockerHost);
  if (address.kind === 'socket' || dockerCertificates === undefined) return address;
  const read = (name: string) => readCertificate(`${dockerCertificates}/${name}`);
  const tls = new Agent({
    keepAlive: true,
    maxSockets: mostSockets,
    ca: read('ca.pem'),
    cert: read('cert.pem'),
    key: read('key.pem'),
    // Else it would be that of the header Host. An address cannot be one (RFC 6066, section 3).
    servername: isIP(address.host) === 0 ? address.host : '',
  });
  return { ...address, tls };
}

function readCertificate(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    if (!(cause instanceof Error && 'code' in cause)) throw cause;
    throw new UnderbridgeError({
      code: 'UB_CONFIG',
      message: `DOCKER_TLS_VERIFY is set, and ${path} cannot be read (${cause.code})`,
      hint: 'set DOCKER_CERT_PATH to a folder with ca.pem, cert.pem and key.pem, or leave DOCKER_TLS_VERIFY out',
      cause,
    });
  }
}

/** Has an engine do something. @throws UnderbridgeError UB_DOCKER with what the engine says against it */
export async function post(docker: DockerApi, path: string, body: unknown): Promise<void> {
  const response = await docker.send({ method: 'POST', path, body: JSON.stringify(body) });
  const text = await readText(response, path);
  const status = response.statusCode ?? 0;
  if (status >= 200 && status < 300) return;
  throw new UnderbridgeError({
    code: 'UB_DOCKER',
    message: `Docker refuses ${path}: ${/"message":"((?:[^"\\]|\\.)*)"/.exec(text)?.[1] ?? `status ${status}`}`,
    hint: 'see what it says; the rest goes on without it',
  });
}

export interface Following {
  /** As the engine's `filters`: `{ type: ['container'] }`. */
  readonly filters: Readonly<Record<string, readonly string[]>>;
  readonly signal: AbortSignal;
  /** The engine has begun to send, so whatever happens from now on is told. */
  readonly onOpen: () => void;
  readonly onEvent: () => void;
}

/** Follows events until the stream ends, by whoever's doing. Never throws: the reason comes as the value. */
export async function followEvents(
  docker: DockerApi,
  { filters, signal, onOpen, onEvent }: Following,
): Promise<UnderbridgeError | undefined> {
  try {
    const path = `/events?filters=${encodeURIComponent(JSON.stringify(filters))}`;
    const response = await docker.send({ method: 'GET', path, signal });
    if (response.statusCode !== 200) return unusableDocker('/events', `it answered ${response.statusCode}`);
    onOpen();
    for await (const _ of response) onEvent();
    return undefined;
  } catch (error) {
    if (signal.aborted) return undefined;
    if (error instanceof UnderbridgeError) return error;
    return new UnderbridgeError({
      code: 'UB_DOCKER',
      message: "Docker's events broke off",
      hint: 'the engine may be restarting; it is asked again until it answers',
      cause: error,
    });
  }
}
