import { Agent, type IncomingMessage, request } from 'node:http';
import { UnderbridgeError } from '../errors.ts';

/** A network as the Engine API 1.41 (Docker 20.10) and later give it; only what is read. Go writes an empty list as null. */
export interface ApiNetwork {
  readonly Id: string;
  readonly Name: string;
  readonly Driver: string;
  readonly Internal: boolean;
  readonly EnableIPv6: boolean;
  readonly Options: Readonly<Record<string, string>> | null;
  readonly Labels: Readonly<Record<string, string>> | null;
  readonly IPAM: {
    readonly Config:
      | readonly {
          readonly Subnet?: string;
          readonly Gateway?: string;
          readonly AuxiliaryAddresses?: Readonly<Record<string, string>> | null;
        }[]
      | null;
  };
}

/** Where an engine is asked. */
export type DockerAddress =
  | { readonly kind: 'socket'; readonly path: string }
  /** `tls`: the agent that speaks it; absent: as it is. */
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number; readonly tls?: Agent };

/** Where users mount the engine's socket. */
export const defaultDocker: DockerAddress = { kind: 'socket', path: '/var/run/docker.sock' };

const mountHint =
  'mount the socket of an engine that runs: `-v /var/run/docker.sock:/var/run/docker.sock:ro`, or set DOCKER_HOST';

/** For one answer. An engine that removes containers may keep a listing waiting. */
const timeoutMs = 10_000;

/** Some may wait for what hangs, while others go on. */
export const mostSockets = 16;

/** One version of an engine's API. Nothing is kept but idle connections. */
export interface DockerApi {
  /** Of the engine. */
  readonly version: string;
  /** Undefined: there is no such thing. `signal`: as in a request. @throws UnderbridgeError UB_DOCKER */
  readonly get: <T>(path: string, signal?: AbortSignal) => Promise<T | undefined>;
  /** @throws UnderbridgeError UB_DOCKER */
  readonly list: <T>(path: string) => Promise<readonly T[]>;
  /** Any request, whatever the answer's status. @throws UnderbridgeError UB_DOCKER when nobody answers */
  readonly send: (sent: DockerRequest) => Promise<IncomingMessage>;
  readonly close: () => void;
}

export interface DockerRequest {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  /** Absent: as long as an answer may take. */
  readonly signal?: AbortSignal;
  readonly body?: string;
}

/** What is said of an engine that does not do as engines do. */
export function unusableDocker(shown: string, problem: string, cause?: unknown): UnderbridgeError {
  return new UnderbridgeError({
    code: 'UB_DOCKER',
    message: `what answers at ${shown} is no Docker engine that can be used: ${problem}`,
    hint: 'mount the socket of Docker 20.10 or later there',
    cause,
  });
}

/**
 * Asks an engine for its version and gives the API of that version.
 * @param hint what to do when nobody answers
 * @throws UnderbridgeError UB_DOCKER
 */
export async function openDocker(address: DockerAddress, hint = mountHint): Promise<DockerApi> {
  const tls = address.kind === 'tcp' ? address.tls : undefined;
  const agent = tls ?? new Agent({ keepAlive: true, maxSockets: mostSockets });
  const shown = address.kind === 'socket' ? address.path : `${address.host}:${address.port}`;
  const place =
    address.kind === 'socket'
      ? { socketPath: address.path }
      : { host: address.host, port: address.port, ...(tls === undefined ? {} : { protocol: 'https:' }) };
  // A signal, not a timeout: that would begin anew with every byte. Not `fetch`, which needs WebAssembly (no JIT).
  const send = ({ method, path, signal = AbortSignal.timeout(timeoutMs), body = '' }: DockerRequest) =>
    new Promise<IncomingMessage>((resolve, reject) => {
      const headers = { host: 'docker', 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
      const sent = request({ ...place, method, path, signal, headers, agent }, resolve);
      sent.on('error', (cause: NodeJS.ErrnoException) => reject(unreachable({ shown, cause, hint })));
      sent.end(body);
    });
  const get = async <T>(path: string, signal = AbortSignal.timeout(timeoutMs)): Promise<T | undefined> => {
    const response = await send({ method: 'GET', path, signal });
    const text = await readText(response, shown).catch((error) => {
      if (!signal.aborted) throw error;
      return '';
    });
    // An answer without a length that is broken off ends as if it were whole.
    if (signal.aborted) throw unreachable({ shown, cause: signal.reason, hint });
    if (response.statusCode === 404) return undefined;
    if (response.statusCode !== 200) throw unusableDocker(shown, `it answered ${response.statusCode} to ${path}`);
    try {
      return JSON.parse(text) as T;
    } catch (cause) {
      if (!(cause instanceof SyntaxError)) throw cause;
      throw unusableDocker(shown, `it did not answer in JSON to ${path}`, cause);
    }
  };
  const { Version, ApiVersion } = (await get<{ Version?: string; ApiVersion?: string } | undefined>('/version')) ?? {};
  if (Version === undefined || !/^[\d.]+$/.test(ApiVersion ?? '')) {
    throw unusableDocker(shown, 'it does not tell its version');
  }
  // Every engine speaks the version that it names; Docker may one day refuse a path without one.
  const api = `/v${ApiVersion}`;
  return {
    version: Version,
    get: (path, signal) => get(`${api}${path}`, signal),
    list: async (path) => {
      const answer = await get<unknown>(`${api}${path}`);
      if (!Array.isArray(answer)) throw unusableDocker(shown, `it answered no list to ${api}${path}`);
      return answer;
    },
    send: (sent) => send({ ...sent, path: `${api}${sent.path}` }),
    close: () => agent.destroy(),
  };
}

/** The whole body of an answer. @throws UnderbridgeError UB_DOCKER */
export async function readText(response: IncomingMessage, shown: string): Promise<string> {
  try {
    return Buffer.concat(await response.toArray()).toString();
  } catch (cause) {
    throw unusableDocker(shown, 'it stopped in the middle of an answer', cause);
  }
}

function isTimeout({ name }: Error): boolean {
  return name === 'AbortError' || name === 'TimeoutError';
}

function unreachable({
  shown,
  cause,
  hint,
}: {
  readonly shown: string;
  readonly cause: NodeJS.ErrnoException;
  readonly hint: string;
}): UnderbridgeError {
  const reason = isTimeout(cause) ? `no answer within ${timeoutMs / 1_000} s` : (cause.code ?? cause.message);
  const isForbidden = cause.code === 'EACCES' || cause.code === 'EPERM';
  return new UnderbridgeError({
    code: 'UB_DOCKER',
    message: `Docker does not answer at ${shown} (${reason})`,
    hint: isForbidden
      ? "run this as root (no --user), and in the machine's own user namespace where the engine remaps users (`--userns host`)"
      : hint,
    cause,
  });
}
