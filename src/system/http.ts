import { once } from 'node:events';
import { createServer, get, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { UnderbridgeError } from '../errors.ts';
import type { Ipv4, Port } from '../net/address.ts';

export interface HttpRequest {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  /** What stands behind `Authorization: Bearer`. */
  readonly token?: string;
  /** Address of whoever asks. */
  readonly from: string;
}

export type HttpAnswer =
  | {
      readonly kind: 'body';
      readonly status: number;
      readonly type: string;
      readonly body: string | Buffer;
      readonly headers?: Readonly<Record<string, string>>;
    }
  /** Server-sent events; `open` gets what sends one, and gives what to do at the end. */
  | { readonly kind: 'stream'; readonly open: (send: (data: string) => void) => () => void };

export interface HttpServer {
  readonly close: () => void;
}

/**
 * Connections at a time, altogether and from one address, and streams. Those of the container itself have places of
 * their own, so that nobody outside can keep the health check or the page there out.
 */
const most = { connections: 64, perAddress: 12, streams: 16 } as const;
/** Somebody who reads nothing for so long, or lets so much wait, is cut off. */
const silentMs = 10_000;
const mostWaitingBytes = 256 * 1024;
/** A comment now and then shows both ends that the other one is there. */
const beatMs = 15_000;

/** No script, style or picture but our own, and nobody may put the page into theirs. */
const headers = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
} as const;

/**
 * Answers HTTP: a request without a body at a time, and streams of events.
 * @throws UnderbridgeError UB_CONFIG when the address cannot be listened on.
 */
export async function serveHttp({
  host,
  port,
  hint,
  answer,
  onProblem,
}: {
  readonly host: Ipv4;
  readonly port: Port;
  /** What to do when the address cannot be listened on. */
  readonly hint: string;
  readonly answer: (request: HttpRequest) => HttpAnswer | Promise<HttpAnswer>;
  /** An answer that could not be made. */
  readonly onProblem: (problem: unknown) => void;
}): Promise<HttpServer> {
  // Without the short interval a connection that says nothing would hold its place for half a minute.
  const server = createServer({ connectionsCheckingInterval: 1_000 }, (request, response) => {
    const { remoteAddress = '' } = request.socket;
    void Promise.resolve(parseRequest(request, remoteAddress))
      .then(answer)
      .then((given) => (given.kind === 'body' ? sendBody(response, given) : sendStream(response, given, streams)))
      .catch((problem) => {
        onProblem(problem);
        request.socket.destroy();
      });
  });
  const streams = new Set<ServerResponse>();
  server.requestTimeout = 2_000;
  server.headersTimeout = 2_000;
  limitConnections(server);
  server.listen(port, host);
  try {
    await once(server, 'listening');
  } catch (cause) {
    throw new UnderbridgeError({
      code: 'UB_CONFIG',
      message: `HEALTH_ADDR="${host}:${port}": cannot be listened on (${cause instanceof Error ? cause.message : cause})`,
      hint,
      cause,
    });
  }
  return {
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

export function json(status: number, value: unknown): Extract<HttpAnswer, { kind: 'body' }> {
  return { kind: 'body', status, type: 'application/json', body: `${JSON.stringify(value)}\n` };
}

function limitConnections(server: Server): void {
  const open = new Map<string, number>();
  server.on('connection', (socket: Socket) => {
    const { remoteAddress = '' } = socket;
    const count = open.get(remoteAddress) ?? 0;
    const isOwn = isLocal(remoteAddress);
    const outside = [...open].reduce((sum, [address, of]) => sum + (isLocal(address) ? 0 : of), 0);
    if (count >= (isOwn ? most.connections : most.perAddress) || (!isOwn && outside >= most.connections)) {
      socket.destroy();
      return;
    }
    open.set(remoteAddress, count + 1);
    socket.setTimeout(silentMs, () => socket.destroy());
    socket.on('close', () => {
      const left = (open.get(remoteAddress) ?? 1) - 1;
      if (left === 0) open.delete(remoteAddress);
      else open.set(remoteAddress, left);
    });
  });
}

function isLocal(address: string | undefined): boolean {
  return address?.startsWith('127.') === true;
}

function parseRequest({ method = '', url = '', headers }: IncomingMessage, from: string): HttpRequest {
  const token = /^Bearer +([\x21-\x7e]+)$/i.exec(headers.authorization ?? '')?.[1];
  return { method, path: url.replace(/[?#].*$/s, ''), from, ...(token === undefined ? {} : { token }) };
}

function sendBody(response: ServerResponse, given: Extract<HttpAnswer, { kind: 'body' }>): void {
  response.writeHead(given.status, {
    ...headers,
    'content-type': given.type,
    'content-length': Buffer.byteLength(given.body),
    connection: 'close',
    ...given.headers,
  });
  response.end(given.body);
}

function sendStream(
  response: ServerResponse,
  { open }: Extract<HttpAnswer, { kind: 'stream' }>,
  streams: Set<ServerResponse>,
): void {
  const isOwn = isLocal(response.socket?.remoteAddress);
  const beside = [...streams].filter(({ socket }) => isLocal(socket?.remoteAddress) === isOwn);
  if (beside.length >= most.streams) {
    const body = '{"problem":"too many listeners"}\n';
    sendBody(response, { kind: 'body', status: 503, type: 'application/json', body });
    return;
  }
  streams.add(response);
  response.writeHead(200, { ...headers, 'content-type': 'text/event-stream' });
  response.socket?.setTimeout(0);
  const write = (text: string) => {
    if (response.writableLength > mostWaitingBytes) response.destroy();
    else response.write(text);
  };
  write('retry: 1000\n\n');
  const beat = setInterval(() => write(':\n\n'), beatMs);
  const end = open((data) => write(`data: ${data}\n\n`));
  response.on('close', () => {
    clearInterval(beat);
    streams.delete(response);
    end();
  });
}

/** Asks a running role; undefined when nobody answers. Not `fetch`, which needs WebAssembly (no JIT). */
export function askHttp({
  host,
  port,
  path,
}: {
  readonly host: string;
  readonly port: number;
  readonly path: string;
}): Promise<{ readonly status: number; readonly body: string } | undefined> {
  return new Promise((resolve) => {
    const request = get({ host, port, path, timeout: 2_000 }, async (response) => {
      const chunks = await response.toArray();
      resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() });
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(undefined));
  });
}
