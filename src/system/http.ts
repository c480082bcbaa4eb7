import { once } from 'node:events';
import { createServer, get, type Server } from 'node:http';
import { UnderbridgeError } from '../errors.ts';
import type { HealthReport } from '../health/report.ts';
import type { Ipv4, Port } from '../net/address.ts';

/**
 * Serves `/healthz` and `/readyz`: 200 or 503, with the same report as JSON.
 * @throws UnderbridgeError UB_CONFIG when the address cannot be listened on.
 */
export async function serveHealth({
  host,
  port,
  report,
}: {
  readonly host: Ipv4;
  readonly port: Port;
  readonly report: () => HealthReport;
}): Promise<Server> {
  // Without the short interval a connection that says nothing would hold its place for half a minute.
  const server = createServer({ connectionsCheckingInterval: 500 }, (request, response) => {
    const body = report();
    const isGood = { '/healthz': body.healthy, '/readyz': body.ready }[request.url ?? ''];
    const isRead = request.method === 'GET' || request.method === 'HEAD';
    const status = isGood === undefined ? 404 : !isRead ? 405 : isGood ? 200 : 503;
    response.writeHead(status, {
      'content-type': 'application/json',
      'cache-control': 'no-store',
      connection: 'close',
    });
    response.end(status === 404 || status === 405 ? '{}\n' : `${JSON.stringify(body)}\n`);
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
      hint: 'set it to an address of this container, 0.0.0.0 or 127.0.0.1, and a free port',
      cause,
    });
  }
  return server;
}

/** Asks a running router for its report; undefined when nobody answers. Not `fetch`, which needs WebAssembly (no JIT). */
export function askHealth({
  host,
  port,
}: {
  readonly host: string;
  readonly port: number;
}): Promise<{ readonly status: number; readonly body: string } | undefined> {
  return new Promise((resolve) => {
    const request = get({ host, port, path: '/healthz', timeout: 2_000 }, async (response) => {
      const chunks = await response.toArray();
      resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() });
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(undefined));
  });
}
