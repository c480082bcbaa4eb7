import { Agent, type IncomingMessage, request } from 'node:http';
import { UnderbridgeError } from '../errors.ts';

/** Where an engine is asked. */
export type DockerAddress =
  | { readonly kind: 'socket'; readonly path: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number };

/** Where users mount the engine's socket. */
export const defaultDocker: DockerAddress = { kind: 'socket', path: '/var/run/docker.sock' };

/** For one answer. An engine that removes containers may keep a listing waiting. */
const timeoutMs = 10_000;

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

/** An engine's API, one version of it. Nothing is kept but idle connections. */
export interface DockerApi {
  /** Of the engine. */
  readonly version: string;
  /** Undefined: there is no such thing. @throws UnderbridgeError UB_DOCKER */
  readonly get: <T>(path: string) => Promise<T | undefined>;
  /** @throws UnderbridgeError UB_DOCKER with what the engine says against it. */
  readonly post: (path: string, body: unknown) => Promise<void>;
  /**
   * Follows events until the stream ends, by whoever's doing; `onOpen` comes when the engine has begun to send, so that
   * whatever happens later is told. Never throws: the reason comes as the value.
   */
  readonly follow: (options: FollowOptions) => Promise<UnderbridgeError | undefined>;
  readonly close: () => void;
}

export interface FollowOptions {
  /** As the engine's `filters`: `{ type: ['container'] }`. */
  readonly filters: Readonly<Record<string, readonly string[]>>;
  readonly signal: AbortSignal;
  readonly onOpen: () => void;
  readonly onEvent: () => void;
}

/** Asks an engine for its version and gives the API of that version. @throws UnderbridgeError UB_DOCKER */
export async function openDocker(address: DockerAddress): Promise<DockerApi> {
  const agent = new Agent({ keepAlive: true, maxSockets: 4 });
  const shown = address.kind === 'socket' ? address.path : `${address.host}:${address.port}`;
  const place = address.kind === 'socket' ? { socketPath: address.path } : { host: address.host, port: address.port };
  const unusable = (problem: string, cause?: unknown) =>
    new UnderbridgeError({
      code: 'UB_DOCKER',
      message: `what answers at ${shown} is no Docker engine that can be used: ${problem}`,
      hint: 'mount the socket of Docker 20.10 or later there',
      cause,
    });
  const send = (method: string, path: string, signal: AbortSignal, body?: string): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      const headers = {
        host: 'docker',
        ...(body === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
      };
      const sent = request({ ...place, method, path, signal, headers, agent }, resolve);
      sent.on('error', (cause: NodeJS.ErrnoException) => reject(unreachable(shown, cause)));
      sent.end(body);
    });
  const ask = async (method: string, path: string, body?: string) => {
    // A signal, not a timeout: that would begin anew with every byte.
    const response = await send(method, path, AbortSignal.timeout(timeoutMs), body);
    try {
      const chunks = await response.toArray();
      return { status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() };
    } catch (cause) {
      throw unusable('it stopped in the middle of an answer', cause);
    }
  };
  const get = async <T>(path: string): Promise<T | undefined> => {
    const { status, text } = await ask('GET', path);
    if (status === 404) return undefined;
    if (status !== 200) throw unusable(`it answered ${status} to ${path}`);
    try {
      return JSON.parse(text) as T;
    } catch (cause) {
      if (!(cause instanceof SyntaxError)) throw cause;
      throw unusable(`it did not answer in JSON to ${path}`, cause);
    }
  };
  const { Version, ApiVersion } = (await get<{ Version?: string; ApiVersion?: string } | undefined>('/version')) ?? {};
  if (Version === undefined || !/^[\d.]+$/.test(ApiVersion ?? '')) throw unusable('it does not tell its version');
  // Every engine speaks the version that it names; Docker may one day refuse a path without one.
  const api = `/v${ApiVersion}`;
  return {
    version: Version,
    get: (path) => get(`${api}${path}`),
    post: async (path, body) => {
      const { status, text } = await ask('POST', `${api}${path}`, JSON.stringify(body));
      if (status >= 300) throw refused(path, status, text);
    },
    follow: async ({ filters, signal, onOpen, onEvent }) => {
      try {
        const path = `${api}/events?filters=${encodeURIComponent(JSON.stringify(filters))}`;
        const response = await send('GET', path, signal);
        if (response.statusCode !== 200) throw unusable(`it answered ${response.statusCode} to /events`);
        onOpen();
        for await (const _ of response) onEvent();
        return undefined;
      } catch (error) {
        if (signal.aborted) return undefined;
        return error instanceof UnderbridgeError ? error : unusable('its events broke off', error);
      }
    },
    close: () => agent.destroy(),
  };
}

function refused(path: string, status: number, text: string): UnderbridgeError {
  const said = /"message":"((?:[^"\\]|\\.)*)"/.exec(text)?.[1] ?? `status ${status}`;
  return new UnderbridgeError({
    code: 'UB_DOCKER',
    message: `Docker refuses ${path.replace(/\?.*$/, '')}: ${said}`,
    hint: 'see what it says; the rest goes on without it',
  });
}

function unreachable(shown: string, cause: NodeJS.ErrnoException): UnderbridgeError {
  const reason =
    cause.name === 'AbortError' ? `no answer within ${timeoutMs / 1_000} s` : (cause.code ?? cause.message);
  const isForbidden = cause.code === 'EACCES' || cause.code === 'EPERM';
  return new UnderbridgeError({
    code: 'UB_DOCKER',
    message: `Docker does not answer at ${shown} (${reason})`,
    hint: isForbidden
      ? "run this as root (no --user), and in the machine's own user namespace where the engine remaps users (`--userns host`)"
      : 'mount the socket of an engine that runs: `-v /var/run/docker.sock:/var/run/docker.sock:ro`',
    cause,
  });
}
