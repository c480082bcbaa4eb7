import { once } from 'node:events';
import { createServer, get, type Server } from 'node:http';
import { UnderbridgeError } from '../errors.ts';
import { type HostStatus, renderMetrics } from '../host/status.ts';

/** Serves `/healthz` (200 or 503), `/status` and `/metrics`. @throws UnderbridgeError UB_CONFIG */
export async function serveStatus({
  host,
  port,
  status,
}: {
  readonly host: string;
  readonly port: number;
  readonly status: () => HostStatus;
}): Promise<Server> {
  const server = createServer({ connectionsCheckingInterval: 500 }, (request, response) => {
    const body = status();
    const isRead = request.method === 'GET' || request.method === 'HEAD';
    const isText = request.url === '/metrics';
    const isThere = isText || request.url === '/status' || request.url === '/healthz';
    const good = request.url === '/healthz' && !body.healthy ? 503 : 200;
    response.writeHead(isThere ? (isRead ? good : 405) : 404, {
      'content-type': isText ? 'text/plain; version=0.0.4' : 'application/json',
      'cache-control': 'no-store',
      connection: 'close',
    });
    response.end(isThere && isRead ? (isText ? renderMetrics(body) : `${JSON.stringify(body)}\n`) : '{}\n');
  });
  server.requestTimeout = 2_000;
  server.headersTimeout = 2_000;
  server.maxConnections = 64;
  server.listen(port, host);
  try {
    await once(server, 'listening');
  } catch (cause) {
    throw new UnderbridgeError({
      code: 'UB_CONFIG',
      message: `HEALTH_ADDR="${host}:${port}": cannot be listened on (${cause instanceof Error ? cause.message : cause})`,
      hint: 'set it to an address of this machine and a free port; another host role may run already',
      cause,
    });
  }
  return server;
}

/** Asks a running host role for its status; undefined when nobody answers. */
export function askStatus({
  host,
  port,
}: {
  readonly host: string;
  readonly port: number;
}): Promise<string | undefined> {
  return new Promise((resolve) => {
    const request = get({ host, port, path: '/status', timeout: 2_000 }, async (response) => {
      resolve(Buffer.concat(await response.toArray()).toString());
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(undefined));
  });
}
