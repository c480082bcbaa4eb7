import { request } from 'node:http';

const timeoutMs = 3_000;

/**
 * Sends a POST to a container: what stands behind the `?` of the path goes as a form too, because some programs read
 * only that. Undefined when it was taken, else why not.
 */
export function callHook({
  address,
  port,
  host,
  path,
}: {
  readonly address: string;
  readonly port: number;
  /** As the setting names it: some programs answer to their own name only. */
  readonly host: string;
  readonly path: string;
}): Promise<string | undefined> {
  const form = path.split('?').slice(1).join('?');
  const headers = {
    host: port === 80 ? host : `${host}:${port}`,
    'content-type': 'application/x-www-form-urlencoded',
    'content-length': Buffer.byteLength(form),
  };
  return new Promise((resolve) => {
    const call = request({ host: address, port, path, method: 'POST', headers, timeout: timeoutMs, agent: false });
    const deadline = setTimeout(() => call.destroy(new Error('no answer in time')), timeoutMs);
    call.on('error', (error) => resolve(error.message));
    call.on('close', () => {
      clearTimeout(deadline);
      // An answer that wants another protocol is neither a response nor an error.
      resolve('it gave no answer of HTTP');
    });
    call.on('response', (response) => {
      response.on('error', () => undefined);
      response.resume();
      const { statusCode = 0 } = response;
      resolve(statusCode >= 200 && statusCode < 300 ? undefined : `it answered ${statusCode}`);
      response.destroy();
    });
    call.end(form);
  });
}
